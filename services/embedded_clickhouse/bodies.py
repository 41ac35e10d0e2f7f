"""Request bodies: read as they arrive, decompressed, never held twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import ClientPayloadError, web
from aiohttp.http import HttpProcessingError

from services.embedded_clickhouse.compression import decoder
from services.embedded_clickhouse.errors import CANNOT_READ_ALL_DATA, NOT_IMPLEMENTED, QueryError

_FORM = "multipart/form-data"


class Body:
    """The decompressed body of a request."""

    def __init__(self, request: web.Request) -> None:
        self._content = request.content
        self._decoder = decoder(request.headers.get("Content-Encoding", ""))
        self.ended = request.content_type == _FORM
        """True when everything was read."""

    async def read(self, least: int) -> bytes:
        """Return at least `least` bytes, less only at the end. Raises QueryError for a broken body."""
        pieces: list[bytes] = []
        have = 0
        while have < least and not self.ended:
            try:
                raw = await self._content.readany()
            except (OSError, ClientPayloadError, HttpProcessingError) as error:
                raise QueryError(CANNOT_READ_ALL_DATA, f"The body ended early: {error}") from error
            if raw:
                pieces.append(self._decoder.feed(raw))
                have += len(pieces[-1])
            elif self._content.at_eof():
                self._decoder.finish()
                self.ended = True
        return b"".join(pieces)

    async def pieces(self, first: bytes, size: int) -> AsyncIterator[bytes]:
        """Yield `first` and then the rest, in pieces of about `size` bytes."""
        if first:
            yield first
        while not self.ended:
            piece = await self.read(size)
            if piece:
                yield piece


async def form_fields(request: web.Request) -> dict[str, str]:
    """Return the text fields of a multipart form; empty for every other body.

    Raises QueryError 48 for files in the form: external tables are not supported.
    """
    if request.content_type != _FORM:
        return {}
    fields = {}
    for name, value in (await request.post()).items():
        if not isinstance(value, str):
            raise QueryError(NOT_IMPLEMENTED, f"External tables are not supported (form field {name!r} is a file)")
        fields[name] = value
    return fields
