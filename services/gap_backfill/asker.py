"""Asking one exchange: leave from its budget first, one call at a time, the answer judged before it is published."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
import nats.errors
import structlog

from schemas import control, subjects
from schemas.errors import BadFrame, Busy, Overtaken
from schemas.frames import RawFrame, message
from services.gap_backfill import metrics
from services.gap_backfill.answers import judge_answer
from services.gap_backfill.core import BackfillCore
from services.gap_backfill.filling import Page
from services.gap_backfill.series import Priority, keys_of
from services.gap_backfill.settings import GapBackfillSettings
from services.gap_backfill.stock import Listings
from services.shared.exchanges.declaration import Listing, Market
from services.shared.runtime.bus import EXPECTED_SUBJECT_SEQUENCE, Bus, Outgoing
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer, Http
from services.shared.runtime.ring import Ring

SECOND_US = 1_000_000
NO_KEEPER_PAUSE_S = 1.0
"""How long is waited where nobody answers for a budget."""

ANSWER_SLACK_S = 5.0
"""How much longer than a budget's keeper may take its answer is waited for."""

_PRIORITIES: Mapping[Priority | None, control.Priority] = {
    "urgent": control.Priority.URGENT,
    "recent": control.Priority.RECENT,
    "historical": control.Priority.HISTORICAL,
    None: control.Priority.HISTORICAL,
}


class Asker:
    """Calls of one exchange, one after the other, while there is something to ask for."""

    def __init__(
        self,
        exchange: str,
        markets: Mapping[str, Market],
        core: BackfillCore,
        bus: Bus,
        ring: Ring,
        http: Http,
        settings: GapBackfillSettings,
        origin: Origin,
        listings: Listings,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self.calls = 0
        self.wake = asyncio.Event()
        """Set when there may be something to ask for."""
        self._exchange = exchange
        self._markets = markets
        self._core = core
        self._bus = bus
        self._ring = ring
        self._http = http
        self._settings = settings
        self._origin = origin
        self._listings = listings
        self._log = log.bind(exchange=exchange)

    async def run(self) -> None:
        """Ask for what is missing until cancelled."""
        while True:
            page = self._core.next_page(self._exchange, now_us())
            if page is None:
                self.wake.clear()
                await self._rest(self._core.wait_us(self._exchange, now_us(), SECOND_US) / SECOND_US)
                continue
            await self._ask(page)
            await asyncio.sleep(self._settings.call_pause_s)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except TimeoutError:
            return

    async def _ask(self, page: Page) -> None:
        market = self._markets[page.series.market]
        listing = await self._listings.of(page.series.exchange, page.series.market, page.series.symbol)
        item = listing.by_symbol.get(page.series.symbol)
        if item is None:
            self._core.failed(page, f"{page.series.symbol} is on no instrument list", now_us(), passing=True)
            return
        path = page.path(quote(item.exchange_symbol, safe=""))
        endpoint, weight = path.partition("?")[0], max(1, page.history.weight(page.count))
        await self._leave(control.BudgetRequest(page.series.market, endpoint, weight, _PRIORITIES[page.gap.priority]))
        labels = (self._exchange, page.series.market, page.history.name)
        metrics.CALLS.labels(*labels).inc()
        self.calls += 1
        url = self._settings.rest_urls.get(f"{self._exchange}.{page.series.market}", market.rest_url)
        try:
            answer = await self._http.get(url.rstrip("/") + path, market.headers)
        except Busy as error:
            await self._report(page, endpoint, weight, 0, {}, None)
            self._fail(page, str(error), passing=True)
            return
        said = market.rest.said(answer.headers.items())
        outcome = market.rest.judge(answer.status, said, answer.body, now_us() / SECOND_US)
        await self._report(page, endpoint, weight, answer.status, said, outcome.pause_s)
        if outcome.error is not None:
            pause_us = round((outcome.pause_s or 0) * SECOND_US)
            self._fail(page, outcome.error, passing=outcome.again, pause_us=pause_us)
            return
        await self._take(page, path, answer, listing)

    def _fail(self, page: Page, why: str, *, passing: bool, pause_us: int = 0) -> None:
        metrics.FAILED.labels(self._exchange, page.series.market, page.history.name).inc()
        self._log.warning(
            "history_not_had", market=page.series.market, symbol=page.series.symbol, name=page.history.name, error=why
        )
        self._core.failed(page, why, now_us(), passing=passing, pause_us=pause_us)

    async def _leave(self, request: control.BudgetRequest) -> None:
        """Wait for leave to make a call, however long it takes."""
        subject, body = subjects.budget(self._exchange), control.encode(request)
        while True:
            try:
                answer = await self._bus.client.request(subject, body, timeout=request.wait_s + ANSWER_SLACK_S)
                grant = control.decode_grant(answer.data)
            except (nats.errors.Error, OSError, msgspec.DecodeError) as error:
                self._log.debug("budget_unanswered", error=f"{type(error).__name__} {error}")
                await asyncio.sleep(NO_KEEPER_PAUSE_S)
                continue
            if grant.granted:
                return
            self._log.info("budget_refused", reason=grant.error)
            await asyncio.sleep(NO_KEEPER_PAUSE_S)

    async def _report(
        self, page: Page, endpoint: str, weight: int, status: int, said: dict[str, str], pause_s: float | None
    ) -> None:
        report = control.BudgetReport(page.series.market, endpoint, status, weight, said, pause_s)
        try:
            await self._bus.say(subjects.budget_report(self._exchange), control.encode(report))
        except Busy as error:
            self._log.debug("budget_report_lost", error=str(error))

    async def _take(self, page: Page, path: str, answer: Answer, listing: Listing) -> None:
        """Judge an answer, publish it if it holds anything that is wanted, and tell the core."""
        series = page.series
        frame = RawFrame(
            exchange=series.exchange,
            market=series.market,
            channel=page.history.name,
            symbol=series.symbol,
            collector=self._settings.name,
            connection=self._origin.connection,
            number=self._origin.next_number(),
            received_at=answer.received_at,
            origin="backfill",
            body=answer.body,
            request=path,
            requested_at=answer.requested_at,
        )
        try:
            found = judge_answer(page, frame, listing)
        except BadFrame as error:
            self._fail(page, f"an answer that cannot be used: {error}", passing=False)
            return
        if page.probe:
            self._core.probed(page, found.places, now_us(), full=found.full)
            return
        got = page.wanted & found.places
        filling = self._core.fillings.get(series)
        if got and filling is not None:
            wanted, done = (str(keys_of(places, page.history)) for places in (got, filling.pending))
            try:
                frame = msgspec.structs.replace(frame, wanted=wanted, done=done)
                filling.sequence = await self._publish(frame, filling.sequence)
            except Overtaken:
                # Somebody else has published for this series, or it was ourselves and the answer was lost.
                filling.resumed, filling.look_at = False, now_us()
                return
            metrics.BROUGHT.labels(series.exchange, series.market, series.kind).inc(got.count)
        self._core.answered(page, found.places, now_us(), full=found.full)

    async def _publish(self, frame: RawFrame, after: int) -> int:
        """Publish a frame behind the series' last one, `after`; return its RAW sequence. Raises Overtaken."""
        raw = message(frame)
        headers = {**raw.headers, EXPECTED_SUBJECT_SEQUENCE: str(after)}
        attempt = 0
        while True:
            try:
                if await self._ring.has_room(len(raw.body)):
                    return await self._bus.publish_batch([Outgoing(raw.subject, raw.body, headers)])
                await asyncio.sleep(self._ring.check_s)
            except Busy as error:
                attempt += 1
                self._log.warning("retrying", stage="publish", attempt=attempt, error=str(error))
                await asyncio.sleep(min(5.0, 0.2 * 2**attempt))


class Origin:
    """What this process's frames are known by: a connection of its own, and numbers that rise on it."""

    def __init__(self, name: str, started_at: int) -> None:
        self.connection = f"{name}.{started_at // 1000:x}"
        self._number = 0

    def next_number(self) -> int:
        """Return the next frame's number."""
        self._number += 1
        return self._number
