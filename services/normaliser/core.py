"""One RAW partition's frames to records, gaps and dead letters: pure, and the same every time it is done.

What comes out depends on the saved state and the frames alone; the only clock is the receive time of the frames. So a
process that was killed reads the same frames again and says the same.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Mapping

import msgspec

from schemas import frames as raw
from schemas import subjects
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from services.normaliser.backfill import Backfills
from services.normaliser.book_lane import BookLane
from services.normaliser.clock_lane import make_poll_lane
from services.normaliser.counting import Counting
from services.normaliser.desk import CoreOptions, Counters, Desk, LaneKey, Output, Resync
from services.normaliser.lane import Lane
from services.normaliser.lanes import make_lane
from services.normaliser.listings import Listings
from services.normaliser.notices import connection_record, dead_letter
from services.normaliser.saving import (
    SavedPartition,
    SavedUnit,
    dump_lane,
    dump_poll,
    load_lane,
    load_poll,
    pack_listing,
    pack_unit,
    unit_key,
    unpack_listing,
    unpack_partition,
    unpack_unit,
)
from services.normaliser.sessions import counts_of, tell
from services.normaliser.tally import MINUTE_US
from services.normaliser.units import Numbers, Unit
from services.normaliser.unknown_fields import LOOK_EVERY_US, unknown_fields
from services.shared.exchanges.declaration import AUDIT, BookSnapshot, Channel, Market, Poll

__all__ = ["CoreOptions", "Output", "PartitionCore", "Resync"]

PARTITION_UNIT = "partition"
_SIGNS_OF_LIFE = ("opened", "subscribed", "alive")


class PartitionCore:
    """The normaliser of one RAW partition; frames come in RAW order."""

    def __init__(
        self, part: int, markets: Mapping[tuple[str, str], Market], options: CoreOptions | None = None
    ) -> None:
        self.part = part
        self._markets = markets
        self._desk = Desk(options or CoreOptions())
        self._listings = Listings(self._desk, part)
        self._backfills = Backfills(self._desk)
        self._units: dict[tuple[str, str, str], Unit] = {}
        self._counting = Counting(self._desk, self._units)
        self._lanes: dict[LaneKey, Lane] = {}
        """The lanes of all units, found in one step."""
        self._numbers = Numbers()
        self._partition_seen = 0
        self._raw_sequence = 0
        self._now = 0
        """When the last frame was received: also files what has no readable time of its own."""

    @property
    def counters(self) -> Counters:
        """What was counted since this core was made."""
        return self._desk.counters

    def take_resyncs(self) -> list[Resync]:
        """Return the requests for fresh books since the last call."""
        taken, self._desk.resyncs = self._desk.resyncs, []
        return taken

    # -- frames ----------------------------------------------------------------------------------------------------

    def process(self, raw_sequence: int, subject: str, headers: Mapping[str, str] | None, body: bytes) -> list[Output]:
        """Process one RAW message and return what is to be published for it, in order."""
        desk = self._desk
        self._raw_sequence = raw_sequence
        try:
            frames = raw.unpack(subject, headers, body)
            desk.counters.frames += len(frames)
            if frames:
                self._counting.turn(raw_sequence, frames[0].received_at)
            for frame in frames:
                try:
                    self._frame(frame)
                except BadFrame as error:
                    self._refuse(error, subject, frame.body, frame)
                except RecursionError:
                    self._refuse(BadFrame("it nests too deeply to be read"), subject, frame.body, frame)
        except BadFrame as error:
            self._refuse(error, subject, body, None)
        self._counting.count(raw_sequence)
        tray = desk.tray.copy()
        desk.tray.clear()
        return tray

    def lost(self, first: int, last: int) -> None:
        """RAW discarded these sequences before they were read: the gaps come out with the next message.

        Called on a restored core, before the first message that RAW still holds. State saved past `last` lost nothing.
        """
        for unit in self._units.values():
            for lane in unit.lanes.values() if unit.seen < last else ():
                lane.lose(f"RAW messages {first} to {last} were discarded before they were read")

    def _frame(self, frame: RawFrame) -> None:
        desk, connection, received_at = self._desk, frame.connection, frame.received_at
        self._now = received_at
        alarms = desk.alarms.get(connection)
        if alarms and alarms[0][0] <= received_at:
            self._ring(connection, received_at)
        lane = self._lanes.get((frame.exchange, frame.market, frame.symbol, frame.channel))
        if lane is None:
            lane = self._route(frame)
            if lane is None:
                return
        desk.heard[connection] = received_at
        if self._raw_sequence <= lane.seen:
            return
        lane.frames += 1
        link = lane.leader
        if link is None or link.name != connection or frame.number <= link.number:
            link = lane.link(frame)
            if link is None:
                desk.counters.duplicates += 1
                return
        link.number = frame.number
        link.frames += 1
        if lane.form is not None and link is lane.leader and lane.take(frame.body, received_at):
            return
        look = received_at >= lane.look_at_fields
        if look:
            lane.look_at_fields = received_at + LOOK_EVERY_US
            for path in unknown_fields(frame):
                desk.counters.unknown_fields[f"{frame.exchange} {frame.market} {frame.channel} {path}"] += 1
        listing = self._listings.of(frame.exchange, frame.market)
        found = lane.parse(frame, listing)
        if look:
            lane.learn(frame.body, listing)
        if link is lane.leader:
            for record in found:
                lane.accept(record)  # type: ignore[arg-type]  # a channel yields no snapshots
        else:
            lane.keep(link, found, received_at)  # type: ignore[arg-type]

    def _route(self, frame: RawFrame) -> Lane | None:
        """Find the way of a frame that is not of a known lane: make the lane, or do what the frame says."""
        market_key = (frame.exchange, frame.market)
        market = self._markets.get(market_key)
        if market is None:
            raise BadFrame(f"no market {frame.exchange} {frame.market} is known")
        if frame.origin == "backfill":
            if self._raw_sequence > self._unit(frame.exchange, frame.market, frame.symbol).seen:
                self._backfills.take(frame, self._listings.of(*market_key))
            return None
        if frame.channel == subjects.SESSION:
            self._session(frame, market)
            return None
        if frame.channel == market.instruments.name:
            if self._raw_sequence > self._partition_seen and self._numbers.is_new(frame, self._desk):
                self._listings.take(frame, market)
            self._delist(market_key, frame.received_at)
            return None
        poll = market.polls.get(frame.channel)
        if poll is not None:
            self._poll(frame, market, poll)
            return None
        channel = market.channels.get(frame.channel)
        if channel is None:
            raise BadFrame(f"{frame.exchange} {frame.market} has no channel {frame.channel!r}")
        if frame.symbol not in self._listings.of(*market_key).by_symbol and frame.symbol != subjects.ALL:
            raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
        return self._lane(market, frame.symbol, channel)

    def _unit(self, exchange: str, market: str, symbol: str) -> Unit:
        name = (exchange, market, symbol)
        unit = self._units.get(name)
        if unit is None:
            unit = self._units[name] = Unit(name, self._raw_sequence, self._now // MINUTE_US)
            self._counting.forget()
        return unit

    def _lane(self, market: Market, symbol: str, channel: Channel) -> Lane:
        key = (market.exchange, market.market, symbol, channel.name)
        lane = self._lanes.get(key)
        if lane is None:
            unit = self._unit(*key[:3])
            lane = make_lane(self._desk, market, symbol, channel)
            lane.seen = unit.seen
            lane.delisted = self._listings.has_ended(*key[:3])
            self._lanes[key] = unit.lanes[channel.name] = lane
        return lane

    def _delist(self, market: tuple[str, str], now: int) -> None:
        """Let the lanes of a market know whether their instruments are still traded."""
        for key in sorted(key for key in self._lanes if key[:2] == market):
            self._lanes[key].look_at_listing(self._listings.of(*market))
            if self._raw_sequence > self._lanes[key].seen:
                self._tell_listed(self._lanes[key], now)

    def _tell_listed(self, lane: Lane, now: int) -> None:
        ended = self._listings.has_ended(lane.exchange, lane.market, lane.symbol)
        if ended and not lane.delisted:
            lane.delist(now)
        elif lane.delisted and not ended:
            lane.relist()

    def _poll(self, frame: RawFrame, market: Market, poll: Poll) -> None:
        unit = self._unit(frame.exchange, frame.market, frame.symbol)
        lane = unit.polls.get(poll.name)
        if lane is None:
            lane = unit.polls[poll.name] = make_poll_lane(self._desk, frame.symbol, poll.name)
        if self._raw_sequence <= unit.seen:
            return
        if not lane.fresh(frame):
            self._desk.counters.duplicates += 1
            return
        found = poll.parse(frame, self._listings.of(frame.exchange, frame.market))
        rows = []
        for item in found:
            if isinstance(item, BookSnapshot):
                book = self._lane(market, frame.symbol, market.channels[market.book_channel])
                assert isinstance(book, BookLane)
                if poll.name == AUDIT:
                    book.audit(item, frame.received_at)
                else:
                    book.snapshot(item, frame.received_at)
            else:
                rows.append(item)
        lane.deliver(rows)

    def _ring(self, connection: str, now: int) -> None:
        """Look at the lanes for which something is due by what a frame of their connection says of the time."""
        alarms = self._desk.alarms[connection]
        later: list[tuple[int, LaneKey]] = []
        due: set[LaneKey] = set()
        while alarms and alarms[0][0] <= now:
            entry = heapq.heappop(alarms)
            lane = self._lanes[entry[1]]
            if lane.leader is None or lane.leader.name != connection or lane.alarm != entry[0]:
                continue  # somebody else feeds it now, or it asked anew
            if self._raw_sequence <= lane.seen:
                later.append(entry)
            else:
                due.add(entry[1])
        for entry in later:
            heapq.heappush(alarms, entry)
        for key in sorted(due):
            lane = self._lanes[key]
            lane.alarm = None
            lane.ring(now)
            lane.wake()

    # -- sessions --------------------------------------------------------------------------------------------------

    def _session(self, frame: RawFrame, market: Market) -> None:
        """Take what happened to a connection: every lane of this partition that it concerns learns of it."""
        event = raw.decode_session(frame.body)
        name, now = frame.connection, frame.received_at
        if event.event in _SIGNS_OF_LIFE:
            self._desk.heard[name] = now
        if event.event == "counted":
            self._compare_counts(frame, event)
            return
        if event.event == "auditing":
            self._begin_audits(market, event.channels, now)
            return
        if event.event == "subscribed":
            for symbol, channels in sorted(event.channels.items()):
                for channel in channels:
                    if channel not in market.channels:
                        raise BadFrame(f"{market.exchange} {market.market} has no channel {channel!r}")
                    lane = self._lane(market, symbol, market.channels[channel])
                    if self._raw_sequence > lane.seen and (name not in lane.ended or name in lane.presumed):
                        lane.join(name, now)
        else:
            for key in sorted(self._lanes):
                lane = self._lanes[key]
                if key[:2] == (frame.exchange, frame.market) and self._raw_sequence > lane.seen:
                    tell(lane, event, name, now)
        if event.event == "closed":
            self._desk.alarms.pop(name, None)
            self._desk.heard.pop(name, None)
        self._put_out(frame, event)

    def _compare_counts(self, frame: RawFrame, event: raw.SessionEvent) -> None:
        for symbol, channel, told in counts_of(event):
            lane = self._lanes.get((frame.exchange, frame.market, symbol, channel))
            if lane is not None and self._raw_sequence > lane.seen:
                lane.counted(frame.connection, frame.number, told, frame.received_at)

    def _begin_audits(self, market: Market, symbols: Iterable[str], now: int) -> None:
        for symbol in sorted(symbols):
            book = self._lane(market, symbol, market.channels[market.book_channel])
            if isinstance(book, BookLane) and self._raw_sequence > book.seen:
                book.begin_audit(now)

    def _put_out(self, frame: RawFrame, event: raw.SessionEvent) -> None:
        """Put out the record of a session event, once: in the partition of the market as a whole."""
        record = connection_record(frame, event)
        if record is None or subjects.partition(frame.exchange, frame.market, subjects.ALL) != self.part:
            return
        if self._raw_sequence > self._partition_seen and self._numbers.is_new(frame, self._desk):
            self._desk.emit(record)

    def _refuse(self, error: BadFrame, subject: str, body: bytes, frame: RawFrame | None) -> None:
        self._desk.emit_dead(dead_letter(error, subject, self._raw_sequence, body, frame, self._now))

    # -- saving ----------------------------------------------------------------------------------------------------

    def units(self) -> Iterable[str]:
        """Return the keys of the units that `save` knows."""
        return [PARTITION_UNIT, *(unit_key(*name) for name in self._units)]

    def save(self, key: str) -> bytes:
        """Return a unit's state as of the last processed RAW sequence, which is in it. Raises KeyError."""
        if key == PARTITION_UNIT:
            unsaved = {unit_key(*unit.name): unit.born for unit in self._units.values() if not unit.saved}
            return pack_unit(
                SavedPartition(
                    max(self._raw_sequence, self._partition_seen),
                    unsaved,
                    self._now,
                    dict(self._numbers.last),
                    pack_listing(self._listings.dump()),
                )
            )
        unit = next((unit for unit in self._units.values() if unit_key(*unit.name) == key), None)
        if unit is None:
            raise KeyError(key)
        unit.saved = True
        return pack_unit(
            SavedUnit(
                max(self._raw_sequence, unit.seen),
                *unit.name,
                {name: dump_lane(lane) for name, lane in unit.lanes.items()},
                {name: dump_poll(lane) for name, lane in unit.polls.items()},
                self._backfills.dump(unit.name),
                unit.dump_tally(),
            )
        )

    def restore(self, units: Mapping[str, bytes]) -> int:
        """Take saved units back; return the RAW sequence after which reading must begin.

        0, the beginning, when nothing was saved, or when what was saved cannot be read (another version's state): RAW
        alone rebuilds everything.
        """
        if PARTITION_UNIT not in units:
            return 0
        try:
            partition = unpack_partition(units[PARTITION_UNIT])
            instruments = {key: unpack_unit(value) for key, value in units.items() if key != PARTITION_UNIT}
        except (zlib.error, msgspec.DecodeError):
            return 0
        self._partition_seen = partition.raw_sequence
        self._numbers.last = partition.numbers
        self._now = partition.now
        self._listings.load(unpack_listing(partition.listing))
        births = [born - 1 for key, born in partition.unsaved.items() if key not in units]
        resume = min([partition.raw_sequence, *births])
        for saved in instruments.values():
            self._restore_unit(saved)
            resume = min(resume, saved.raw_sequence)
        for key in sorted(self._lanes):  # the listing may be newer than a lane's state
            self._tell_listed(self._lanes[key], self._now)
        return resume

    def _restore_unit(self, saved: SavedUnit) -> None:
        unit = self._unit(saved.exchange, saved.market, saved.symbol)
        unit.seen, unit.saved = saved.raw_sequence, True
        market = self._markets.get((saved.exchange, saved.market))
        if market is None:
            return
        for name, lane in saved.lanes.items():
            if name in market.channels:
                load_lane(self._lane(market, saved.symbol, market.channels[name]), lane)
        for name, poll in saved.polls.items():
            unit.polls[name] = make_poll_lane(self._desk, saved.symbol, name)
            load_poll(unit.polls[name], poll)
        self._backfills.load(unit.name, saved.backfills)
        unit.load_tally(saved.tally)
