"""`tapeline bench normaliser`: recorded frames through the normaliser's core, beside what the same frames cost others.

The core does what it does in production: from RAW messages to bodies ready to be published, books included. Beside it:
`orjson.loads` of the same frames, which no program in Python that looks at them can beat, and cryptofeed's own playback
of the same files where that package is installed (`pip install tapeline[bench]`). They alternate within one process, so
that a noisy machine disturbs all of them, and processor time is counted. What the core makes is compared with what it
makes when every frame goes the long way, read in full by its parser.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from schemas import subjects
from services.command_line.bench_recorded import Filed, folder_of, messages, recorded
from services.normaliser.core import Output, PartitionCore
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.registry import MARKETS

SESSION, MARKET = "BINANCE_FUTURES", "perp"
PACKED = 20
"""Stream frames of a partition in one RAW message, as at high rates."""

EQUAL, DIFFERENT, NOTHING_TO_READ = 0, 4, 2
"""Exit status."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The best of all rounds, microseconds of processor time a frame."""

    frames: int
    records: int
    core_us: float
    single_us: float
    """With one frame a RAW message, as at low rates."""
    limit_us: float
    cryptofeed_us: float | None
    """None: the package is not installed."""
    equal: bool
    """Whether the long way makes the same records."""

    @property
    def share_of_limit(self) -> float:
        """How near the core comes to decoding alone; 1 would be as fast."""
        return self.limit_us / self.core_us

    @property
    def times_cryptofeed(self) -> float | None:
        """How many times as fast as cryptofeed's playback."""
        return None if self.cryptofeed_us is None else self.cryptofeed_us / self.core_us


def measure(recordings: Path, rounds: int) -> Result:
    """Run everything `rounds` times, alternating. Raises OSError where the recorded session is not there."""
    filed = recorded(recordings, SESSION, MARKET)
    bodies = [frame.body for _, frame in filed if frame.origin == "ws"]
    packed, single = messages(filed, PACKED), messages(filed, 1)
    playback = _playback(recordings)
    core = alone = limit = other = float("inf")
    for _ in range(rounds):
        core = min(core, _core(packed))
        limit = min(limit, _limit(bodies))
        alone = min(alone, _core(single))
        if playback is not None:
            other = min(other, playback())
    told = _records(packed, MARKETS)
    count = len(bodies) / 1e6
    return Result(
        frames=len(bodies),
        records=len(told),
        core_us=core / count,
        single_us=alone / count,
        limit_us=limit / count,
        cryptofeed_us=None if playback is None else other / count,
        equal=told == _records(packed, _without_forms()),
    )


def run(recordings: Path, rounds: int, *, as_json: bool) -> int:
    """Measure, print, and return the exit status."""
    console = Console()
    if not folder_of(recordings).is_dir():
        console.print(f"no recorded sessions in {folder_of(recordings)}: name their folder with --recordings")
        return NOTHING_TO_READ
    result = measure(recordings, rounds)
    if as_json:
        rates = {"frames_per_s": 1e6 / result.core_us, "share_of_limit": result.share_of_limit}
        more = {**rates, "times_cryptofeed": result.times_cryptofeed}
        console.print_json(orjson.dumps({**msgspec.to_builtins(result), **more}).decode())
    else:
        console.print(_table(result))
        console.print(f"{result.records} records, {'the same' if result.equal else 'NOT the same'} the long way")
        if result.cryptofeed_us is None:
            console.print("cryptofeed's playback was skipped: the package is not installed (extra `bench`)")
    return EQUAL if result.equal else DIFFERENT


def rows(result: Result) -> list[tuple[str, float]]:
    """Return what was measured, and its microseconds a frame."""
    found = [
        ("orjson.loads alone (the limit)", result.limit_us),
        (f"the core, {PACKED} frames a message", result.core_us),
        ("the core, one frame a message", result.single_us),
    ]
    return found if result.cryptofeed_us is None else [*found, ("cryptofeed's playback", result.cryptofeed_us)]


def _table(result: Result) -> Table:
    table = Table(title=f"{result.frames} recorded frames to records ready to be published")
    for name in ("", "frames/s", "us a frame", "share of the limit"):
        table.add_column(name, justify="right" if name else "left")
    for name, cost in rows(result):
        table.add_row(name, f"{1e6 / cost:,.0f}", f"{cost:.2f}", f"{result.limit_us / cost:.0%}")
    return table


def _core(filed: list[Filed]) -> float:
    """Return the seconds that the stream frames take; instrument lists and snapshots are taken out."""
    cores = [PartitionCore(part, MARKETS) for part in range(subjects.PARTITIONS)]
    aside = 0.0
    began = time.process_time()
    for sequence, (part, message, carried) in enumerate(filed, 1):
        if carried:
            cores[part].process(sequence, *message)
        else:
            before = time.process_time()
            cores[part].process(sequence, *message)
            aside += time.process_time() - before
    return time.process_time() - began - aside


def _limit(bodies: list[bytes]) -> float:
    loads = orjson.loads
    began = time.process_time()
    for body in bodies:
        loads(body)
    return time.process_time() - began


def _records(filed: list[Filed], markets: Mapping[tuple[str, str], Market]) -> list[Output]:
    cores = [PartitionCore(part, markets) for part in range(subjects.PARTITIONS)]
    found: list[Output] = []
    for sequence, (part, message, _) in enumerate(filed, 1):
        found += cores[part].process(sequence, *message)
    return found


def _without_forms() -> dict[tuple[str, str], Market]:
    market = MARKETS["binance", MARKET]
    channels = {name: dataclasses.replace(channel, form=None) for name, channel in market.channels.items()}
    return {("binance", MARKET): dataclasses.replace(market, channels=channels)}


def _playback(recordings: Path) -> Callable[[], float] | None:
    """Return what runs cryptofeed's playback once and returns its seconds, less those of a playback of no frames."""
    if importlib.util.find_spec("cryptofeed") is None:
        return None
    playback: Callable[[str, list[str]], Any] = importlib.import_module("cryptofeed.raw_data_collection").playback
    names = [str(folder_of(recordings) / f"{SESSION}.{end}") for end in ("0", "ws.1.0", "http.0.0")]

    def seconds(files: list[str]) -> float:
        began = time.process_time()
        playback(SESSION, files)
        return time.process_time() - began

    def run() -> float:
        with tempfile.TemporaryDirectory(prefix="tapeline-bench-") as folder:
            nothing = Path(folder) / f"{SESSION}.ws.1.0"
            nothing.touch()
            return seconds(names) - seconds([names[0], str(nothing), names[2]])

    return run
