"""The simulated exchanges as their addresses are: `wss://` and `https://`, each market at a host and port of its own.

An exchange's market is told by its host; here, where there is one host, by its port. So of its addresses only host and
port differ, and the authority that vouches for them: the simulator's own, made anew at each start and kept nowhere but
in memory, its certificate being what `Secure.ca` holds.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from schemas.errors import Broken

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Secure:
    """A port for each market, on which its paths are the exchange's own. `ca` is the authority's certificate, PEM."""

    def __init__(self, host: str) -> None:
        """Make authority and certificate for `host`. Raises Broken where the package that makes them is not there."""
        try:
            import trustme
        except ImportError:
            raise Broken("TLS needs the package trustme: pip install 'tapeline[tls]'") from None
        authority = trustme.CA(organization_name="tapeline exchange simulator")
        self.ca = authority.cert_pem.bytes()
        self._host = host
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host, "localhost").configure_cert(self._context)
        self._ports: dict[tuple[str, str], int] = {}

    async def open(self, key: tuple[str, str], runner: web.AppRunner) -> None:
        """Serve a market, named by exchange and market, on a free port. Raises Broken when none can be opened."""
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, 0, ssl_context=self._context).start()
        except OSError as error:
            raise Broken(f"no port on {self._host} can be opened: {error.strerror}") from None
        self._ports[key] = runner.addresses[0][1]

    def urls(self, exchange: str, market: str) -> dict[str, str]:
        """Return a market's addresses for the status."""
        at = f"{self._host}:{self._ports[exchange, market]}"
        return {"wss_url": f"wss://{at}", "https_url": f"https://{at}"}


def application(handler: Handler) -> web.Application:
    """Return what serves one market: every path is the exchange's own."""
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", handler)])
    return app
