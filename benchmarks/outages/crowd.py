"""Two hundred symbols with gaps of all three priorities at once, a real collector's budget, and a SIGKILL midway.

A first run lies in the past; the second refills what lies between and then goes on, while rows of three stretches are
deleted behind its back. What is urgent is set to minutes, so that stretches of the last half hour have all priorities.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.outages import truth
from benchmarks.outages.judge import SETTINGS, Series, calls_made, compare
from benchmarks.outages.run import MARKETS, MINUTE_US, SECOND_US, asked, simulator_status
from services.shared.exchanges.known_history import history_of
from tests.pipeline import Pipeline, at_rest, run_pipeline, until

EXCHANGE = "binance"
BACK_MINUTES = 28
BEFORE_S = 15
URGENT_MINUTES, RECENT_MINUTES = 7, 16
STRETCHES = {"historical": (25, 19), "recent": (14, 9), "urgent": (5, 2)}
"""Which rows are deleted: so many minutes back, from and to."""
RANKS = {"urgent": 0, "recent": 1, "historical": 2}
SLACK_US = 5 * SECOND_US
"""So long after a gap was found something less urgent may still be asked for: its table is looked up first."""
IN_FLIGHT = 2
"""Calls that whoever is killed may have made for nothing: one, and one that was granted."""
PATIENCE_S = 1_800.0
CALM_LOOKS = 6
"""So many looks in a row find nothing open when all is done: a scan may still be finding."""


@dataclass
class Outcome:
    """What became of it."""

    symbols: int = 0
    deleted: dict[Series, dict[str, list[int]]] = field(default_factory=dict)
    """Keys of the rows deleted, by series and stretch."""
    calls: int = 0
    fewest: int = 0
    over_the_limit: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    """Gaps filled, by priority."""
    last_s: dict[str, float] = field(default_factory=dict)
    """When the last gap of a priority was asked for, seconds after the deletion."""
    counts: dict[Series, truth.Count] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Crowd:
    """The run, in a folder of its own."""

    def __init__(self, folder: Path, symbols: int, events_per_s: float) -> None:
        self.data = folder / "crowd"
        self._assets = symbols // len(MARKETS)
        self._events_per_s = events_per_s
        self._began_us = 0
        self._deleted_us = 0
        self.outcome = Outcome(symbols=symbols)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the simulator, but for when a run begins."""
        return {
            "exchanges": (EXCHANGE,),
            "markets": MARKETS,
            "symbols": (str(self._assets),),
            "events_per_s": self._events_per_s,
        }

    def play(self) -> Outcome:
        """Run and judge. Raises AssertionError when it does not come to its end."""
        prefix = "TAPELINE_EXCHANGE_SIMULATOR_"
        environment = {
            f"{prefix}MARKETS": ",".join(MARKETS),
            f"{prefix}EVENTS_PER_S": str(self._events_per_s),
            f"{prefix}LEDGER": "false",
            "TAPELINE_GAP_BACKFILL_URGENT_H": str(URGENT_MINUTES / 60),
            "TAPELINE_GAP_BACKFILL_RECENT_H": str(RECENT_MINUTES / 60),
        }
        arguments = ("--simulate", "--exchanges", EXCHANGE, "--symbols", str(self._assets))
        start = time.time_ns() // 1_000 - BACK_MINUTES * MINUTE_US
        past = {f"{prefix}START_US": str(start), f"{prefix}DURATION_S": str(BEFORE_S)}
        with run_pipeline(self.data, *arguments, **environment, **past) as pipeline:
            pipeline.addresses()
            # Not `--until-drained`: of so many symbols some poll is always on its way.
            until(lambda: (simulator_status(self.data) or {"finished": False})["finished"], "the past is sent")
            assert pipeline.interrupt() in (0, 4), pipeline.log()[-6_000:]
        self._began_us = time.time_ns() // 1_000
        with run_pipeline(self.data, *arguments, **environment) as pipeline:
            pipeline.addresses()
            self._until(pipeline, 0, "what lies between the runs is refilled")
            before = self._asked(pipeline)
            self._delete(pipeline)
            pipeline.kill("gap-backfill")
            due = sum(len(stretches) for stretches in self.outcome.deleted.values())
            self._until(pipeline, due // 3, "a third is filled", whole=False)
            pipeline.kill("gap-backfill")
            self._until(pipeline, due, "everything is filled")
            self.outcome.calls = calls_made(self._asked(pipeline) - before, list(self.outcome.deleted))
            assert pipeline.interrupt() in (0, 4), pipeline.log()[-6_000:]
        self._judge()
        return self.outcome

    def _until(self, pipeline: Pipeline, filled: int, what: str, *, whole: bool = True) -> None:
        """Wait until so many gaps that were found in the tables are filled; `whole`: and none is being filled."""
        deadline, calm = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < deadline:
            status = pipeline.status("gap-backfill")
            [row] = pipeline.sql(
                "SELECT toUInt32(countIf(status IN ('open', 'filling'))) AS open, toUInt32(countIf(status = 'filled' "
                f"AND detection_time >= fromUnixTimestamp64Micro({self._deleted_us}) "
                "AND gap_type IN ('missing', 'downtime'))) AS found, toUInt32(count()) AS gaps "
                "FROM tapeline.gap_detection_log WHERE kind IN ('trade', 'candle')"
            )
            settled = status is not None and status["ready"] and not row["open"] and row["gaps"]
            calm = calm + 1 if settled or not whole else 0
            if row["found"] >= filled and (calm >= CALM_LOOKS or not whole):
                return
            time.sleep(0.5)
        raise AssertionError(f"in {PATIENCE_S:.0f} s this did not happen: {what}:\n{pipeline.log()[-6_000:]}")

    def _asked(self, pipeline: Pipeline) -> Counter[tuple[str, str, str]]:
        status = simulator_status(pipeline.data_dir)
        assert status is not None, "the simulator does not answer"
        self.outcome.over_the_limit = sum(market["over_the_limit"] for market in status["markets"])
        return asked(status)

    def _delete(self, pipeline: Pipeline) -> None:
        """Delete the rows of each stretch, of every symbol, and remember which they were."""
        now = time.time_ns() // 1_000 // MINUTE_US * MINUTE_US
        found: dict[Series, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for stretch, (first, last) in STRETCHES.items():
            where = (
                f"WHERE timestamp >= fromUnixTimestamp64Micro({now - first * MINUTE_US}) "
                f"AND timestamp < fromUnixTimestamp64Micro({now - last * MINUTE_US})"
            )
            for kind, table, interval, key in (
                ("trade", "trades", "NULL", "sequence"),
                ("candle", "candles", "interval", "toUnixTimestamp64Micro(timestamp)"),
            ):
                rows = pipeline.sql(
                    f"SELECT exchange, market, symbol, {interval} AS interval, toInt64({key}) AS key FROM "
                    f"tapeline.{table} {where} ORDER BY key {SETTINGS}"
                )
                for row in rows:
                    series = (row["exchange"], row["market"], row["symbol"], kind, row["interval"])
                    found[series][stretch].append(row["key"])
                pipeline.sql(f"DELETE FROM tapeline.{table} {where}")
        self._deleted_us = time.time_ns() // 1_000
        self.outcome.deleted = {series: dict(stretches) for series, stretches in found.items()}

    def _judge(self) -> None:
        outcome = self.outcome
        outcome.counts = compare(self.data, self.settings(), self._began_us - MINUTE_US, self._deleted_us)
        for series, count in outcome.counts.items():
            name = " ".join(part or "-" for part in series)
            outcome.wrong += [f"{name}: {text}" for text in (*count.lost[:3], *count.wrong[:3])]
            if count.doubled:
                outcome.wrong.append(f"{name}: {count.doubled} rows stored twice")
        outcome.fewest = sum(
            _pages(keys, series) for series, stretches in outcome.deleted.items() for keys in stretches.values()
        )
        if outcome.calls > outcome.fewest + IN_FLIGHT:
            outcome.wrong.append(f"{outcome.calls} calls were made, {outcome.fewest} would have done")
        if outcome.over_the_limit:
            outcome.wrong.append(f"the exchange refused {outcome.over_the_limit} calls as too many")
        self._judge_order()

    def _judge_order(self) -> None:
        """What is less urgent is asked for only when nothing waits that is more so, of what was found by then."""
        outcome = self.outcome
        rows = at_rest(
            self.data,
            "SELECT gap_id, any(priority) AS priority, toUnixTimestamp64Micro(any(detection_time)) AS found, "
            "toUnixTimestamp64Micro(minIf(received_at, status = 'filling')) AS asked, argMax(status, received_at) AS "
            "status FROM tapeline.gap_events WHERE source = 'backfill' AND gap_type IN ('missing', 'downtime') AND "
            f"kind IN ('trade', 'candle') AND detection_time >= fromUnixTimestamp64Micro({self._deleted_us}) "
            f"GROUP BY gap_id {SETTINGS}",
        )
        calls = [row for row in rows if row["asked"]]
        outcome.gaps = Counter(row["priority"] for row in rows if row["status"] == "filled")
        for priority in RANKS:
            times = [row["asked"] for row in calls if row["priority"] == priority]
            outcome.last_s[priority] = (max(times, default=self._deleted_us) - self._deleted_us) / SECOND_US
            missing = sum(priority in stretches for stretches in outcome.deleted.values())
            if outcome.gaps[priority] < missing:
                outcome.wrong.append(f"{outcome.gaps[priority]} {priority} gaps were filled, {missing} were made")
        overtaken = [
            (early["gap_id"], late["gap_id"])
            for early in calls
            for late in calls
            if RANKS[late["priority"]] < RANKS[early["priority"]]
            and late["found"] + SLACK_US < early["asked"] < late["asked"]
        ]
        outcome.wrong += [f"gap {early} was asked for before {late}, which is more urgent" for early, late in overtaken]


def _pages(keys: list[int], series: Series) -> int:
    """Return the fewest calls that bring rows of these keys, rising."""
    history = history_of(series[0], series[1], series[3], series[4])
    if history is None:
        return 0
    pages, end = 0, -1
    for key in keys:
        place = key // history.step_us
        if place > end:
            pages, end = pages + 1, place + history.most - 1
    return pages
