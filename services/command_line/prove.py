"""`tapeline prove`: for every stretch of time, whether all is there, what is missing, or that nothing was said."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from schemas import records, subjects, tables
from schemas.errors import BadRecord, Broken
from services.command_line.proof import MINUTE_US, Known, Run, Stretch, Window, by_connection, by_grid, by_number
from services.command_line.sql import query
from services.shared.exchanges.declaration import Numbering
from services.shared.exchanges.history import INTERVAL_US
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.clock import now_us

LATE_US = 60_000_000
"""How long after its end a candle, or what a minute brought, may take to its table before it counts as missing."""

MOST_SHOWN = 200
_TABLE_OF = {table.record.KIND: table for table in tables.TABLES}
_DAYS = re.compile(r"toIntervalDay\((\d+)\)")
DAY_US = 1_440 * MINUTE_US
_NUMBERED = (Numbering.CONTIGUOUS, Numbering.SPANS)
_SILENT_KINDS = ("quote", "book_change", "orderbook", "ticker", "candle_update", "index_price", "liquidation")
"""Kinds proved by connections; those that are polled have no stretch between two polls that could be proved."""

DEFAULT_KINDS = ("trade", "candle", "quote", "book_change")


class Proved(NamedTuple):
    """What was proved of one series."""

    exchange: str
    market: str
    symbol: str
    kind: str
    interval: str | None
    stretches: list[Stretch]


def instant(text: str) -> int:
    """Return a time given as `2026-11-20`, `2026-11-20T12:00[:00[.5]][Z|+01:00]` (UTC where it says nothing), in us.

    Raises BadRecord naming what it is.
    """
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadRecord(f"{text!r} is not a time; allowed are such as 2026-11-20 and 2026-11-20T12:30:00Z") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    return (found - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


class Prover:
    """Proves series of one symbol over one window, from the tables of a data directory."""

    def __init__(self, data_dir: Path, symbol: str, first: int, last: int) -> None:
        if last <= first:
            raise BadRecord("the window ends before it begins")
        self._data_dir = data_dir
        self._symbol = symbol
        self._first, self._last = first, last

    def prove(self, exchange: str | None, kinds: tuple[str, ...]) -> list[Proved]:
        """Prove every series of these kinds. Raises Broken when the symbol was never recorded, BadRecord."""
        unknown = [kind for kind in kinds if kind not in ("trade", "candle", *_SILENT_KINDS)]
        if unknown:
            allowed = ", ".join(("trade", "candle", *_SILENT_KINDS))
            raise BadRecord(f"{unknown[0]!r} cannot be proved; allowed are {allowed}")
        where = f"symbol = {_text(self._symbol)}" + (f" AND exchange = {_text(exchange)}" if exchange else "")
        markets = self._rows(f"SELECT DISTINCT exchange, market FROM tapeline.instruments WHERE {where} ORDER BY ALL")
        if not markets:
            raise Broken(f"{self._symbol} was never recorded" + (f" on {exchange}" if exchange else ""))
        found = []
        for row in markets:
            market = (row["exchange"], row["market"])
            for kind in kinds:
                if kind == "candle":
                    intervals = self._rows(
                        f"SELECT DISTINCT interval FROM tapeline.candles WHERE {self._of(market)} ORDER BY ALL"
                    )
                    names = [item["interval"] for item in intervals if item["interval"] in INTERVAL_US]
                    for name in sorted(names, key=INTERVAL_US.__getitem__):
                        found.append(Proved(*market, self._symbol, kind, name, self._candles(market, name)))
                elif kind == "trade" and _numbered(market):
                    found.append(Proved(*market, self._symbol, kind, None, self._trades(market)))
                else:
                    found.append(Proved(*market, self._symbol, kind, None, self._others(market, kind)))
        return found

    def _trades(self, market: tuple[str, str]) -> list[Stretch]:
        spans = MARKETS[market].channels["trades"].numbering is Numbering.SPANS
        low = "sequence - ifNull(trade_count, 1) + 1" if spans else "sequence"
        of = f"{self._of(market)} AND sequence IS NOT NULL"
        inside = f"timestamp >= {_time(self._first)} AND timestamp < {_time(self._last)}"
        rows = f"SELECT {low} AS low, sequence AS high, toUnixTimestamp64Micro(timestamp) AS at FROM tapeline.trades"
        near = (
            f"SELECT * FROM ({rows} WHERE {of} AND {inside}) UNION ALL SELECT * FROM "
            f"({rows} WHERE {of} AND timestamp < {_time(self._first)} ORDER BY high DESC LIMIT 1) UNION ALL "
            f"SELECT * FROM ({rows} WHERE {of} AND timestamp >= {_time(self._last)} ORDER BY high LIMIT 1)"
        )
        before = "OVER (ORDER BY low, high ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        runs = self._rows(
            "SELECT min(low) AS a, max(high) AS b, argMin(at, low) AS c, argMax(at, high) AS d, count() AS e FROM "
            "(SELECT *, sum(fresh) OVER (ORDER BY low, high) AS run FROM ("
            f"SELECT *, ifNull(low > 1 + max(high) {before}, 1) AS fresh FROM ({near}))) GROUP BY run ORDER BY a"
        )
        gaps, up = self._gaps(market, "trade", None), self._up(market)
        window = self._counted(market, "trade", self._window(market, "trade", "timestamp"))
        return by_number([Run(*row.values()) for row in runs], gaps, up, window)

    def _candles(self, market: tuple[str, str], interval: str) -> list[Stretch]:
        of = f"{self._of(market)} AND interval = {_text(interval)}"
        inside = f"timestamp >= {_time(self._first)} AND timestamp < {_time(self._last)}"
        micros = "toUnixTimestamp64Micro(timestamp)"
        times = self._rows(f"SELECT DISTINCT {micros} AS at FROM tapeline.candles WHERE {of} AND {inside}")
        oldest = self._rows(f"SELECT min({micros}) AS at FROM tapeline.candles WHERE {of} HAVING count() > 0")
        step = INTERVAL_US[interval]
        return by_grid(
            [row["at"] for row in times],
            step,
            step,
            self._gaps(market, "candle", interval),
            now_us() - LATE_US,
            oldest[0]["at"] if oldest else None,
            Window(self._first, self._last, frozenset()),
        )

    def _others(self, market: tuple[str, str], kind: str) -> list[Stretch]:
        if not _streamed(market, kind):
            return [Stretch(self._first, self._last, "unproven", "no stream tells it")]
        window = self._counted(market, kind, self._window(market, kind, "received_at"))
        return by_connection(self._gaps(market, kind, None), self._up(market), window)

    def _counted(self, market: tuple[str, str], kind: str, window: Window) -> Window:
        """Return a window with the counts of what was made beside what is stored, by minute of our receive clock.

        Of the minutes that are kept still. Rows have had time to come a while after a minute; whether it was told what
        was made in it says a count of any kind of the instrument, since all of a minute are told at once.
        """
        kept = _DAYS.search(_TABLE_OF[kind].ttl or "")
        oldest = self._first if kept is None else max(self._first, now_us() - int(kept[1]) * DAY_US + MINUTE_US)
        told = self._rows(
            f"SELECT toUnixTimestamp64Micro(max(timestamp)) AS at FROM tapeline.coverage_counts WHERE "
            f"{self._of(market)} AND timestamp >= {_time(self._first - DAY_US)}"
        )
        uncounted = min(told[0]["at"] // MINUTE_US + 1, (now_us() - LATE_US) // MINUTE_US)
        until = min(self._last, uncounted * MINUTE_US)
        minutes = f">= {_time(oldest - oldest % MINUTE_US)} AND {{0}} < {_time(-(-until // MINUTE_US) * MINUTE_US)}"
        made = (
            f"SELECT toUnixTimestamp64Micro(timestamp) AS at, sum(records) AS made, 0 AS stored "
            f"FROM tapeline.coverage_counts WHERE {self._of(market)} AND kind = {_text(kind)} AND timestamp "
            f"{minutes.format('timestamp')} GROUP BY at"
        )
        stored = (
            f"SELECT intDiv(toUnixTimestamp64Micro(received_at), {MINUTE_US}) * {MINUTE_US} AS at, 0 AS made, "
            f"count() AS stored FROM tapeline.{_TABLE_OF[kind].name} WHERE {self._of(market)} AND received_at "
            f"{minutes.format('received_at')} GROUP BY at"
        )
        rows = self._rows(
            f"SELECT intDiv(at, {MINUTE_US}) AS minute, sum(made) - sum(stored) AS short FROM ({made} UNION ALL "
            f"{stored}) GROUP BY minute HAVING short != 0"
        )
        return window._replace(short={row["minute"]: row["short"] for row in rows}, uncounted_from=uncounted)

    def _window(self, market: tuple[str, str], kind: str, clock: str) -> Window:
        """Return the window with the minutes that have rows, by the column `clock`."""
        minutes = self._rows(
            f"SELECT DISTINCT intDiv(toUnixTimestamp64Micro({clock}), {MINUTE_US}) AS minute FROM "
            f"tapeline.{_TABLE_OF[kind].name} WHERE {self._of(market)} AND {clock} >= {_time(self._first)} "
            f"AND {clock} < {_time(self._last)}"
        )
        return Window(self._first, self._last, frozenset(row["minute"] for row in minutes))

    def _gaps(self, market: tuple[str, str], kind: str, interval: str | None) -> list[Known]:
        """Return the gaps that are not filled, on the exchange's clock as far as that is known.

        What is missing of a stream about the whole market is missing of every instrument.
        """
        symbols = f"symbol IN ({_text(self._symbol)}, {_text(subjects.ALL)})"
        name = "" if interval is None else f" AND interval = {_text(interval)}"
        return [
            Known(**row)
            for row in self._rows(
                "SELECT status, first_missing, last_missing, "
                "toUnixTimestamp64Micro(coalesce(after_timestamp, lost_from, timestamp)) AS first, "
                "toUnixTimestamp64Micro(coalesce(before_timestamp, lost_to, now64(6, 'UTC'))) AS last "
                f"FROM tapeline.gap_detection_log WHERE {_market(market)} AND {symbols} AND kind = {_text(kind)}{name} "
                "AND status != 'filled'"
            )
        ]

    def _up(self, market: tuple[str, str]) -> list[tuple[int, int]]:
        """Return when connections of a market were up: from the first subscription to the end, or to now."""
        rows = self._rows(
            "SELECT toUnixTimestamp64Micro(minIf(timestamp, event = 'subscribed')) AS first, "
            "toUnixTimestamp64Micro(maxIf(timestamp, event = 'closed')) AS last, "
            "countIf(event = 'subscribed') AS begun, countIf(event = 'closed') AS ended FROM tapeline.connections "
            f"WHERE {_market(market)} GROUP BY connection HAVING begun > 0"
        )
        return [(row["first"], row["last"] if row["ended"] else now_us()) for row in rows]

    def _of(self, market: tuple[str, str]) -> str:
        return f"{_market(market)} AND symbol = {_text(self._symbol)}"

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        answer = query(
            self._data_dir, f"{statement} SETTINGS output_format_json_quote_64bit_integers = 0", "JSONEachRow"
        )
        return [orjson.loads(line) for line in answer.splitlines()]


def _numbered(market: tuple[str, str]) -> bool:
    declared = MARKETS.get(market)
    return declared is not None and declared.channels["trades"].numbering in _NUMBERED


def _streamed(market: tuple[str, str], kind: str) -> bool:
    """Whether a kind comes by itself: of what is asked for, no time between two answers could be proved."""
    declared = MARKETS.get(market)
    if declared is None:
        return False
    made_of = records.BookChange.KIND if kind == records.OrderBook.KIND else kind
    return any(made_of in channel.kinds for channel in declared.channels.values())


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _market(market: tuple[str, str]) -> str:
    return f"exchange = {_text(market[0])} AND market = {_text(market[1])}"


def _time(micros: int) -> str:
    return f"fromUnixTimestamp64Micro({micros}, 'UTC')"


def as_json(found: list[Proved]) -> bytes:
    """Return the proof as JSON, a series and its stretches each, times in microseconds UTC."""
    return orjson.dumps(
        [{**one._asdict(), "stretches": [stretch._asdict() for stretch in one.stretches]} for one in found],
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def show(found: list[Proved], console: Console, iso: Callable[[int], str] | None = None) -> None:
    """Print the proof, one line a stretch."""
    say = iso or _iso
    for one in found:
        name = f"{one.exchange} {one.market} {one.symbol} {one.kind}" + (f" {one.interval}" if one.interval else "")
        table = Table(title=name, title_justify="left")
        for column in ("from", "to", "verdict", "detail"):
            table.add_column(column, overflow="fold")
        for stretch in one.stretches[:MOST_SHOWN]:
            table.add_row(say(stretch.first), say(stretch.last), stretch.verdict, stretch.detail)
        console.print(table)
        if len(one.stretches) > MOST_SHOWN:
            console.print(f"... and {len(one.stretches) - MOST_SHOWN} stretches more: see --json.")


def _iso(micros: int) -> str:
    found = datetime.datetime.fromtimestamp(micros // 1_000_000, datetime.UTC)
    return f"{found:%Y-%m-%d %H:%M:%S}.{micros % 1_000_000:06d}"


def missing(found: list[Proved]) -> bool:
    """Whether anything is missing."""
    return any(stretch.verdict == "missing" for one in found for stretch in one.stretches)
