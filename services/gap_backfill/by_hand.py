"""Refilling by hand: a window of one instrument, looked through at once, whatever the next scan would find."""

from __future__ import annotations

import msgspec

from schemas.backfill import BackfillAnswer, BackfillRequest
from schemas.errors import Busy
from schemas.spans import Spans
from services.gap_backfill.core import FINAL, BackfillCore
from services.gap_backfill.findings import Hole, gap_between, gaps_of
from services.gap_backfill.series import DAY_US, Series, keys_of, places_of
from services.gap_backfill.stock import Listings, Stock
from services.shared.exchanges.history import History
from services.shared.exchanges.known_history import HISTORIES


class ByHand:
    """Answers requests to refill."""

    def __init__(self, core: BackfillCore, stock: Stock, listings: Listings, started_at: int) -> None:
        self._core = core
        self._stock = stock
        self._listings = listings
        self._started_at = started_at

    async def answer(self, request: BackfillRequest, now: int) -> BackfillAnswer:
        """Look through a window and take what is missing among the gaps."""
        wrong = _refusal(request, now)
        if wrong is not None:
            return BackfillAnswer(error=wrong)
        gaps: list[str] = []
        missing = 0
        try:
            for series, history in await self._series(request):
                found, count = await self._look(series, history, request, now)
                gaps += found
                missing += count
        except Busy as error:
            return BackfillAnswer(error=f"the tables do not answer: {error}")
        if not gaps and not await self._series(request):
            return BackfillAnswer(error=f"{request.symbol} is on no instrument list of {request.exchange}")
        return BackfillAnswer(tuple(dict.fromkeys(gaps)), missing)

    async def _series(self, request: BackfillRequest) -> list[tuple[Series, History]]:
        found = []
        for (exchange, market), histories in HISTORIES.items():
            if exchange != request.exchange or request.market not in (None, market):
                continue
            listing = await self._listings.of(exchange, market, request.symbol)
            if request.symbol in listing.by_symbol:
                for history in histories.values():
                    if history.kind == request.kind and request.interval in (None, history.interval):
                        found.append(
                            (Series(exchange, market, request.symbol, history.kind, history.interval), history)
                        )
        return found

    async def _look(
        self, series: Series, history: History, request: BackfillRequest, now: int
    ) -> tuple[list[str], int]:
        known = self._core.known().get(series, Spans())
        names: list[str] = []
        if history.keyed == "id":
            # Numbers are known from rows alone: from the last one before the window to the first one behind it.
            holes = await self._stock.holes(series[:2], history, request.first - DAY_US, series.symbol)
            wanted = Spans()
            for hole in holes:
                if hole.behind_at >= request.first and hole.before_at < request.last:
                    wanted = wanted | Spans([(hole.before + 1, hole.behind - 1)])
                    for gap in gaps_of(hole, history, known, now, self._started_at):
                        asked = msgspec.structs.replace(gap, gap_type="asked")
                        if self._core.found(asked, now):
                            names.append(gap.gap_id)
        else:
            last = min(request.last - 1, now - history.length_us - history.delay_us)
            window = places_of(Spans([(request.first, last)]), history)
            there = await self._stock.there(series, history, request.first, max(request.first, last))
            wanted = window - there if history.keyed == "grid" else window
            for first, end in keys_of(wanted - known, history):
                hole = Hole(series, first - 1, first - 1, end + 1, end + 1)
                gap = gap_between(hole, history, first, end, now, "asked", "asked for by hand")
                if self._core.found(gap, now):
                    names.append(gap.gap_id)
        return names + self._on_record(series, wanted), wanted.count if history.keyed != "time" else 0

    def _on_record(self, series: Series, wanted: Spans) -> list[str]:
        """Return the gaps of a series that are being filled already and hold what is wanted."""
        filling = self._core.fillings.get(series)
        if filling is None:
            return []
        return [work.gap.gap_id for work in filling.touched(wanted) if work.gap.status not in FINAL]


def _refusal(request: BackfillRequest, now: int) -> str | None:
    """Return why a request cannot be answered, or None."""
    served = [histories for (exchange, _), histories in HISTORIES.items() if exchange == request.exchange]
    if not served:
        known = sorted({exchange for exchange, _ in HISTORIES})
        return f"exchange is {request.exchange!r}; those that serve history are {', '.join(known)}"
    kinds = sorted({history.kind for histories in served for history in histories.values()})
    if request.kind not in kinds:
        return f"kind is {request.kind!r}; {request.exchange} serves the history of {', '.join(kinds)}"
    if not request.first < request.last:
        return "the window ends before it begins"
    if request.first >= now:
        return "the window has not begun yet"
    return None
