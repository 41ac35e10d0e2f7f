"""A REST client: one GET at a time, the answer's bytes untouched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp
from yarl import URL

from schemas.errors import Busy
from services.shared.runtime.clock import now_us
from services.shared.runtime.trust import client_context


class Answer(NamedTuple):
    """What a server answered, when it was asked and when the answer was complete (microseconds UTC)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    requested_at: int
    received_at: int


class Http:
    """A pool of connections. Use as an async context manager; `ca_file` as in `trust.client_context`."""

    def __init__(self, timeout_s: float, ca_file: Path | None = None) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool."""
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            headers={"User-Agent": "tapeline"},
            connector=aiohttp.TCPConnector(ssl=client_context(self._ca_file) if self._ca_file else True),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a URL that is already percent-encoded. Raises Busy when no answer comes."""
        assert self._session is not None
        requested_at = now_us()
        try:
            async with self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
                body = await response.read()
                return Answer(response.status, response.headers, body, requested_at, now_us())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Busy(f"{type(error).__name__}: {error}") from error
