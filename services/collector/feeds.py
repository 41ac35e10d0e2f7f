"""All connections of one market: as many as its streams need, and streams moved between them without a hole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from services.collector.core import Topic
from services.collector.feed import SETTLE_S, Feed
from services.collector.line import SECOND_US, Line, Wiring
from services.collector.pool import Move, Pool, Slot
from services.shared.runtime.clock import monotonic_us

_LOOK_EVERY_S = 0.05
_PATIENCE_S = 120.0
"""A stream that is not delivered where it was to go stays where it was after this."""


class Feeds:
    """Keeps what is wanted on connections, whatever that is at the time."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._pools: dict[str, Pool] = {}
        self._feeds: dict[tuple[str, int], Feed] = {}
        self._running: dict[asyncio.Task[None], Feed | None] = {}
        """Tasks of feeds, and of moves."""
        self._begun = asyncio.Event()
        self._waiting: list[Feed] = []
        """Feeds that are to be started."""
        self._moves: list[tuple[str, Move]] = []
        self._left_out: dict[str, int] = {}
        """Of each route, how many streams found no room."""
        self._gone_frames = self._gone_unknown = 0

    def __len__(self) -> int:
        """Return how many connections there are to be."""
        return len(self._feeds)

    @property
    def ready(self) -> bool:
        """Whether every connection is subscribed."""
        return all(feed.ready for feed in self._feeds.values())

    @property
    def frames(self) -> int:
        """Data frames received so far."""
        return self._gone_frames + sum(feed.frames for feed in self._all())

    @property
    def unknown(self) -> int:
        """Frames received so far that no stream asked for explains."""
        return self._gone_unknown + sum(feed.unknown for feed in self._all())

    @property
    def moving(self) -> int:
        """How many streams are on their way from one connection to another."""
        return sum(pool.moving for pool in self._pools.values())

    def lines(self) -> list[tuple[str, Line]]:
        """Return every connection with its route."""
        return [(feed.route, line) for feed in self._all() for line in feed.lines]

    def _all(self) -> list[Feed]:
        """Return every feed that is not gone: those that are ending, too."""
        ending = [feed for feed in self._running.values() if feed is not None]
        return list(dict.fromkeys((*self._feeds.values(), *ending)))

    def want(self, routes: Mapping[str, Mapping[str, Topic]]) -> None:
        """Collect these streams of each route, and no others."""
        most = self._wiring.market.limits.streams_per_connection
        for route in {**self._pools, **routes}:
            pool = self._pools.setdefault(route, Pool(most, self._wiring.room))
            changes = pool.want(routes.get(route, {}))
            for slot in changes.opened:
                feed = self._feeds[route, slot.number] = Feed(self._wiring, route, slot)
                self._waiting.append(feed)
            self._close(route, changes.closed)
            self._tell(route, changes.touched)
            self._moves += [(route, move) for move in changes.moves]
            self._complain(route, changes.left_out)
        self._begun.set()

    def _complain(self, route: str, left_out: list[str]) -> None:
        """Say what finds no room, when that is another number than before."""
        if len(left_out) != self._left_out.get(route, 0):
            self._wiring.log.error(
                "streams_left_out", count=len(left_out), name=route, reason="no further connection is allowed"
            )
        self._left_out[route] = len(left_out)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep every connection up until `stop` is set; they are closed in good order then."""
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                self._begin()
                begun = asyncio.ensure_future(self._begun.wait())
                done, _ = await asyncio.wait({stopped, begun, *self._running}, return_when=asyncio.FIRST_COMPLETED)
                begun.cancel()
                for task in [task for task in self._running if task in done]:
                    self._done(self._running.pop(task))
                    task.result()
        finally:
            stopped.cancel()
            reason = "the collector stops" if stop.is_set() else "the collector fails"
            for feed in self._feeds.values():
                feed.end(reason)
            for task, running in self._running.items():
                if running is None:
                    task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self) -> None:
        self._begun.clear()
        waiting, self._waiting = self._waiting, []
        for feed in waiting:
            self._running[asyncio.create_task(feed.run())] = feed
        moves, self._moves = self._moves, []
        for route, move in moves:
            self._running[asyncio.create_task(self._move(route, move))] = None

    def _done(self, feed: Feed | None) -> None:
        if feed is not None:
            self._gone_frames += feed.frames
            self._gone_unknown += feed.unknown
        self._wiring.on_change()

    def _tell(self, route: str, slots: Iterable[Slot]) -> None:
        for slot in slots:
            self._feeds[route, slot.number].changed()

    def _close(self, route: str, slots: Iterable[Slot]) -> None:
        for slot in slots:
            self._feeds.pop((route, slot.number)).end("no longer needed")

    async def _move(self, route: str, move: Move) -> None:
        """Wait until the target delivers, and has gone on doing so for a moment; then end the streams at the source."""
        pool, target = self._pools[route], self._feeds.get((route, move.target.number))
        if target is None:
            return  # nothing of it is wanted any more
        self._wiring.log.info("streams_moving", count=len(move.names), name=route)
        until = monotonic_us() + int((_PATIENCE_S + self._wiring.settings.overlap_s) * SECOND_US)
        settled = False
        while True:
            # What is not arriving is not wanted any more.
            moving = [name for name in move.names if name in move.target.arriving]
            covered = [name for name in moving if target.covers(name)]
            if (settled and covered == moving) or monotonic_us() >= until:
                break
            settled = covered == moving
            await asyncio.sleep(SETTLE_S if settled else _LOOK_EVERY_S)
        left = [name for name in moving if name not in set(covered)]
        self._close(route, [*pool.moved(covered), *pool.kept(left)])
        self._tell(route, [slot for slot in (move.source, move.target) if (route, slot.number) in self._feeds])
        self._wiring.log.info("streams_moved", count=len(covered), missing=len(left), name=route)
