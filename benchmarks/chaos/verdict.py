"""Whether what is missing may be missing, and the table that says so."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.chaos.account import Gap, Line
from benchmarks.chaos.deeds import Done
from benchmarks.chaos.plan import COLLECTOR
from tests.pipeline import at_rest

SECOND_US = 1_000_000
LATE_US = 2 * SECOND_US
"""What a collector received in the second before it was killed need not be on RAW; a quiet stream's last sign of life
is another second older."""
_AFTER_US = {"kill": SECOND_US, "pause": 15 * SECOND_US, "full": 60 * SECOND_US}
"""How long after the end of a deed what it costs may begin: a paused connection is found dead, what is spooled and in
memory is full before nats-server takes anything again."""

_CUTS = frozenset({"close", "abort", "expire", "refuse"})

Window = tuple[int, int]
"""From and to, wall clock, microseconds UTC."""


def allowed_gaps(data: Path, done: Sequence[Done]) -> Callable[[str, str, Gap], bool]:
    """Return what says of a gap whether its cause is one of those that may cost something.

    That is: no collector was connected (one was killed, up to a second before that included, or the exchange cut the
    connection), or neither NATS nor the spool had room.
    """
    unconnected = [
        (one.began_us - LATE_US, one.ended_us + _AFTER_US[one.deed.what]) for one in done if one.deed.whom == COLLECTOR
    ]
    full = [(one.began_us, one.ended_us + _AFTER_US["full"]) for one in done if one.deed.what == "full"]
    cuts = _cuts(data)

    def allowed(exchange: str, market: str, gap: Gap) -> bool:
        if gap.gap_type == "disconnect":
            return _begins(gap, [*unconnected, *cuts.get((exchange, market), ())])
        return gap.gap_type == "dropped" and _begins(gap, full)

    return allowed


def _cuts(data: Path) -> dict[tuple[str, str], list[Window]]:
    """Return when the simulator cut connections of each market."""
    found: dict[tuple[str, str], list[Window]] = {}
    for path in (data / "ledger").glob("*.fault-*.parquet"):
        for row in pq.read_table(path).to_pylist():
            if row["fault"] in _CUTS:
                at_us = round(row["timestamp"].timestamp() * SECOND_US)
                window = (at_us - LATE_US, at_us + SECOND_US)
                found.setdefault((row["exchange"], row["market"]), []).append(window)
    return found


def _begins(gap: Gap, windows: Sequence[Window]) -> bool:
    return any(begin <= gap.lost_from_us <= end for begin, end in windows)


def refusals(data: Path, poison: Sequence[bytes]) -> list[str]:
    """Return what is wrong with the dead letters: each poisoned row is one, once, and nothing else is."""
    letters = Counter(base64.b64decode(row["body"]) for row in at_rest(data, "SELECT body FROM tapeline.dead_letters"))
    wrong = [
        f"{count} dead letters of {body[:120]!r}" for body, count in letters.items() if count != 1 or body not in poison
    ]
    # A frame may have been on a connection that was cut before it was read; a record was taken by NATS.
    return wrong + [
        f"{body!r} was not refused" for body in poison if body.startswith(b'{"poison"') and not letters[body]
    ]


def table(lines: Mapping[tuple[str, str, str], Line]) -> list[str]:
    """Return the comparison as lines of Markdown."""
    text = [
        "| market | kind | sent | stored, equal | refilled | early | in gaps | share | missing | more than sent |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    total = Line()
    for (exchange, market, kind), line in lines.items():
        text.append(_row(f"{exchange} {market} | {kind}", line))
        total.sent += line.sent
        total.stored += line.stored
        total.refilled += line.refilled
        total.in_gaps += line.in_gaps
        total.early += line.early
        total.faults += line.faults
        total.more_than_sent += line.more_than_sent
    return [*text, _row("all | all", total)]


def _row(name: str, line: Line) -> str:
    share = line.in_gaps / line.sent if line.sent else 0.0
    numbers = (line.sent, line.stored, line.refilled, line.early, line.in_gaps)
    cells = " | ".join(f"{number:,}" for number in numbers)
    return f"| {name} | {cells} | {share:.4%} | {len(line.faults):,} | {line.more_than_sent:,} |"
