"""Faults on order: what `POST /simulator/fault` takes. What they do is in `faults.py`."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

import msgspec

Times = Annotated[int, msgspec.Meta(ge=1)]


class Fault(msgspec.Struct, forbid_unknown_fields=True, tag_field="fault", kw_only=True):
    """`exchange` and `market` limit a fault to one market; without them it befalls all."""

    exchange: str | None = None
    market: str | None = None


class Close(Fault, tag="close"):
    """Cut open connections now, the oldest ones first: `count` of them, or all (None).

    With a close frame of this code, or (`abort`) without any, as a broken line does.
    """

    code: int = 1001
    abort: bool = False
    count: Times | None = None


class Expire(Fault, tag="expire"):
    """Cut the oldest open connection as an exchange does with one that is 24 hours old."""


class OnFrames(Fault):
    """Befalls the next `count` data frames that contain the text `match` and are of this `kind` of record.

    What kind a frame is of, generated markets know; recorded ones do not, and no kind but "" befalls them.
    """

    match: str = ""
    kind: str = ""
    count: Times = 1


class Drop(OnFrames, tag="drop"):
    """Swallow frames."""


class Duplicate(OnFrames, tag="duplicate"):
    """Send frames twice."""


class Swap(OnFrames, tag="swap"):
    """Send frames behind the next one of their stream on their connection, of recorded markets the very next one."""


class Truncate(OnFrames, tag="truncate"):
    """Cut frames to half their bytes."""


class Unchain(OnFrames, tag="unchain"):
    """Change, in book changes of generated markets, the number that chains them: one before seems to be missing."""


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

    count: Times = 1
    status: int = 503


class Reject(Fault, tag="reject"):
    """Answer the next `count` REST requests whose path contains `path` with 429, 418 or 403 and `Retry-After`."""

    status: Literal[429, 418, 403] = 429
    retry_after_s: int = 1
    count: Times = 1
    path: str = ""


class Page(Fault, tag="page"):
    """Answer the next `count` REST requests whose path contains `path` with an error page in HTML."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 502
    count: Times = 1
    path: str = ""


class Enlist(Fault, tag="list"):
    """List one more symbol on generated markets, as far as there are any more."""


class Delist(Fault, tag="delist"):
    """End a symbol of generated markets, one of the exchange's own names; without one: the quietest."""

    symbol: str = ""


class Clear(Fault, tag="clear"):
    """Take back every fault that is still to come."""


_decode = msgspec.json.Decoder(
    Close
    | Expire
    | Drop
    | Duplicate
    | Swap
    | Truncate
    | Unchain
    | Insert
    | Stall
    | Refuse
    | Reject
    | Page
    | Enlist
    | Delist
    | Clear
).decode


def decode(body: bytes) -> Fault:
    """Decode a fault from JSON such as `{"fault":"drop","match":"btcusdt@depth","count":2}`. Raises ValueError."""
    fault: Fault = _decode(body)  # ValidationError and DecodeError are ValueErrors
    if isinstance(fault, Insert):
        fault.payload()
    return fault
