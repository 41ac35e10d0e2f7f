"""A pipeline, Prometheus, Alertmanager and alert-log; a clean run, then each fault; the table of what fired when.

The clean run is judged by the rules as they are delivered. For the faults the same rules are made faster: every
duration is divided by one number, so that an alert on five minutes takes seconds. An alert has fired when it is in
alert-log's log, and is clear when its end is there too and Prometheus has none left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import nats
from benchmarks.alerts.faults import FAULTS, Fault
from benchmarks.chaos.__main__ import small_disk
from tests import grafana
from tests.pipeline import TAPELINE, Pipeline, run_pipeline, until
from tests.prometheus import ALERTMANAGER, DELIVERED, PROMETHEUS, run_alertmanager, run_prometheus

DISK_MIB = 6_144
FASTER = 20.0
FIRES_WITHIN_S = 240.0
CLEARS_WITHIN_S = 600.0
USUAL_S = 35 * 60
"""So long, at the delivered pace, until it is known what rate is usual."""
POLL_S = 0.25
HICCUPS = frozenset({"LatencyHigh"})
"""In a window of seconds one hiccup of the machine is more than one record in a hundred: unless such an alert is what a
fault is about, only the clean run judges it.
"""
SETTINGS = {
    "TAPELINE_UP_RAW_BYTES": str(1024**3),
    "TAPELINE_UP_MD_BYTES": str(1024**3),
    # Small, so that a minute without NATS fills them.
    "TAPELINE_COLLECTOR_SPOOL_BYTES": str(1024**2),
    "TAPELINE_COLLECTOR_MEMORY_BYTES": str(4 * 1024**2),
    # Patience is shorter, as the rules are; what is inserted at once is still stored within it on a busy machine.
    "TAPELINE_STORAGE_BATCHER_INSERT_TIMEOUT_S": "15",
    "TAPELINE_STORAGE_BATCHER_BATCH_MAX_ROWS": "5000",
    "TAPELINE_GAP_BACKFILL_RETRY_MOST_S": "5",
}


class Outcome(NamedTuple):
    """What became of one fault; times in seconds from its begin and from its end."""

    fault: str
    alert: str
    fired_s: float | None
    cleared_s: float | None


class Told:
    """What alert-log has logged, read on from where it was."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = 0
        self.firing: set[tuple[str, str]] = set()
        self.fired: set[tuple[str, str]] = set()
        """Everything that has fired since this was emptied."""

    def read(self) -> None:
        """Take in the lines that are new."""
        with self._log.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                said = json.loads(line)
                key = (said.get("name", ""), said.get("value", ""))
                if said["event"] == "alert_firing":
                    self.firing.add(key)
                    self.fired.add(key)
                elif said["event"] == "alert_resolved":
                    self.firing.discard(key)


def main(arguments: list[str]) -> int:
    """Run all; 0 when every alert fired on its fault, nothing else did, and all cleared."""
    parser = argparse.ArgumentParser("python -m benchmarks alerts", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clean-minutes", type=float, default=30, help="minutes without faults (default: %(default)s)")
    parser.add_argument("--faster", type=float, default=FASTER, help="the rules' durations over this (default: 20)")
    parser.add_argument("--only", default="", help="faults whose name contains one of these, separated by commas")
    parser.add_argument("--exchanges", help="binance, okx and which else (default: as tapeline up)")
    parser.add_argument("--data", type=Path, help="a new folder for data and logs to be kept in")
    given = parser.parse_args(arguments)
    if PROMETHEUS is None or ALERTMANAGER is None:
        raise SystemExit("this needs Prometheus and Alertmanager (Debian: prometheus, prometheus-alertmanager)")
    exchanges = ("--exchanges", given.exchanges) if given.exchanges else ()
    with tempfile.TemporaryDirectory() as made:
        folder = (given.data or Path(made)).resolve()
        with small_disk(folder / "data", DISK_MIB, keep=given.data is not None) as own_disk, ExitStack() as running:
            pipeline = running.enter_context(run_pipeline(folder / "data", "--simulate", *exchanges, **SETTINGS))
            log, address, configuration = running.enter_context(_alert_log(folder))
            told = Told(log)
            health = {**pipeline.addresses()["health"], "alert-log": address["health"]}
            wrong = _clean(folder / "clean", health, address["webhook"], configuration, told, given.clean_minutes)
            alertmanager = running.enter_context(
                run_alertmanager(folder / "faults", configuration, address["webhook"], given.faster)
            )
            prometheus = running.enter_context(run_prometheus(folder / "faults", health, given.faster, alertmanager))
            chosen = [fault for fault in FAULTS if any(part in fault.name for part in given.only.split(","))]
            outcomes = []
            say(f"waiting {USUAL_S / given.faster:.0f} s until it is known what is usual")
            time.sleep(USUAL_S / given.faster)
            for fault in chosen:
                if fault.name == "the disk fills" and not own_disk:
                    wrong.append(f"{fault.name}: not tried, only root may mount a file system of its own")
                    continue
                wrong += _quiet(prometheus, told, fault)
                told.fired.clear()
                found, more = _befall(fault, pipeline, prometheus, told)
                outcomes += found
                wrong += more
    print("\n".join(_table(outcomes)))
    if not given.only:
        wrong += [f"no fault is known for {name}" for name in sorted(_declared() - {one.alert for one in outcomes})]
    for text in wrong:
        print(f"WRONG: {text}")
    print(f"clean run: {given.clean_minutes:g} minutes; rules {given.faster:g} times faster; {len(wrong)} wrong")
    return 1 if wrong else 0


def say(text: str) -> None:
    """Show progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _declared() -> set[str]:
    groups = yaml.safe_load((DELIVERED / "rules.yml").read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


@contextmanager
def _alert_log(folder: Path) -> Iterator[tuple[Path, dict[str, str], str]]:
    """Run alert-log; yields its log, where it listens, and Alertmanager's configuration as it wrote it."""
    log = folder / "alert-log.log"
    own = {
        "TAPELINE_DATA_DIR": str(folder / "alert-log"),
        "TAPELINE_ALERT_LOG_PORT": "0",
        "TAPELINE_HEALTH_PORT": "0",
        "TAPELINE_LOG_FORMAT": "json",
    }
    with log.open("wb") as output:
        process = subprocess.Popen([TAPELINE, "alert-log"], env={**os.environ, **own}, stdout=output, stderr=output)

    def said() -> dict[str, dict[str, Any]] | None:
        lines = {one["event"]: one for one in map(json.loads, log.read_text().splitlines())}
        return lines if {"alerts_awaited", "health_listening"} <= lines.keys() else None

    try:
        lines = until(said, "alert-log listens")
        ports = {"webhook": lines["alerts_awaited"]["port"], "health": lines["health_listening"]["port"]}
        address = {"webhook": f"http://127.0.0.1:{ports['webhook']}/alerts"}
        address["health"] = f"http://127.0.0.1:{ports['health']}"
        yield log, address, Path(lines["alerts_awaited"]["path"]).read_text()
    finally:
        process.terminate()
        process.wait(30)


def _clean(
    folder: Path, health: dict[str, str], webhook: str, configuration: str, told: Told, minutes: float
) -> list[str]:
    """Let everything run under the rules as delivered; return what fired."""
    if minutes <= 0:
        return []
    say(f"clean run of {minutes:g} minutes")
    with (
        run_alertmanager(folder, configuration, webhook, 1) as alertmanager,
        run_prometheus(folder, health, 1, alertmanager) as prometheus,
    ):
        end = time.monotonic() + 60 * minutes
        seen: set[tuple[str, str]] = set()
        while time.monotonic() < end:
            time.sleep(min(15, max(0.0, end - time.monotonic())))
            seen |= _firing(prometheus)
        told.read()
        up = prometheus.now('sum(up{job="tapeline"})')
    wrong = [f"clean run: {name} fired ({labels})" for name, labels in sorted(seen | told.fired)]
    if up != {(): float(len(health))}:
        wrong.append(f"clean run: Prometheus reaches {up}, not {len(health)} services")
    return wrong


def _alerts(prometheus: grafana.Prometheus) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = prometheus.get("/api/v1/alerts")["alerts"]
    return found


def _firing(prometheus: grafana.Prometheus) -> set[tuple[str, str]]:
    """Return what fires now, with its labels."""
    return {
        (one["labels"]["alertname"], " ".join(f"{k}={v}" for k, v in sorted(one["labels"].items()) if k != "alertname"))
        for one in _alerts(prometheus)
        if one["state"] == "firing"
    }


def _wait(reached: Callable[[], bool], seconds: float) -> float | None:
    """Wait until it is so; return how long that took, None when it took too long."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if reached():
            return time.monotonic() - began
        time.sleep(POLL_S)
    return None


def _quiet(prometheus: grafana.Prometheus, told: Told, fault: Fault) -> list[str]:
    """Wait until nothing fires or is about to; return what does not end."""
    minor = HICCUPS - {name for name, _ in fault.fires}

    def left() -> set[str]:
        told.read()
        return ({name for name, _ in told.firing} | {one["labels"]["alertname"] for one in _alerts(prometheus)}) - minor

    if _wait(lambda: not left(), CLEARS_WITHIN_S) is not None:
        return []
    return [f"before {fault.name}: {name} does not end" for name in sorted(left())]


def _befall(
    fault: Fault, pipeline: Pipeline, prometheus: grafana.Prometheus, told: Told
) -> tuple[list[Outcome], list[str]]:
    """Do it, see what fires, undo it, see that it clears; return what became of each alert, and what is wrong."""
    say(fault.name)
    fired: dict[tuple[str, str], float] = {}
    cleared: dict[tuple[str, str], float] = {}
    began = time.monotonic()

    def matching(known: set[tuple[str, str]]) -> set[tuple[str, str]]:
        return {one for one in fault.fires if any(one[0] == name and one[1] in labels for name, labels in known)}

    def all_fired() -> bool:
        told.read()
        for one in matching(told.fired):
            fired.setdefault(one, time.monotonic() - began)
        return len(fired) == len(fault.fires)

    undone = []
    try:
        with fault.does(pipeline):
            _wait(all_fired, FIRES_WITHIN_S)
    except (OSError, AssertionError, nats.errors.Error) as error:
        undone.append(f"{fault.name}: could not be done as it should, {error!r}")
    ended = time.monotonic()

    def all_clear() -> bool:
        told.read()
        for one in fired.keys() - matching(told.firing) - matching(_firing(prometheus)):
            cleared.setdefault(one, time.monotonic() - ended)
        return len(cleared) == len(fired)

    _wait(all_clear, CLEARS_WITHIN_S)
    names = {name for name, _ in fault.fires} | fault.consequences | HICCUPS
    wrong = undone + [f"{fault.name}: {one} did not fire" for one in fault.fires if one not in fired]
    wrong += [f"{fault.name}: {one} did not clear" for one in fired if one not in cleared]
    wrong += [f"{fault.name}: {name} fired too ({labels})" for name, labels in told.fired if name not in names]
    say(f"  fired: {sorted(told.fired)}")
    outcomes = [Outcome(fault.name, one[0], fired.get(one), cleared.get(one)) for one in fault.fires]
    return outcomes, wrong


def _table(outcomes: list[Outcome]) -> list[str]:
    lines = ["| fault | alert | fired after | cleared after |", "|---|---|---|---|"]
    for one in outcomes:
        times = ("no" if seconds is None else f"{seconds:.1f} s" for seconds in (one.fired_s, one.cleared_s))
        lines.append(f"| {one.fault} | {one.alert} | {' | '.join(times)} |")
    return lines
