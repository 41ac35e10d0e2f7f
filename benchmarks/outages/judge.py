"""What the tables hold after an outage, beside the market: rows, gaps on record, and the calls it took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.outages import truth
from benchmarks.outages.run import MINUTE_US, Outage, settings_of
from services.shared.exchanges.known_history import HISTORIES, history_of
from tests.pipeline import at_rest

MORE_CALLS = 1.1
"""So many times the fewest calls may be made."""
SETTINGS = "SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 1"
_MICROS = "toUnixTimestamp64Micro(timestamp) AS timestamp"
_LOST_FOR_GOOD = ("book_change", "quote")
_AT_ONCE = ("trade", "candle")

Series = tuple[str, str, str, str, str | None]
"""Exchange, market, symbol, kind, interval."""


@dataclass
class Verdict:
    """What became of an outage."""

    counts: dict[Series, truth.Count]
    gaps: int = 0
    calls: int = 0
    fewest: int = 0
    wrong: list[str] = field(default_factory=list)


def judge(outage: Outage) -> Verdict:
    """Compare everything; `wrong` says in words what is not as it must be."""
    counts = compare(outage.data, settings_of(outage.exchanges), outage.cut_us, outage.back_us)
    verdict = Verdict(counts)
    for series, count in counts.items():
        name = " ".join(part or "-" for part in series)
        verdict.wrong += [f"{name}: lost {text}" for text in count.lost]
        verdict.wrong += [f"{name}: {text}" for text in count.wrong]
        if count.doubled:
            verdict.wrong.append(f"{name}: {count.doubled} rows stored twice")
        if series[3] == "trade" and not (count.live and count.refilled):
            verdict.wrong.append(f"{name}: {count.live} live rows, {count.refilled} refilled ones")
    _judge_gaps(outage, verdict)
    verdict.calls, verdict.fewest = calls_made(outage.asked, counts), fewest_calls(counts)
    if verdict.calls > verdict.fewest * MORE_CALLS:
        verdict.wrong.append(f"{verdict.calls} calls were made, {verdict.fewest} would have done")
    if outage.over_the_limit:
        verdict.wrong.append(f"the exchanges refused {outage.over_the_limit} calls as too many")
    return verdict


def compare(data: Path, settings: dict[str, Any], from_us: int, until_us: int) -> dict[Series, truth.Count]:
    """Compare the trades and candles of every instrument whose past the exchange serves with the market's own."""
    known = truth.instruments(data, **settings)
    rows: dict[Series, list[dict[str, Any]]] = defaultdict(list)
    for row in at_rest(data, f"SELECT * REPLACE ({_MICROS}) FROM tapeline.trades ORDER BY sequence {SETTINGS}"):
        rows[row["exchange"], row["market"], row["symbol"], "trade", None].append(row)
    for row in at_rest(data, f"SELECT * REPLACE ({_MICROS}) FROM tapeline.candles ORDER BY timestamp {SETTINGS}"):
        rows[row["exchange"], row["market"], row["symbol"], "candle", row["interval"]].append(row)
    found: dict[Series, truth.Count] = {}
    for (exchange, market, symbol), instrument in known.items():
        for history in HISTORIES.get((exchange, market), {}).values():
            series = (exchange, market, symbol, history.kind, history.interval)
            if history.kind == "trade":
                found[series] = truth.trades(instrument, rows[series])
            elif history.kind == "candle" and history.interval is not None:
                found[series] = truth.candles(instrument, history.interval, rows[series], from_us, until_us)
    return found


def calls_made(asked: Counter[tuple[str, str, str]], series: Iterable[Series]) -> int:
    """Return how many calls were made to the endpoints that serve the past of these series."""
    paths = set()
    for exchange, market, _, kind, interval in series:
        history = history_of(exchange, market, kind, interval)
        if history is not None:
            paths.add((exchange, market, history.path("\0", 0, 0, 1).partition("?")[0].partition("\0")[0]))
    return sum(
        number
        for (exchange, market, path), number in asked.items()
        if any((exchange, market) == one[:2] and path.startswith(one[2]) for one in paths)
    )


def fewest_calls(counts: Mapping[Series, truth.Count]) -> int:
    """Return the fewest calls that bring what was refilled, a run of rows for each series."""
    fewest = 0
    for (exchange, market, _, kind, interval), count in counts.items():
        history = history_of(exchange, market, kind, interval)
        assert history is not None
        fewest += -(-count.refilled // history.most)
    return fewest


def _judge_gaps(outage: Outage, verdict: Verdict) -> None:
    """One gap on record for each numbered series, exact to the id, filled; what has no history is lost for good."""
    gaps = at_rest(outage.data, f"SELECT * FROM tapeline.gap_detection_log {SETTINGS}")
    verdict.gaps = len(gaps)
    refilled = {
        (row["exchange"], row["market"], row["symbol"]): row
        for row in at_rest(
            outage.data,
            "SELECT exchange, market, symbol, minIf(sequence, source = 'backfill') AS first, "
            "maxIf(sequence, source = 'backfill') AS last FROM tapeline.trades WHERE sequence IS NOT NULL "
            f"GROUP BY ALL {SETTINGS}",
        )
    }
    of_trades = defaultdict(list)
    for gap in gaps:
        name = f"gap {gap['gap_id']} of {gap['exchange']} {gap['symbol']} {gap['kind']} {gap['interval'] or ''}"
        served = history_of(gap["exchange"], gap["market"], gap["kind"], gap["interval"]) is not None
        # Statistics are given minutes to come of themselves: their gaps may be open still.
        if served and gap["status"] != "filled" and (gap["kind"] in _AT_ONCE or gap["status"] != "open"):
            verdict.wrong.append(f"{name} is {gap['status']}: {gap['evidence']}")
        if served and gap["priority"] != "urgent":
            verdict.wrong.append(f"{name} ended just now and its priority is {gap['priority']}")
        if gap["kind"] in _LOST_FOR_GOOD and gap["status"] != "unavailable":
            verdict.wrong.append(f"{name} is {gap['status']}, though nobody serves it")
        if gap["kind"] == "trade" and served and gap["records_filled"]:
            of_trades[gap["exchange"], gap["market"], gap["symbol"]].append(gap)
    for series in verdict.counts:
        if series[3] != "trade":
            continue
        found, row = of_trades[series[:3]], refilled.get(series[:3], {})
        bounds = [(gap["first_missing"], gap["last_missing"]) for gap in found]
        if bounds != [(row.get("first"), row.get("last"))]:
            verdict.wrong.append(f"{series[:3]}: gaps of {bounds} were filled with {row}")
        for gap in found:
            spanned = _micros(gap["before_timestamp"]) - _micros(gap["after_timestamp"])
            if spanned < (outage.minutes - 1) * MINUTE_US:
                verdict.wrong.append(f"{series[:3]}: the gap of {outage.minutes} min spans {spanned / 1e6:.0f} s")


def _micros(text: str | None) -> int:
    """Return a table's time in microseconds; 0 where there is none."""
    if text is None:
        return 0
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)
