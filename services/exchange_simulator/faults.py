"""Faults on order: what `POST /simulator/fault` takes, and what it does to the sessions and answers of a market.

A fault works between server and venue, so it is the same for replayed and generated markets.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from services.exchange_simulator.venue import Answer, Refused, Session

_REJECTED = {
    429: "Too many requests; current limit is exceeded until %d (simulated).",
    418: "Way too many requests; IP banned until %d. Please use the websocket for live updates to avoid bans.",
}
_Times = Annotated[int, msgspec.Meta(ge=1)]


class Fault(msgspec.Struct, forbid_unknown_fields=True, tag_field="fault", kw_only=True):
    """`exchange` and `market` limit a fault to one market; without them it befalls all."""

    exchange: str | None = None
    market: str | None = None


class Close(Fault, tag="close"):
    """Cut every open connection now: with a close frame of this code, or (`abort`) without any."""

    code: int = 1001
    abort: bool = False


class Drop(Fault, tag="drop"):
    """Swallow the next `count` data frames that contain the text `match`."""

    match: str = ""
    count: _Times = 1


class Truncate(Fault, tag="truncate"):
    """Cut the next `count` data frames that contain `match` to half their bytes."""

    match: str = ""
    count: _Times = 1


class Insert(Fault, tag="insert"):
    """Send what no exchange sent, `frame` as text or `frame_base64` as bytes: at once on one of the open connections,
    or right behind the next frame that contains `behind`, on its connection.
    """

    frame: str | None = None
    frame_base64: str | None = None
    behind: str = ""

    def payload(self) -> bytes:
        """Return the bytes to send. Raises ValueError unless exactly one of the two is given."""
        if (self.frame is None) == (self.frame_base64 is None):
            raise ValueError("insert takes exactly one of frame and frame_base64")
        return (
            self.frame.encode() if self.frame is not None else base64.b64decode(self.frame_base64 or "", validate=True)
        )


class Stall(Fault, tag="stall"):
    """Send no data frame for so many seconds; pings, pongs and replies go on."""

    seconds: Annotated[float, msgspec.Meta(ge=0)]


class Refuse(Fault, tag="refuse"):
    """Refuse the next `count` WebSocket connections with this HTTP status."""

    count: _Times = 1
    status: int = 503


class Reject(Fault, tag="reject"):
    """Answer the next `count` REST requests with 429 or 418 and `Retry-After`."""

    status: Literal[429, 418] = 429
    retry_after_s: int = 1
    count: _Times = 1
    path: str = ""


class Clear(Fault, tag="clear"):
    """Take back every fault that is still to come."""


AnyFault = Close | Drop | Truncate | Insert | Stall | Refuse | Reject | Clear
_Counted = TypeVar("_Counted", bound=Drop | Truncate | Refuse | Reject)


def decode(body: bytes) -> AnyFault:
    """Decode a fault from JSON such as `{"fault":"drop","match":"btcusdt@depth","count":2}`. Raises ValueError."""
    fault: AnyFault = msgspec.json.decode(body, type=AnyFault)  # ValidationError and DecodeError are ValueErrors
    if isinstance(fault, Insert):
        fault.payload()
    return fault


class MarketFaults:
    """The faults still to befall one market. Times are microseconds UTC."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.stalled_until_us = 0
        self._frames: list[Drop | Truncate] = []
        self._inserts: list[bytes] = []
        self._behind: list[tuple[bytes, bytes]] = []
        self._refuse: list[Refuse] = []
        self._reject: list[Reject] = []

    def add(self, fault: AnyFault, now_us: int) -> None:
        """Arm a fault. `Close` acts at once and is the server's."""
        match fault:
            case Drop() | Truncate():
                self._frames.append(msgspec.structs.replace(fault))
            case Insert() if fault.behind:
                self._behind.append((fault.behind.encode(), fault.payload()))
            case Insert():
                self._inserts.append(fault.payload())
            case Stall():
                self.stalled_until_us = now_us + int(fault.seconds * 1_000_000)
            case Refuse():
                self._refuse.append(msgspec.structs.replace(fault))
            case Reject():
                self._reject.append(msgspec.structs.replace(fault))
            case Clear():
                self._clear()

    def connecting(self) -> None:
        """Refuse a new connection if one is to be refused. Raises Refused."""
        if self._refuse:
            raise Refused(_use(self._refuse, self._refuse[0]).status, "refused by a simulated fault")

    def answering(self, path: str, now_us: int) -> Answer | None:
        """Return the answer that replaces the venue's, if this request is to be rejected."""
        for fault in self._reject:
            if fault.path in path:
                _use(self._reject, fault)
                text = _REJECTED[fault.status] % (now_us // 1000 + fault.retry_after_s * 1000)
                body = msgspec.json.encode({"code": -1003, "msg": text})
                return Answer(fault.status, body, {"Retry-After": str(fault.retry_after_s)})
        return None

    def inserts(self) -> list[bytes]:
        """Take the frames to be inserted now."""
        inserts, self._inserts = self._inserts, []
        return inserts

    def inserting(self) -> bool:
        """Whether a frame is waiting to be inserted."""
        return bool(self._inserts)

    def spoil(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Drop, truncate and insert what is to be dropped, truncated and inserted among these frames."""
        if not self._frames and not self._behind:
            return frames
        left: list[bytes] = []
        for frame in frames:
            follows = [item for item in self._behind if item[0] in frame]
            self._behind = [item for item in self._behind if item not in follows]
            fault = next((fault for fault in self._frames if fault.match.encode() in frame), None)
            if fault is None:
                left.append(frame)
            elif isinstance(_use(self._frames, fault), Truncate):
                left.append(frame[: len(frame) // 2])
            left += (payload for _, payload in follows)
        return left


def _use(faults: list[_Counted], fault: _Counted) -> _Counted:
    fault.count -= 1
    if fault.count <= 0:
        faults.remove(fault)
    return fault


class FaultySession:
    """A venue's session with the market's faults in between, itself a `Session`."""

    def __init__(self, session: Session, faults: MarketFaults) -> None:
        self._session = session
        self._faults = faults

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Pass the message on."""
        return self._session.receive(message, now_us)

    def heard(self, now_us: int) -> None:
        """Pass it on."""
        self._session.heard(now_us)

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the venue's frames as the faults leave them; none while stalled."""
        faults = self._faults
        if now_us < faults.stalled_until_us:
            return ()
        if faults.inserting():
            return [*faults.inserts(), *faults.spoil(self._session.frames(now_us, limit))]
        return faults.spoil(self._session.frames(now_us, limit))

    def next_due_us(self) -> int | None:
        """When the next frame is due: not before the stall ends, at once for a frame to be inserted."""
        due = 0 if self._faults.inserting() else self._session.next_due_us()
        return None if due is None else max(due, self._faults.stalled_until_us)

    def close(self, now_us: int) -> None:
        """Pass it on."""
        self._session.close(now_us)
