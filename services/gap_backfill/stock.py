"""What is in the tables: the questions put to ClickHouse, and the answers as spans, holes, gaps and listings."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.errors import Busy
from schemas.records import Gap, Instrument
from schemas.spans import Spans
from services.gap_backfill import questions
from services.gap_backfill.findings import Hole
from services.gap_backfill.series import Series, retention_us
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.history import History
from services.shared.runtime.warehouse import Warehouse

NOTHING = Listing()

_gap = msgspec.json.Decoder(Gap).decode
_instrument = msgspec.json.Decoder(Instrument).decode


class Stock:
    """The tables, as this service asks them. Every method raises Busy when ClickHouse does not answer, and Broken."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def there(self, series: Series, history: History, first: int, last: int) -> Spans:
        """Return the places of a series, of the keys from `first` to `last`, whose rows are in the table."""
        answer = await self._warehouse.query(questions.there(series, history), questions.params(series, first, last))
        rows = (line.split(b"\t") for line in answer.splitlines())
        step = history.step_us
        return Spans((int(low) // step, int(high) // step) for low, high in rows)

    async def holes(
        self, market: tuple[str, str], history: History, since: int, symbol: str | None = None
    ) -> list[Hole]:
        """Return where rows are missing between two others, of one symbol or all, since a time (microseconds)."""
        params: dict[str, object] = {"exchange": market[0], "market": market[1], "since": since}
        if history.interval is not None:
            params["interval"] = history.interval
        if symbol is not None:
            params["symbol"] = symbol
        question = questions.holes(history.kind, history, one_symbol=symbol is not None)
        answer = await self._warehouse.query(question, params)
        found = []
        for line in answer.decode().splitlines():
            name, before, before_at, behind, behind_at = line.split("\t")
            series = Series(*market, name, history.kind, history.interval)
            found.append(Hole(series, int(before), int(before_at), int(behind), int(behind_at)))
        return found

    async def symbols(self, market: tuple[str, str], history: History, since: int) -> list[str | None]:
        """Return whose rows are to be looked through one after the other; None: all of the market at once.

        Numbered rows may be millions, and are sorted to be compared: symbol by symbol that fits into memory.
        """
        if history.keyed != "id":
            return [None]
        params = {"exchange": market[0], "market": market[1], "since": since}
        answer = await self._warehouse.query(questions.symbols(history.kind), params)
        return list(answer.decode().splitlines())

    async def log(self, now: int) -> list[Gap]:
        """Return the states of the gaps of the last weeks, as they were last told by their finders and by us."""
        answer = await self._warehouse.query(questions.log_of_gaps(), {"since": now - questions.OPEN_GAPS_SINCE_US})
        return [_gap(line) for line in answer.splitlines()]

    async def listings(self) -> Mapping[tuple[str, str], Listing]:
        """Return what is known of every market's instruments."""
        answer = await self._warehouse.query(questions.instruments())
        by_market: dict[tuple[str, str], list[Instrument]] = {}
        for line in answer.splitlines():
            item = _instrument(line)
            by_market.setdefault((item.exchange, item.market), []).append(item)
        return {market: Listing(items) for market, items in by_market.items()}


class Listings:
    """The instruments of every market, as they are in their table; looked up again when one is not known."""

    def __init__(self, stock: Stock) -> None:
        self.by_market: Mapping[tuple[str, str], Listing] = {}
        self._stock = stock

    async def look(self) -> None:
        """Look the instruments up again. Raises Busy."""
        self.by_market = await self._stock.listings()

    async def of(self, exchange: str, market: str, symbol: str) -> Listing:
        """Return a market's instruments, `symbol` among them if it is known at all."""
        listing = self.by_market.get((exchange, market), NOTHING)
        if symbol not in listing.by_symbol:
            try:
                await self.look()
            except Busy:
                return listing
        return self.by_market.get((exchange, market), NOTHING)


def scan_since(history: History, now: int, days_us: int) -> int:
    """Return from when on a scan looks at rows of a kind: never beyond what is kept or served."""
    kept = retention_us(history.kind, history.interval)
    back = min(days_us, kept or days_us, history.reach_us or days_us)
    return now - back
