"""What waits to be published, in order: frames as they arrive, and the messages they are packed into.

Order is kept per connection and partition; a session event or a REST answer also keeps its place among everything else
of its partition, so that "the successor was subscribed before the old connection closed" can be read off RAW.
Memory is bounded: past the bound new data frames are dropped and counted per lane, and as soon as there is room the
lane gets a `dropped` event in their place, under the number of the last lost frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from schemas import subjects
from schemas.frames import RawFrame, RawMessage, SessionEvent, encode_session, message, pack

PACK_BYTES = 256 * 1024
"""Most bytes of frames in one packed message."""

MESSAGE_BYTES = 1024**2 - 16 * 1024
"""NATS refuses messages over 1 MiB, headers included: a frame that compresses to more cannot be kept."""

OVERHEAD = 400
"""Bytes that an entry or a message is taken to cost beside its body."""


class Origin(NamedTuple):
    """The connection that frames come from; for REST one per process and market."""

    exchange: str
    market: str
    collector: str
    connection: str
    url: str


class Loss:
    """Data frames of one lane that were dropped, from the first to the last number."""

    __slots__ = ("channels", "first", "frames", "last", "received_at")

    def __init__(self, frame: RawFrame) -> None:
        self.first = frame.number
        self.last = frame.number
        self.received_at = frame.received_at
        self.frames = 0
        self.channels: dict[str, set[str]] = {}

    def add(self, frame: RawFrame) -> None:
        """Count one more lost frame."""
        self.last = frame.number
        self.received_at = frame.received_at
        self.frames += 1
        self.channels.setdefault(frame.symbol, set()).add(frame.channel)


class Lane:
    """The frames of one connection that go into one partition."""

    __slots__ = ("channels", "gathered", "loss", "origin", "part", "received_at", "size")

    def __init__(self, origin: Origin, part: int) -> None:
        self.origin = origin
        self.part = part
        self.channels: dict[str, list[str]] = {}
        """Of the symbols of this partition: what is planned on the connection."""
        self.received_at = 0
        """When the last frame came that went here."""
        self.loss: Loss | None = None
        self.gathered: list[RawFrame] = []
        self.size = 0


class Packed(NamedTuple):
    """A message ready for the bus, and how many frames it carries."""

    message: RawMessage
    frames: int


class Outbox:
    """One ordered queue per process. `wake` is called when an empty outbox gets its first entry."""

    def __init__(self, limit_bytes: int, wake: Callable[[], None]) -> None:
        self.limit = limit_bytes
        self.bytes = 0
        """Taken up by everything that waits in memory."""
        self.dropped = 0
        """Frames lost for want of room."""
        self.waiting = 0
        """Frames in the outbox."""
        self._wake = wake
        self._entries: list[tuple[Lane, RawFrame, bool]] = []
        self._entries_bytes = 0
        self._ready: deque[Packed] = deque()
        self._losing: list[Lane] = []

    @property
    def crowded(self) -> bool:
        """Whether data frames are dropped now."""
        return self.bytes >= self.limit

    def data(self, lane: Lane, frame: RawFrame) -> None:
        """Take one data frame of a connection; it is dropped, and the loss remembered, when there is no room."""
        if self.bytes >= self.limit or lane.loss is not None:
            if self.bytes >= self.limit:
                self._lose(lane, frame)
                return
            self._settle(lane)
        self._put(lane, frame, single=False)

    def alive(self, lane: Lane, frame: RawFrame) -> None:
        """Take a sign of life; it is worth nothing where frames were lost or memory is short."""
        if lane.loss is None and self.bytes < self.limit:
            self._put(lane, frame, single=False)

    def keep(self, lane: Lane, frame: RawFrame) -> None:
        """Take a session event or a REST answer: never dropped, and in its place among all of its partition."""
        if lane.loss is not None:
            self._settle(lane)
        self._put(lane, frame, single=True)

    def settle(self) -> None:
        """Write the `dropped` events that are due; called when there may be room again."""
        if self.bytes < self.limit:
            for lane in list(self._losing):
                self._settle(lane)

    def settle_all(self) -> None:
        """Write every `dropped` event, room or not: at the end."""
        for lane in list(self._losing):
            self._settle(lane)

    def peek(self, most: int, most_bytes: int) -> list[Packed]:
        """Return the first messages, packing what has arrived if none is ready; they stay until `pop`."""
        if not self._ready:
            self.pack()
        batch: list[Packed] = []
        size = 0
        for packed in islice(self._ready, most):
            size += len(packed.message.body)
            if batch and size > most_bytes:
                break
            batch.append(packed)
        return batch

    def pop(self, count: int) -> int:
        """Forget the first `count` messages; return how many frames they carried."""
        frames = 0
        for _ in range(count):
            packed = self._ready.popleft()
            frames += packed.frames
            self.bytes -= len(packed.message.body) + OVERHEAD
        self.waiting -= frames
        return frames

    def pack(self) -> None:
        """Turn every entry into messages."""
        entries, self._entries = self._entries, []
        self.bytes -= self._entries_bytes
        self._entries_bytes = 0
        # Lanes with gathered frames, per partition and in the order of their first one.
        gathering: dict[int, list[Lane]] = {}
        same: RawFrame | None = None
        shared: RawMessage | None = None
        for lane, frame, single in entries:
            if not single:
                if not lane.gathered:
                    gathering.setdefault(lane.part, []).append(lane)
                lane.gathered.append(frame)
                lane.size += len(frame.body) + 64
                if lane.size >= PACK_BYTES:
                    gathering[lane.part].remove(lane)
                    self._pack_lane(lane)
                continue
            for earlier in gathering.pop(lane.part, ()):
                self._pack_lane(earlier)
            if frame is same and shared is not None:
                # An instrument list goes to every partition: compressed once.
                subject = subjects.raw(frame.exchange, frame.market, frame.channel, frame.symbol, lane.part)
                self._ready_message(lane, [frame], shared._replace(subject=subject))
            else:
                same, shared = frame, message(frame, lane.part)
                self._ready_message(lane, [frame], shared)
        for lanes in gathering.values():
            for lane in lanes:
                self._pack_lane(lane)

    def _pack_lane(self, lane: Lane) -> None:
        frames, lane.gathered, lane.size = lane.gathered, [], 0
        if len(frames) > 1 and len(frames[-1].body) >= PACK_BYTES:
            # A huge frame goes alone, since only a message of one frame is compressed.
            self._ready_message(lane, frames[:-1], pack(frames[:-1], lane.part))
            frames = frames[-1:]
        self._ready_message(lane, frames, pack(frames, lane.part))

    def _ready_message(self, lane: Lane, frames: list[RawFrame], ready: RawMessage) -> None:
        if len(ready.body) > MESSAGE_BYTES:
            loss = Loss(frames[0])
            for frame in frames:
                loss.add(frame)
            self.dropped += loss.frames
            reason = f"{len(frames[0].body)} bytes are more than a message can hold"
            ready = message(_dropped(lane, loss, reason), lane.part)
        self._ready.append(Packed(ready, len(frames)))
        self.bytes += len(ready.body) + OVERHEAD

    def _put(self, lane: Lane, frame: RawFrame, single: bool) -> None:
        entries = self._entries
        if not entries:
            self._wake()
        entries.append((lane, frame, single))
        size = len(frame.body) + OVERHEAD
        self._entries_bytes += size
        self.bytes += size
        self.waiting += 1

    def _lose(self, lane: Lane, frame: RawFrame) -> None:
        if lane.loss is None:
            lane.loss = Loss(frame)
            self._losing.append(lane)
        lane.loss.add(frame)
        self.dropped += 1

    def _settle(self, lane: Lane) -> None:
        loss = lane.loss
        if loss is not None:
            lane.loss = None
            self._losing.remove(lane)
            self._put(lane, _dropped(lane, loss, "no room in memory and on disk"), single=True)


def _dropped(lane: Lane, loss: Loss, reason: str) -> RawFrame:
    origin = lane.origin
    event = SessionEvent(
        event="dropped",
        url=origin.url,
        frames=loss.frames,
        channels={symbol: sorted(channels) for symbol, channels in sorted(loss.channels.items())},
        reason=reason,
        first_number=loss.first,
        last_number=loss.last,
    )
    return session_frame(origin, loss.last, loss.received_at, event)


def session_frame(origin: Origin, number: int, now_us: int, event: SessionEvent) -> RawFrame:
    """Return the frame of a session event."""
    return RawFrame(
        origin.exchange,
        origin.market,
        subjects.SESSION,
        subjects.ALL,
        origin.collector,
        origin.connection,
        number,
        now_us,
        "ws",
        encode_session(event),
    )
