"""A WebSocket client connection as the collector needs it: frames as bytes with their receive time, and little else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from schemas.errors import Broken, Busy
from services.shared.runtime.trust import client_context

MAX_FRAME_BYTES = 16 * 1024**2
_QUEUE_FRAMES = (8_192, 2_048)
"""Frames read from the socket but not yet taken: reading pauses above the first and goes on below the second."""
_CLOSE_WITHIN_S = 2.0


class Socket:
    """An open connection. Made by `open_socket`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def pump(self, take: Callable[[bytes, int], None]) -> str:
        """Hand every frame, with the microsecond at which it was received, to `take` until the connection ends.

        Returns how it ended. Frames that arrived before the close are handed out first.
        """
        receive = self._connection.recv
        clock = time.time_ns
        try:
            while True:
                body = await receive(False)
                take(body, clock() // 1000)
        except ConnectionClosed as closed:
            return _describe(closed)

    async def send(self, text: bytes) -> None:
        """Send one text frame. Raises Busy when the connection is gone."""
        try:
            await self._connection.send(text, text=True)
        except ConnectionClosed as closed:
            raise Busy(_describe(closed)) from None

    async def ping(self) -> None:
        """Send a ping and wait for its pong: every frame sent before the pong has been handed out by then.

        (Frames and pong are read in order, and the event loop wakes who waits for them in that order.) Raises Busy when
        the connection is gone.
        """
        try:
            await (await self._connection.ping())
        except ConnectionClosed as closed:
            raise Busy(_describe(closed)) from None

    async def close(self) -> None:
        """Close; `pump` hands out what is still in the pipe and then returns."""
        await self._connection.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._connection.transport.abort()


async def open_socket(
    url: str,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    compression: bool = False,
    ca_file: Path | None = None,
) -> Socket:
    """Open a connection; with `compression`, permessage-deflate is offered. `ca_file` as in `trust.client_context`.

    Raises Busy when it cannot be opened now, Broken when the address can never be.
    """
    try:
        connection = await connect(
            url,
            ssl=client_context(ca_file) if url.startswith("wss:") else None,
            proxy=None,  # whoever needs one points the address at it
            compression="deflate" if compression else None,
            open_timeout=timeout_s,
            close_timeout=_CLOSE_WITHIN_S,
            ping_interval=None,  # the caller pings, and draws its own conclusions
            max_size=MAX_FRAME_BYTES,
            max_queue=_QUEUE_FRAMES,
            user_agent_header="tapeline",
            additional_headers=dict(headers or {}),
        )
    except InvalidURI as error:
        raise Broken(f"{url!r} is not a WebSocket address: {error}") from None
    except (TimeoutError, OSError, InvalidHandshake) as error:
        raise Busy(f"{type(error).__name__}: {error}") from error
    return Socket(connection)


def _describe(closed: ConnectionClosed) -> str:
    for frame, who in ((closed.rcvd, "the exchange"), (closed.sent, "us")):
        if frame is not None and (frame is closed.rcvd or closed.rcvd is None):
            reason = f" {frame.reason}" if frame.reason else ""
            return f"closed by {who}: {frame.code}{reason}"
    return "the line broke"
