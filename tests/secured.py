"""Servers with the accounts and users of a deployment, and connections as each of their users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import nats.errors
from nats.aio.client import Client

import nats
from schemas import accounts
from services.shared.runtime import logs
from services.shared.runtime.bus import Bus, connect
from services.shared.runtime.settings import Settings
from tests.nats_server import NatsServer, run_nats

ACCOUNTS_CONF = Path(__file__).parents[1] / "nats" / "accounts.conf"
USERS = (accounts.ADMIN, "system", *(user.name for user in accounts.SERVICES), accounts.BOT.name)


def password(user: str) -> str:
    """The password that a test's server has for a user."""
    return f"secret-of-{user}"


PASSWORDS = {f"NATS_{user.replace('-', '_').upper()}_PASSWORD": password(user) for user in USERS}


@contextmanager
def run_secured_nats(directory: Path) -> Iterator[NatsServer]:
    """Run a nats-server with nats/accounts.conf for as long as the context is open."""
    with run_nats(directory, ACCOUNTS_CONF, PASSWORDS) as server:
        yield server


@asynccontextmanager
async def bus_of(server: NatsServer, user: str) -> AsyncIterator[Bus]:
    """Connect as a service does."""
    settings = Settings.load(nats_url=server.url, nats_user=user, nats_password=password(user))
    bus = await connect(settings, user, logs.configure(settings, "test"), asyncio.Event())
    try:
        yield bus
    finally:
        await bus.close()


_FORBIDDEN = "forbidden.to.everybody"


class Stranger:
    """A client that tries what it may not, and hears what the server refuses."""

    def __init__(self, client: Client, refusals: asyncio.Queue[str]) -> None:
        self.client = client
        self._refusals = refusals

    async def refused(self) -> list[str]:
        """Return what the server has refused since the last call, of all that was sent before.

        Refusals come in the order of what they refuse, and one more is provoked to tell that no other is on its way.
        """
        await self.client.publish(_FORBIDDEN, b"")
        found: list[str] = []
        while _FORBIDDEN not in (refusal := await asyncio.wait_for(self._refusals.get(), 10)):
            found.append(refusal)
        return found


@asynccontextmanager
async def client_of(server: NatsServer, user: str) -> AsyncIterator[Stranger]:
    """Connect as any program could that has a user's password."""
    refusals: asyncio.Queue[str] = asyncio.Queue()

    async def hear(error: Exception) -> None:
        refusals.put_nowait(str(error))

    client = await nats.connect(
        server.url, user=user, password=password(user), inbox_prefix=accounts.inbox(user), error_cb=hear
    )
    try:
        yield Stranger(client, refusals)
    finally:
        await client.close()
