"""One WebSocket connection without its socket: frames and times in, numbered frames for RAW out.

A connection's frames are numbered from 1, session events among them, so that whoever reads a partition knows its order
and which frames were published twice. All times are microseconds UTC, of our clock.

`alive` is proof, not hope: it carries the time of the last thing heard on the connection (data on any stream, or the
pong to a ping of ours), since WebSocket is in order and whatever was sent before that has arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from schemas import subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame, SessionEvent
from services.collector.outbox import Lane, Origin, Outbox, session_frame
from services.collector.stream_counts import StreamCounts, Target
from services.shared.exchanges.declaration import Ask, Market, Notice, Pong, Reply, StreamName

UNKNOWN = "_unknown"
"""Channel of a frame that sorts to nothing that was asked for: published all the same, its reader refuses it."""


class Topic(NamedTuple):
    """What a stream is about: our channel and symbol."""

    channel: str
    symbol: str


@dataclass(frozen=True, slots=True)
class WatchRules:
    """When a connection is said to be alive or silent, when it is replaced, and when it is dead. Microseconds."""

    alive_every_us: int
    silence_report_us: int
    silence_timeout_us: int
    dead_after_us: int
    lifetime_us: int


class Need(Enum):
    """What a connection needs after a look at the clock."""

    NOTHING = "nothing"
    PING = "ping"
    REPLACE = "replace"
    RECONNECT = "reconnect"


class Judgement(NamedTuple):
    """A need and its reason."""

    need: Need
    reason: str = ""


class Link:
    """One connection. `streams` maps the exchange's stream names to what they are about."""

    def __init__(
        self, market: Market, origin: Origin, streams: Mapping[str, Topic], outbox: Outbox, rules: WatchRules
    ) -> None:
        self.origin = origin
        self.number = 0
        self.frames = 0
        """Data frames received."""
        self.unknown = 0
        self.confirmed: dict[str, Topic] = {}
        """Streams whose subscription the exchange has confirmed."""
        self._sort = market.sort
        self._outbox = outbox
        self._rules = rules
        self.streams: dict[str, Topic] = {}
        """What is asked for on this connection, or about to be."""
        self._lanes: dict[int, Lane] = {}
        self._all = self._lane(subjects.ALL)
        self._targets: dict[str, Target] = {}
        """Of every stream that was ever asked for: what still comes of one that was given up is data all the same."""
        self._counts = StreamCounts(self._targets)
        self._awaited: set[str] = set()
        """Streams of which no frame has come since they were asked for."""
        self._confirmed_us: dict[str, int] = {}
        self.add(streams)
        self._opened_us = 0
        self._heard_us = 0
        self._data_us = 0
        self._looked_us = 0
        self._resumed_us = 0
        """When this process last came back from a pause."""
        self._silent = False
        self._replacing = False
        self._close_reason: str | None = None

    def _lane(self, symbol: str) -> Lane:
        part = subjects.partition(self.origin.exchange, self.origin.market, symbol)
        lane = self._lanes.get(part)
        if lane is None:
            lane = self._lanes[part] = Lane(self.origin, part)
        return lane

    def _target(self, topic: Topic, before: Target | None) -> Target:
        lane = self._lane(topic.symbol)
        lane.channels.setdefault(topic.symbol, []).append(topic.channel)
        return Target(lane, topic.channel, topic.symbol, before)

    def add(self, streams: Mapping[str, Topic]) -> None:
        """Take on streams that are about to be asked for."""
        for name, topic in streams.items():
            if name not in self.streams:
                self.streams[name] = topic
                self._targets[name] = self._target(topic, self._targets.get(name))
                self._awaited.add(name)

    def opened(self, now_us: int) -> None:
        """The socket is open; nothing is subscribed yet."""
        self._opened_us = self._heard_us = self._data_us = self._looked_us = now_us
        self._counts.begin(now_us)
        self._say("opened", now_us, self._lanes.values())

    def subscribed(self, names: Iterable[str], now_us: int) -> None:
        """The exchange confirmed these streams."""
        known = [name for name in names if name in self.streams]
        for name in known:
            self.confirmed[name] = self.streams[name]
            self._confirmed_us[name] = now_us
        self._say_of(known, "subscribed", now_us)

    def unsubscribed(self, names: Iterable[str], now_us: int) -> None:
        """These streams were given up on purpose: whatever the exchange had sent of them until then has been taken."""
        known = [name for name in names if name in self.streams]
        confirmed = [name for name in known if name in self.confirmed]
        if confirmed:
            self._tell_counts(now_us)
        for name in known:
            topic = self.streams.pop(name)
            self._awaited.discard(name)
            self._confirmed_us.pop(name, None)
            self.confirmed.pop(name, None)
            channels = self._targets[name].lane.channels
            channels[topic.symbol].remove(topic.channel)
            if not channels[topic.symbol]:
                del channels[topic.symbol]
        if confirmed:
            self._say_of(confirmed, "unsubscribed", now_us)

    def covers(self, name: str, now_us: int, quiet_us: int) -> bool:
        """Whether a stream is delivered here: confirmed, and heard of, or confirmed so long ago that it is quiet."""
        since = self._confirmed_us.get(name)
        return since is not None and (name not in self._awaited or now_us - since >= quiet_us)

    def _say_of(self, names: Iterable[str], event: Literal["subscribed", "unsubscribed"], now_us: int) -> None:
        """Say something of single streams, to the partitions concerned and to the one of the whole market."""
        per_lane: dict[int, dict[str, list[str]]] = {self._all.part: {}}
        for name in names:
            target = self._targets[name]
            per_lane.setdefault(target.lane.part, {}).setdefault(target.symbol, []).append(target.channel)
        self.number += 1
        for part, channels in per_lane.items():
            self._event(event, now_us, self._lanes[part], channels=channels)

    def received(self, body: bytes, now_us: int) -> Reply | Notice | Pong | Ask | None:
        """Take one frame: data goes to the outbox untouched; what else it may be is returned to the caller.

        A stream that was asked for gives data from its first frame on, whether or not its confirmation came before.
        """
        self._heard_us = now_us
        if now_us >= self._counts.due_us:
            self._tell_counts(now_us)
        try:
            found = self._sort(body)
        except (BadFrame, RecursionError):  # the latter: JSON that nests without end
            found = None
        if type(found) is StreamName:
            target = self._targets.get(found.name)
            if self._awaited:
                self._awaited.discard(found.name)
        elif found is not None:
            return found  # type: ignore[return-value]
        else:
            target = None
        if target is None:
            self.unknown += 1
            target = Target(self._all, UNKNOWN, subjects.ALL)
        lane, channel, symbol = target.lane, target.channel, target.symbol
        self._data_us = lane.received_at = now_us
        self.frames += 1
        self.number += 1
        exchange, market, collector, connection, _ = self.origin
        self._outbox.data(
            lane,
            RawFrame(exchange, market, channel, symbol, collector, connection, self.number, now_us, "ws", body),
        )
        if lane.loss is None:  # else it found no room, and a `dropped` event will say so
            target.frames += 1
        return None

    def _tell_counts(self, now_us: int) -> None:
        """Say how many frames came of each stream since it was last said, behind the last of them on its lane."""
        since, until, per_lane = self._counts.take(now_us)
        if not per_lane:
            return
        self.number += 1
        for part, counts in per_lane.items():
            event = SessionEvent(event="counted", url=self.origin.url, counts=counts, since=since, until=until)
            # Said by our own clock: it is no sign of life of the connection.
            self._outbox.keep(self._lanes[part], session_frame(self.origin, self.number, now_us, event))

    def answered(self, now_us: int) -> None:
        """A ping of ours was answered, and every frame before the answer has been taken."""
        self._heard_us = now_us

    def look(self, now_us: int) -> Judgement:
        """Look at the clock: publish what is to be said, and return what the connection needs.

        Asked at least twice per `alive_every_us`. After a pause of this process (much later than that) nothing is
        concluded from the silence: what came meanwhile has not been read yet.
        """
        rules = self._rules
        if now_us < self._looked_us:
            self._clock_went_back(now_us)
        paused = now_us - self._looked_us > max(4 * rules.alive_every_us, rules.dead_after_us // 2)
        self._looked_us = now_us
        if now_us >= self._counts.due_us:
            self._tell_counts(now_us)
        if paused:
            self._resumed_us = now_us
            return Judgement(Need.PING)
        if now_us - max(self._heard_us, self._resumed_us) >= rules.dead_after_us:
            return Judgement(Need.RECONNECT, f"no sign of life for {_seconds(now_us - self._heard_us)} s")
        self._say_alive()
        judgement = self._silence(now_us)
        if judgement is None and not self._replacing and now_us - self._opened_us >= rules.lifetime_us:
            self._replacing = True
            judgement = Judgement(Need.REPLACE, "end of its planned life")
        if judgement is not None:
            return judgement
        if now_us - self._heard_us >= rules.alive_every_us:
            return Judgement(Need.PING)
        return Judgement(Need.NOTHING)

    def _clock_went_back(self, now_us: int) -> None:
        """Judge by the new time: what lies ahead of it would hold every rule back until it has passed again."""
        self._heard_us = min(self._heard_us, now_us)
        self._data_us = min(self._data_us, now_us)
        self._opened_us = min(self._opened_us, now_us)
        self._resumed_us = min(self._resumed_us, now_us)
        for lane in self._lanes.values():
            lane.received_at = min(lane.received_at, now_us)
        self._tell_counts(now_us)

    def _say_alive(self) -> None:
        for lane in self._lanes.values():
            if (lane.channels or lane is self._all) and self._heard_us - lane.received_at >= self._rules.alive_every_us:
                self.number += 1
                self._event("alive", self._heard_us, lane)

    def _silence(self, now_us: int) -> Judgement | None:
        silence = now_us - self._data_us
        if silence < self._rules.silence_report_us:
            self._silent = False
            return None
        if not self._silent:
            self._silent = True
            self._say("silent", now_us, self._lanes.values(), reason=_seconds(silence))
        if silence >= self._rules.silence_timeout_us and not self._replacing:
            self._replacing = True
            return Judgement(Need.REPLACE, f"no data for {_seconds(silence)} s")
        return None

    def replacement_failed(self) -> None:
        """The successor did not come up; the need for one may be found again."""
        self._replacing = False

    @property
    def silent(self) -> bool:
        """Whether the silence on the whole connection has been reported."""
        return self._silent

    def closed(self, reason: str, now_us: int) -> None:
        """The connection is gone."""
        self._tell_counts(now_us)
        self._say("closed", now_us, self._lanes.values(), reason=reason)

    def _say(
        self,
        event: Literal["opened", "silent", "closed"],
        now_us: int,
        lanes: Iterable[Lane],
        reason: str | None = None,
    ) -> None:
        self.number += 1
        for lane in lanes:
            self._event(event, now_us, lane, lane.channels, reason)

    def _event(
        self,
        event: Literal["opened", "subscribed", "alive", "silent", "unsubscribed", "closed"],
        now_us: int,
        lane: Lane,
        channels: dict[str, list[str]] | None = None,
        reason: str | None = None,
    ) -> None:
        body = SessionEvent(
            event=event,
            url=self.origin.url,
            streams=len(self.confirmed),
            frames=self.frames,
            channels=channels or {},
            reason=reason,
        )
        frame = session_frame(self.origin, self.number, now_us, body)
        lane.received_at = now_us
        if event == "alive":
            self._outbox.alive(lane, frame)
        else:
            self._outbox.keep(lane, frame)


class RestLink:
    """The REST answers of one market as a connection of their own: numbered from 1, one lane per partition."""

    def __init__(self, origin: Origin, outbox: Outbox) -> None:
        self.origin = origin
        self.number = 0
        self._outbox = outbox
        self._lanes = [Lane(origin, part) for part in range(subjects.PARTITIONS)]

    def publish(
        self,
        channel: str,
        symbol: str,
        body: bytes,
        request: str,
        requested_at: int,
        received_at: int,
        *,
        everywhere: bool = False,
    ) -> RawFrame:
        """Publish an answer into the partition of its symbol, or into every one: an instrument list concerns all."""
        self.number += 1
        exchange, market, collector, connection, _ = self.origin
        frame = RawFrame(
            exchange,
            market,
            channel,
            symbol,
            collector,
            connection,
            self.number,
            received_at,
            "rest",
            body,
            request,
            requested_at,
        )
        if everywhere:
            for lane in self._lanes:
                self._outbox.keep(lane, frame)
        else:
            self._outbox.keep(self._lanes[subjects.partition(exchange, market, symbol)], frame)
        return frame

    def announce_audit(self, symbol: str, now_us: int) -> None:
        """Say, in the symbol's partition, that a book is about to be asked for to be compared with ours."""
        self.number += 1
        event = SessionEvent(event="auditing", url=self.origin.url, channels={symbol: []})
        lane = self._lanes[subjects.partition(self.origin.exchange, self.origin.market, symbol)]
        self._outbox.keep(lane, session_frame(self.origin, self.number, now_us, event))


def _seconds(us: int) -> str:
    return f"{us / 1_000_000:.0f}"
