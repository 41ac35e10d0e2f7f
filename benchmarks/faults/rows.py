"""What the comparison of bounds reads: stored rows and gaps of the normaliser's own, and the ledger's numbered rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks.chaos.account import Instrument
from services.shared.exchanges.declaration import Numbering
from services.shared.exchanges.registry import MARKETS
from tests.ledger import TABLE_OF
from tests.pipeline import at_rest

UNQUOTED = "SETTINGS output_format_json_quote_64bit_integers = 0"

Series = tuple[Instrument, str]
"""Whose rows, and of which kind."""


class Numbered(NamedTuple):
    """A stored row of a kind whose numbers have no holes: what it follows, its own last number, its time (us UTC)."""

    before: int
    last: int
    at_us: int


class Told(NamedTuple):
    """A numbered event as the ledger has it, in the order in which it was handed out on its connection."""

    connection: int
    before: int
    last: int
    fault: str | None


class Bounds(NamedTuple):
    """A gap as the normaliser left it. Ids are inclusive, times exclusive, microseconds UTC."""

    instrument: Instrument
    kind: str
    interval: str | None
    gap_type: str
    first: int | None
    last: int | None
    after_us: int | None
    before_us: int | None
    lost_from_us: int

    def __str__(self) -> str:
        """Return it in words."""
        name = " ".join((*self.instrument, self.kind, self.interval or "")).strip()
        return f"{name}: {self.gap_type} gap of {self.first} to {self.last} ({self.after_us} to {self.before_us})"


def gaps(data: Path) -> list[Bounds]:
    """Return each gap's last state of the normaliser's own: what a refill said afterwards changes no bounds."""
    rows = at_rest(
        data,
        "SELECT exchange, market, symbol, kind, interval, gap_type, first_missing, last_missing, "
        "toUnixTimestamp64Micro(after_timestamp) AS after_us, toUnixTimestamp64Micro(before_timestamp) AS before_us, "
        "toUnixTimestamp64Micro(lost_from) AS lost_from_us FROM tapeline.gap_events WHERE source = 'live' "
        f"ORDER BY stream_sequence DESC LIMIT 1 BY gap_id {UNQUOTED}",
    )
    return [
        Bounds(
            (row["exchange"], row["market"], row["symbol"]),
            row["kind"],
            row["interval"],
            row["gap_type"],
            row["first_missing"],
            row["last_missing"],
            row["after_us"],
            row["before_us"],
            row["lost_from_us"],
        )
        for row in rows
    ]


def numbered(data: Path) -> dict[Series, list[Numbered]]:
    """Return what was heard live of the kinds whose numbers have no holes: book changes, and most exchanges' trades."""
    found: dict[Series, list[Numbered]] = defaultdict(list)
    for kind, columns in (("book_change", _CHANGES), ("trade", _TRADES)):
        for row in at_rest(
            data,
            f"SELECT exchange, market, symbol, {columns}, toUnixTimestamp64Micro(timestamp) AS at_us "
            f"FROM tapeline.{TABLE_OF[kind]} WHERE source = 'live' {UNQUOTED}",
        ):
            span = _span(kind, row)
            if span is not None:
                series = (row["exchange"], row["market"], row["symbol"]), kind
                found[series].append(Numbered(*span, row["at_us"]))
    return found


def moments(data: Path, kind: str, sent: bool) -> dict[tuple[Instrument, str | None], set[int]]:
    """Return when the stored live rows of a kind were said: by their time, or by when they were sent where known."""
    interval = "interval" if kind.startswith("candle") else "NULL AS interval"
    time = "ifNull(sent_at, timestamp)" if sent else "timestamp"
    estimated = " AND rate_kind = 'estimated'" if kind == "funding_rate" else ""
    found: dict[tuple[Instrument, str | None], set[int]] = defaultdict(set)
    for row in at_rest(
        data,
        f"SELECT exchange, market, symbol, {interval}, toUnixTimestamp64Micro({time}) AS at_us "
        f"FROM tapeline.{TABLE_OF[kind]} WHERE source = 'live'{estimated} {UNQUOTED}",
    ):
        found[(row["exchange"], row["market"], row["symbol"]), row["interval"]].add(row["at_us"])
    return found


def told(data: Path) -> dict[Series, list[Told]]:
    """Return the ledger's rows of the kinds whose numbers have no holes."""
    found: dict[Series, list[Told]] = defaultdict(list)
    for path in sorted((data / "ledger").glob("*.parquet")):
        exchange, market, kind = path.name.split("-")[0].split(".")
        if kind in ("book_change", "trade"):
            for row in _ledger(path, kind):
                span = _span(kind, {"exchange": exchange, "market": market, **row})
                if span is not None:
                    series = (exchange, market, row["symbol"]), kind
                    found[series].append(Told(row["connection"], *span, row["fault"]))
    return found


def swapped(data: Path) -> set[Series]:
    """Return the series of which some event came behind one that was said later, by the ledger."""
    found: set[Series] = set()
    for path in (data / "ledger").glob("*.parquet"):
        exchange, market, kind = path.name.split("-")[0].split(".")
        if kind not in ("fault", "connection"):
            table = pq.read_table(path, columns=["symbol", "fault"], filters=[("fault", "=", "swap")])
            found.update(((exchange, market, symbol), kind) for symbol in table["symbol"].to_pylist())
    return found


def _ledger(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    names = _CHANGES if kind == "book_change" else _TRADES
    yield from pq.read_table(path, columns=["symbol", "connection", "fault", *names.split(", ")]).to_pylist()


_CHANGES = "first_sequence, last_sequence, previous_sequence"
_TRADES = "sequence, first_trade_id, trade_count"


def _span(kind: str, row: dict[str, Any]) -> tuple[int, int] | None:
    """Return the number that a row follows and its own last one; None where its market's numbers may have holes."""
    if kind == "book_change":
        previous = row["previous_sequence"]
        return row["first_sequence"] - 1 if previous is None else previous, row["last_sequence"]
    number = row["sequence"]
    numbering = NUMBERING[row["exchange"], row["market"]]
    if number is None or numbering not in (Numbering.CONTIGUOUS, Numbering.SPANS):
        return None
    if numbering is Numbering.CONTIGUOUS:
        return number - 1, number
    first = row["first_trade_id"]
    return (number - (row["trade_count"] or 1) if first is None else first - 1), number


def _numbering() -> dict[tuple[str, str], Numbering]:
    return {
        key: channel.numbering
        for key, market in MARKETS.items()
        for channel in market.channels.values()
        if channel.kinds == ("trade",)
    }


NUMBERING = _numbering()
"""What trades' ids say, by exchange and market."""
