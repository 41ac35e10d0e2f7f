"""What was found beside what is true, in figures and in words."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from benchmarks.windows.drive import SECOND_US, SIZES
from benchmarks.windows.known import Instrument, place_of, possible
from benchmarks.windows.plan import Place, Plan, Window

Record = dict[str, Any]
"""A row of `arbitrage_opportunities`, numbers as text."""

Instruments = Mapping[tuple[str, str, str], Instrument]


class Life(NamedTuple):
    """One opportunity, from its first record to its last."""

    buy: Place
    sell: Place
    opened: Record
    closed: Record | None
    confirmed: bool


@dataclass
class Kind:
    """Windows of one kind: what had to be found in them, and what was."""

    windows: int = 0
    expected: int = 0
    found: int = 0
    missed: int = 0
    too_short: int = 0
    """Opportunities that were opened in them and not confirmed."""


@dataclass
class Verdict:
    """The whole comparison; `wrong` says in words what is not as it must be."""

    kinds: dict[str, Kind] = field(default_factory=lambda: defaultdict(Kind))
    confirmed: int = 0
    baseless: int = 0
    """Confirmed opportunities that no window explains."""
    edges: int = 0
    """Beginnings and ends that lie within one quote of the truth."""
    figures: int = 0
    """Net profits of a size in a record that equal those by the simulator's books."""
    without: int = 0
    """Sizes without figures, since the levels known did not fill them."""
    wrong: list[str] = field(default_factory=list)

    @property
    def windows(self) -> int:
        """How many there were."""
        return sum(kind.windows for kind in self.kinds.values())

    @property
    def precision(self) -> float:
        """Share of the confirmed opportunities that are true."""
        return sum(kind.found for kind in self.kinds.values()) / max(1, self.confirmed)

    @property
    def recall(self) -> float:
        """Share of the true opportunities that were found."""
        return sum(kind.found for kind in self.kinds.values()) / max(
            1, sum(kind.expected for kind in self.kinds.values())
        )


def judge(plan: Plan, start_us: int, instruments: Instruments, records: list[Record]) -> Verdict:
    """Compare the records of a run with its plan and with the simulator's books."""
    verdict = Verdict()
    at = {place_of(one): one for one in instruments.values()}
    lives = _lives(instruments, records)
    waiting = {life.opened["opportunity_id"]: life for life in lives}
    verdict.confirmed = sum(life.confirmed for life in lives)
    for window in plan.windows:
        _window(verdict, window, start_us, at, waiting)
    for life in waiting.values():
        if life.confirmed:
            verdict.baseless += 1
            verdict.wrong.append(f"{_name(life)}: confirmed, and no window explains it")
    for record in records:
        _figures(verdict, instruments, record)
    return verdict


def _lives(instruments: Instruments, records: list[Record]) -> list[Life]:
    by_id: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        by_id[record["opportunity_id"]].setdefault(record["event"], record)
    found = []
    for events in by_id.values():
        opened = events["open"]
        buy, sell = (place_of(instruments[_side(opened, side)]) for side in ("", "sell_"))
        found.append(Life(buy, sell, opened, events.get("closed"), "confirmed" in events))
    return found


def _side(record: Record, prefix: str) -> tuple[str, str, str]:
    return record[f"{prefix}exchange"], record[f"{prefix}market"], record[f"{prefix}symbol"]


def _window(
    verdict: Verdict, window: Window, start_us: int, at: Mapping[Place, Instrument], waiting: dict[str, Life]
) -> None:
    """Take the opportunities that belong to a window out of `waiting`."""
    kind = verdict.kinds[window.kind]
    kind.windows += 1
    kind.expected += len(window.expected)
    if window.kind == "far coin":
        return
    begin_us = start_us + window.start_s * SECOND_US
    end_us = begin_us + window.length_s * SECOND_US
    open_pairs = set(window.expected)
    try:
        edges = {place: (at[place].first_at(begin_us), at[place].first_at(end_us)) for place in window.places}
    except LookupError as error:
        kind.missed += len(window.expected)
        verdict.wrong.append(f"{window.kind} window at {window.start_s} s: {error}")
        return
    for ident, life in list(waiting.items()):
        off = next((place for place in window.places if place in (life.buy, life.sell)), None)
        if off is None or life.buy.asset != off.asset:
            continue
        begins, ends = edges[off]
        opened = int(life.opened["opened_sequence"])
        if not begins[0] <= opened <= ends[1]:
            continue
        if not life.confirmed:
            kind.too_short += 1
            del waiting[ident]
            continue
        if (life.buy, life.sell) not in open_pairs:
            continue  # nothing explains it
        open_pairs.remove((life.buy, life.sell))
        del waiting[ident]
        kind.found += 1
        _edges(verdict, life, begins, ends)
    kind.missed += len(open_pairs)
    verdict.wrong += [
        f"{window.kind} window at {window.start_s} s: {buy} to {sell} was not found" for buy, sell in open_pairs
    ]


def _edges(verdict: Verdict, life: Life, begins: tuple[int, int], ends: tuple[int, int]) -> None:
    """Compare beginning and end, as places in the stream, with the first message and quote that tell of them."""
    if life.closed is None:
        verdict.wrong.append(f"{_name(life)}: was never closed")
        return
    for what, sequence, (first, quote) in (
        ("opened", int(life.opened["opened_sequence"]), begins),
        ("closed", int(life.closed["input_sequence"]), ends),
    ):
        if first <= sequence <= quote:
            verdict.edges += 1
        else:
            verdict.wrong.append(
                f"{_name(life)}: {what} with message {sequence}; the truth is told by {first} to {quote}"
            )


def _figures(verdict: Verdict, instruments: Instruments, record: Record) -> None:
    """Compare the net profit of each size with what the simulator's books give for the same moment."""
    buy, sell = (instruments[_side(record, side)] for side in ("", "sell_"))
    # What closes an opportunity is no part of the figures, which show how it stood last.
    sequence = int(record["input_sequence"]) - (record["event"] == "closed")
    said = {Fraction(row[0]): Fraction(row[6]) for row in record["sizes"]}
    expected = list(possible(buy, sell, sequence))
    if any(said.items() <= found.items() for found in expected):
        verdict.figures += len(said)
        verdict.without += len(SIZES) - len(said)
    else:
        shown = [{float(size): float(net) for size, net in found.items()} for found in (said, *expected[:1])]
        verdict.wrong.append(
            f"{record['opportunity_id']} {record['event']}: said, and by the books: {json.dumps(shown)}"
        )


def _name(life: Life) -> str:
    return f"{life.opened['opportunity_id']}"


def table(verdict: Verdict) -> list[str]:
    """Return the verdict as Markdown."""
    lines = [
        "| windows | number | opportunities to be found | found | missed | opened, too short |",
        "|---|---|---|---|---|---|",
    ]
    for name, kind in verdict.kinds.items():
        lines.append(f"| {name} | {kind.windows} | {kind.expected} | {kind.found} | {kind.missed} | {kind.too_short} |")
    total = Counter[str]()
    for kind in verdict.kinds.values():
        total.update({name: getattr(kind, name) for name in ("windows", "expected", "found", "missed", "too_short")})
    lines.append(
        f"| all | {' | '.join(str(total[name]) for name in ('windows', 'expected', 'found', 'missed', 'too_short'))} |"
    )
    lines += [
        "",
        f"Precision {verdict.precision:.4f}, recall {verdict.recall:.4f}; {verdict.baseless} confirmed without cause. "
        f"Within one quote of the truth: {verdict.edges} beginnings and ends. Equal to what the simulator's "
        f"books give: {verdict.figures} net profits; {verdict.without} sizes were not filled by the levels known.",
    ]
    return lines
