"""One client's WebSocket connection: pumps a session's frames out, messages in, and keeps the connection alive.

aiohttp does the handshake and reads the client's frames. Data frames are encoded here, many at a time into one write,
because one write per frame is what a server at 50,000 frames a second spends most of its time on. Where the client was
granted compression, aiohttp writes them too.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aiohttp import WSMsgType, web

from services.exchange_simulator.venue import Binary, Closing, KeepAlive, Session

_BATCH_FRAMES = 256
_LEAST_WAIT_S = 0.0005
_CLOSE_WITHIN_S = 2.0
_TEXT, _BINARY, _PING, _PONG = 0x81, 0x82, 0x89, 0x8A


@lru_cache(maxsize=65536)
def _header(first: int, length: int) -> bytes:
    """Return the header of an unmasked WebSocket frame (RFC 6455, 5.2)."""
    if length < 126:
        return struct.pack("!BB", first, length)
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def encode(frames: Sequence[bytes]) -> bytes:
    """Return the bytes of these frames, each an unmasked, uncompressed WebSocket message, text unless `Binary`."""
    parts: list[bytes] = []
    for frame in frames:
        parts.append(_header(_BINARY if type(frame) is Binary else _TEXT, len(frame)))
        parts.append(frame)
    return b"".join(parts)


def _opcode(frame: bytes) -> WSMsgType:
    return WSMsgType.BINARY if type(frame) is Binary else WSMsgType.TEXT


def now_us() -> int:
    """Return the wall clock, microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class _Ping:
    """A ping sent after `sent` data frames; `marker` if it is the simulator's own and not the exchange's keep-alive."""

    sent: int
    at_s: float
    marker: bool


class Connection:
    """A session on a socket. `sent` counts data frames written, `confirmed` those the client has proven to have read.

    The proof is a pong: WebSocket is in order, so the pong of a ping confirms every frame sent before the ping. Beside
    the exchange's keep-alive, a ping of the simulator's own follows the last frame of a session with no more to send.
    """

    def __init__(
        self,
        session: Session,
        socket: web.WebSocketResponse[bool],
        transport: asyncio.Transport,
        keep_alive: KeepAlive,
        wake_all: Callable[[], None],
    ) -> None:
        """Run `session` on an accepted socket; `wake_all` is called after each message, which may concern others."""
        self.sent = 0
        self.confirmed = 0
        self.ended = asyncio.Event()
        self._session = session
        self._socket = socket
        self._transport = transport
        self._keep_alive = keep_alive
        self._wake_all = wake_all
        self._wake = asyncio.Event()
        self._cut: asyncio.Future[Closing] = asyncio.get_running_loop().create_future()
        self._pings: dict[bytes, _Ping] = {}
        self._last_ping_ms = 0
        self._marked = 0

    def wake(self) -> None:
        """Have the session asked again what is due."""
        self._wake.set()

    def cut(self, closing: Closing) -> None:
        """End the connection from the exchange's side, with a close frame."""
        if not self._cut.done():
            self._cut.set_result(closing)

    def abort(self) -> None:
        """End the connection at once, without a close frame, as a broken line does."""
        self._transport.abort()

    async def run(self) -> None:
        """Serve until the client goes, the exchange's rules end it, or it is cut."""
        tasks = [asyncio.ensure_future(work) for work in (self._read(), self._pump(), self._stay_alive(), self._cut)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._session.close(now_us())
            self._wake_all()
        for task, result in zip(tasks, results, strict=True):
            if task not in done:
                continue
            if isinstance(result, Closing):
                await self._close(result)
            elif isinstance(result, BaseException) and not isinstance(result, ConnectionError):
                raise result

    async def _close(self, closing: Closing) -> None:
        try:
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await self._socket.close(code=closing.code, message=closing.reason.encode())
        except (TimeoutError, ConnectionError):
            self.abort()

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    for reply in self._session.receive(message.data, now_us()):
                        await self._socket.send_frame(reply, _opcode(reply))
                    self._wake_all()
                case WSMsgType.PING:
                    self._session.heard(now_us())
                    self._transport.write(_header(_PONG, len(message.data)) + message.data)
                case WSMsgType.PONG:
                    self._take_pong(bytes(message.data))
                case _:
                    return

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        session, wake = self._session, self._wake
        while True:
            wake.clear()
            frames = session.frames(now_us(), _BATCH_FRAMES)
            if frames:
                await self._send(frames)
                await asyncio.sleep(0)
                continue
            due_us = session.next_due_us()
            if due_us is None:
                if self.sent > self._marked:
                    self._marked = self.sent
                    self._ping(marker=True)
                await wake.wait()
            else:
                timer = loop.call_later(max((due_us - now_us()) / 1_000_000, _LEAST_WAIT_S), wake.set)
                await wake.wait()
                timer.cancel()

    async def _send(self, frames: Sequence[bytes]) -> None:
        """Write frames and wait until the client has taken enough of them for more."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        if self._socket.compress:
            for frame in frames:
                await self._socket.send_frame(frame, _opcode(frame))
                self.sent += 1  # only now: a ping that goes out while a large frame is compressed does not confirm it
            return
        self.sent += len(frames)
        self._transport.write(encode(frames[:-1]))
        # The writer's limit of 0 makes each of these a drain.
        await self._socket.send_frame(frames[-1], _opcode(frames[-1]))

    async def _stay_alive(self) -> None:
        """Ping as the exchange does. Raises Closing when a pong is overdue."""
        every_s, within_s = self._keep_alive.ping_every_s, self._keep_alive.pong_within_s
        next_ping_s = time.monotonic() + every_s
        while True:
            oldest_s = min((ping.at_s for ping in self._pings.values() if not ping.marker), default=None)
            until_s = next_ping_s if oldest_s is None else min(next_ping_s, oldest_s + within_s)
            await asyncio.sleep(max(until_s - time.monotonic(), 0))
            if oldest_s is not None and time.monotonic() >= oldest_s + within_s and self._unanswered(oldest_s):
                raise Closing(1008, "Pong timeout")
            if time.monotonic() >= next_ping_s:
                self._ping(marker=False)
                next_ping_s += every_s

    def _unanswered(self, at_s: float) -> bool:
        return any(ping.at_s == at_s for ping in self._pings.values())

    def _ping(self, marker: bool) -> None:
        """Send a ping with the time in milliseconds as its payload, as Binance does; no two alike."""
        self._last_ping_ms = max(now_us() // 1000, self._last_ping_ms + 1)
        payload = str(self._last_ping_ms).encode()
        self._pings[payload] = _Ping(self.sent, time.monotonic(), marker)
        self._transport.write(_header(_PING, len(payload)) + payload)

    def _take_pong(self, payload: bytes) -> None:
        ping = self._pings.get(payload)
        if ping is None or not ping.marker:
            self._session.heard(now_us())
        if ping is None:
            return
        self.confirmed = ping.sent
        for older in list(self._pings):
            del self._pings[older]
            if older == payload:
                break
