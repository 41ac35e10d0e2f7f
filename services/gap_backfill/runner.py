"""The gap-backfill at work: it reads the gaps, looks into the tables, and lets the exchanges be asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import structlog
from nats.aio.msg import Msg

from schemas import backfill, streams, subjects
from schemas.errors import Busy
from schemas.frames import DONE, WANTED
from schemas.records import Gap, encode
from schemas.spans import Spans
from services.gap_backfill import metrics
from services.gap_backfill.asker import Asker, Origin
from services.gap_backfill.by_hand import ByHand
from services.gap_backfill.core import FINAL, BackfillCore
from services.gap_backfill.filling import Filling
from services.gap_backfill.findings import gaps_of
from services.gap_backfill.passage import read_up_to, stored_up_to
from services.gap_backfill.reading import decode_gap
from services.gap_backfill.series import DAY_US, Series, places_of
from services.gap_backfill.settings import GapBackfillSettings
from services.gap_backfill.stock import Listings, Stock, scan_since
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.history import History
from services.shared.exchanges.known_history import HISTORIES, history_of
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.bus import MAX_BATCH, Bus, Outgoing
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Http
from services.shared.runtime.reader import Reader
from services.shared.runtime.ring import Ring, oldest_unread_of_raw

TICK_S = 0.1
"""How often it is looked at what is due."""

READ_S = 0.5
SOON_US = 30_000_000
"""What is to be done within this time counts as on its way."""

LATE_LOOKS = 6
"""Looks after which it is asked whether what is not in its table yet is still on its way."""

RETRY_S = 1.0

T = TypeVar("T")


class Runner:
    """One process that fills gaps; there is one of it for a pipeline."""

    def __init__(
        self,
        settings: GapBackfillSettings,
        bus: Bus,
        stock: Stock,
        http: Http,
        log: structlog.stdlib.BoundLogger,
        stop: asyncio.Event,
    ) -> None:
        self.ready = False
        self._settings = settings
        self._bus = bus
        self._stock = stock
        self._log = log
        self._stop = stop
        self._started_at = now_us()
        self.core = BackfillCore(self._history, settings.ages(), settings.patience())
        self._listings = Listings(stock)
        self._reader: Reader | None = None
        self._scan_at = 0.0
        self._scans_to_come = 0
        self._scanning = False
        ring = Ring(bus, streams.RAW, oldest_unread_of_raw, settings.ring_check_s, log)
        origin = Origin(settings.name, self._started_at)
        markets: dict[str, dict[str, Market]] = {}
        for exchange, market in HISTORIES:
            if not settings.exchanges or exchange in settings.exchanges:
                markets.setdefault(exchange, {})[market] = MARKETS[exchange, market]
        self._askers = {
            exchange: Asker(exchange, found, self.core, bus, ring, http, settings, origin, self._listings, log)
            for exchange, found in markets.items()
        }

    def status(self) -> dict[str, Any]:
        """Return how many gaps there are and what is on its way."""
        now = now_us()
        works = [work for filling in self.core.fillings.values() for work in filling.works.values()]
        waiting = self._reader.pending if self._reader is not None else 1
        return {
            "gaps_open": len(works),
            "gaps_busy": self.core.busy(now + SOON_US) + waiting + (self._scanning or not self.ready),
            "calls": sum(asker.calls for asker in self._askers.values()),
            "rows_brought": self.core.brought,
        }

    async def run(self) -> None:
        """Work until told to stop."""
        await self._begin()
        by_hand = ByHand(self.core, self._stock, self._listings, self._started_at)

        async def asked(message: Msg) -> None:
            await message.respond(backfill.encode(await self._by_hand(by_hand, message.data)))

        await self._keep("listen", lambda: self._bus.respond(subjects.backfill(), asked))
        tasks = [asyncio.create_task(asker.run()) for asker in self._askers.values()]
        tasks += [asyncio.create_task(self._read()), asyncio.create_task(self._scan_now_and_then())]
        stopped = asyncio.create_task(self._stop.wait())
        self.ready = True
        try:
            while not self._stop.is_set():
                await self._tick()
                done, _ = await asyncio.wait({stopped, *tasks}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {stopped}:
                    task.result()
        finally:
            for one in (*tasks, stopped):
                one.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)
            if self._reader is not None:
                await self._reader.close()
        await self._tell()

    async def _keep(self, stage: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do something until it succeeds; servers come back."""
        attempt = 0
        while True:
            try:
                return await work()
            except Busy as error:
                attempt += 1
                if attempt == 1 or attempt % 20 == 0:
                    self._log.warning("retrying", stage=stage, attempt=attempt, error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _begin(self) -> None:
        """Take up the log: from its table what the stream may have discarded, and from the stream the rest."""
        now = now_us()
        log = await self._keep("log", lambda: self._stock.log(now))
        self._reader = Reader(self._bus, streams.MD, [subjects.GAP_ALL], 0)
        _, end = await self._keep("read", lambda: self._bus.bounds(streams.MD))
        log += await self._read_up_to(end)
        self.core.load(log, now_us())
        self._log.info("gaps_loaded", count=len(self.core.states))

    async def _read_up_to(self, end: int) -> list[Gap]:
        reader = self._reader
        assert reader is not None
        found: list[Gap] = []
        while True:
            try:
                messages = await reader.read(1_000, READ_S)
                reached = None if messages else await reader.caught_up_to()
            except Busy:
                await asyncio.sleep(RETRY_S)
                continue
            found += [gap for message in messages if (gap := decode_gap(message, self._log)) is not None]
            if reader.last >= end or reached is not None:
                return found

    async def _read(self) -> None:
        """Take every gap as it is told."""
        reader = self._reader
        assert reader is not None
        while True:
            try:
                messages = await reader.read(1_000, READ_S)
            except Busy:
                # What was missed while NATS was away shows in the tables at last.
                self._scans_to_come = max(self._scans_to_come, 1)
                await asyncio.sleep(RETRY_S)
                continue
            for message in messages:
                gap = decode_gap(message, self._log)
                if gap is not None and gap.source == "live":
                    self.core.take(gap, now_us())

    async def _by_hand(self, by_hand: ByHand, body: bytes) -> backfill.BackfillAnswer:
        try:
            request = backfill.decode_request(body)
        except msgspec.DecodeError as error:
            return backfill.BackfillAnswer(error=f"not a request to refill: {error}")
        return await by_hand.answer(request, now_us())

    async def _tick(self) -> None:
        """Look up what is due, and tell what has changed."""
        try:
            for filling in self.core.lookups(now_us()):
                await self._look(filling)
            await self._tell()
        except Busy as error:
            self._log.warning("retrying", stage="look", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _look(self, filling: Filling) -> None:
        if not filling.resumed:
            self.core.resume(filling, *await self._published(filling))
        if filling.fenced(now_us()) and not await self._heard_all(filling):
            return
        # Asked before the table is: what is through and not in the table then, was refused on its way.
        late = bool(filling.pending) and filling.looks >= LATE_LOOKS
        passed = late and await self._through(filling, filling.sequence)
        keys = filling.lookup()
        there = await self._stock.there(filling.series, filling.history, *keys) if keys else Spans()
        self.core.looked(filling, there, now_us(), through=passed)
        asker = self._askers.get(filling.series.exchange)
        if asker is not None:
            asker.wake.set()

    async def _heard_all(self, filling: Filling) -> bool:
        """Return whether what RAW held when this was first asked is read, and what the normaliser said of it.

        Only then is a row missing that the exchange has, and no table: it is not on its way.
        """
        series, reader = filling.series, self._reader
        part = subjects.partition(series.exchange, series.market, series.symbol)
        if filling.fence is None:
            last = await self._bus.last_of(streams.RAW, subjects.raw_filter(part))
            filling.fence = 0 if last is None else last.sequence
        read = await read_up_to(self._bus, part)
        if read is None or read.raw_sequence < filling.fence or reader is None:
            return False
        told = await reader.caught_up_to()
        return told is not None and told >= read.md_sequence

    async def _through(self, filling: Filling, raw_sequence: int) -> bool:
        """Return whether every row of a frame, and of those before it, is in its table or refused.

        What is made of later frames is not waited for: of a busy market some of it is always on its way.
        """
        if filling.covered is None or filling.covered[0] != raw_sequence:
            series = filling.series
            read = await read_up_to(self._bus, subjects.partition(series.exchange, series.market, series.symbol))
            if read is None or read.raw_sequence < raw_sequence:
                return False
            filling.covered = (raw_sequence, read.md_sequence)
        return await stored_up_to(self._bus, filling.series, filling.covered[1])

    async def _published(self, filling: Filling) -> tuple[Spans, int]:
        """Return what was published for a series and is on its way, and the RAW sequence of the last frame.

        The last frame says it of those before it. Where that is through, the table alone says what is missing.
        """
        series = filling.series
        subject = subjects.raw(series.exchange, series.market, filling.history.name, series.symbol)
        last = await self._bus.last_of(streams.RAW, subject)
        if last is None:
            return Spans(), 0
        if last.headers is None or await self._through(filling, last.sequence):
            return Spans(), last.sequence
        keys = Spans.parse(last.headers.get(WANTED, "")) | Spans.parse(last.headers.get(DONE, ""))
        wanted = Spans()
        for work in filling.works.values():
            wanted = wanted | work.wanted
        return places_of(keys, filling.history) & wanted, last.sequence

    async def _tell(self) -> None:
        """Publish every change of state, in its order."""
        events = self.core.take_events()
        for start in range(0, len(events), MAX_BATCH):
            part = events[start : start + MAX_BATCH]
            batch = [Outgoing(subjects.gap(gap.exchange, gap.market, gap.symbol), encode(gap)) for gap in part]
            await self._keep("tell", lambda batch=batch: self._bus.publish_batch(batch))  # type: ignore[misc]
            for gap in part:
                if gap.status in FINAL:
                    metrics.CLOSED.labels(gap.status).inc()
                    self._log.debug("gap_closed", symbol=gap.symbol, kind=gap.kind, status=gap.status)

    def _history(self, exchange: str, market: str, kind: str, interval: str | None) -> History | None:
        history = history_of(exchange, market, kind, interval) if self._settings.history else None
        return history and replace(history, most=min(history.most, self._settings.call_rows))

    # -- scans -------------------------------------------------------------------------------------------------------

    async def _scan_now_and_then(self) -> None:
        """Scan at start, once more when what came since is stored, after servers were away, and every few hours."""
        loop = asyncio.get_running_loop()
        self._scans_to_come = 2
        next_at = loop.time()
        while True:
            if loop.time() >= next_at:
                self._scanning = True
                await self._keep("scan", self.scan)
                self._scanning = False
                self._scans_to_come = max(0, self._scans_to_come - 1)
                next_at = loop.time() + self._settings.scan_every_h * 3_600
            if self._scans_to_come:
                next_at = min(next_at, loop.time() + self._settings.scan_again_s)
            self._report()
            await asyncio.sleep(min(1.0, max(0.05, next_at - loop.time())))

    def _report(self) -> None:
        """Bring the number of open gaps to the metrics."""
        works = [work for filling in self.core.fillings.values() for work in filling.works.values()]
        counts = Counter(work.gap.priority or "historical" for work in works)
        for priority in ("urgent", "recent", "historical"):
            metrics.OPEN.labels(priority).set(counts[priority])

    async def scan(self) -> None:
        """Look for missing rows between those that the tables hold, as far back as is set."""
        if not self._settings.history:
            return
        await self._listings.look()
        known = self.core.known()
        found = 0
        for (exchange, market), histories in HISTORIES.items():
            if (exchange, market) not in self._listings.by_market or exchange not in self._askers:
                continue
            for history in histories.values():
                found += await self._scan((exchange, market), history, known)
        self._log.info("tables_scanned", count=found)

    async def _scan(self, market: tuple[str, str], history: History, known: dict[Series, Spans]) -> int:
        """Look for missing rows of one history; return how many gaps were found."""
        found = 0
        since = scan_since(history, now_us(), round(self._settings.scan_days * DAY_US))
        for symbol in await self._stock.symbols(market, history, since):
            holes = await self._stock.holes(market, history, since, symbol)
            now = now_us()
            for hole in holes:
                for gap in gaps_of(hole, history, known.get(hole.series, Spans()), now, self._started_at):
                    if self.core.found(gap, now):
                        found += 1
                        metrics.FOUND.labels(*market, gap.kind).inc()
        return found
