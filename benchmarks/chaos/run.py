"""One run: a generated market through the whole pipeline while the plan is carried out, until all is stored."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos.deeds import Doer, Done
from benchmarks.chaos.plan import Deed, plan
from tests.pipeline import Pipeline, run_pipeline, until

MARKETS = ("binance.spot", "binance.perp")
DRAIN_S = 1_800.0
"""How long what is behind may take to be stored when everybody is back."""
_ENDED_WELL = (0, 3, 4)
"""Nothing lost, something refused, something lost: which of them is right is for the ledger to say."""


class Run:
    """Plays one seed in a folder: `data`, on a disk of its own if it is to be filled; log and ledger beside it."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        events: int,
        rate: int,
        kills: int,
        loses: bool,
        full_disk: bool,
        lengths: float = 1.0,
    ) -> None:
        self.data = folder / "data"
        self.done: list[Done] = []
        self.poison: list[bytes] = []
        self.failed: list[str] = []
        self.began_us = 0
        """When every stream was subscribed for the first time: before that there is nothing to be missed."""
        self.log = ""
        self._duration_s = events / rate
        self._environment = {
            "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": str(self._duration_s),
            "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(rate),
            "TAPELINE_EXCHANGE_SIMULATOR_SYMBOLS": "20",
            "TAPELINE_EXCHANGE_SIMULATOR_SEED": str(seed),
        }
        self.plan: list[Deed] = plan(
            seed, self._duration_s, kills, MARKETS, loses=loses, full_disk=full_disk, lengths=lengths
        )
        self.data.mkdir(exist_ok=True)
        # What the simulator sent must be known whatever befalls the disk under test.
        for name in ("ledger", "simulator"):
            (folder / name).mkdir()
            (self.data / name).symlink_to(folder / name)

    def play(self, say: Callable[[str], None]) -> None:
        """Run to the end. Raises AssertionError when the pipeline ends by itself or never gets done."""
        with run_pipeline(
            self.data, "--simulate", "--exchanges", "binance", "--until-drained", **self._environment
        ) as pipeline:
            pipeline.addresses()
            until(lambda: _ready(pipeline), "every stream is subscribed")
            self.began_us = time.time_ns() // 1000
            doer = Doer(pipeline, say)
            doer.run(self.plan)
            self.done, self.poison, self.failed = doer.done, doer.poison, doer.failed
            say("all done and undone; waiting until everything is stored")
            began = time.monotonic()
            try:
                status = pipeline.process.wait(DRAIN_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"not stored after {DRAIN_S:.0f} s:\n{pipeline.log()[-8000:]}") from None
            say(f"stored {time.monotonic() - began:.0f} s later; tapeline up ended with {status}")
            self.log = pipeline.log()
        assert status in _ENDED_WELL, self.log[-8000:]


def _ready(pipeline: Pipeline) -> bool:
    status = pipeline.status("collector")
    return bool(status and status.get("ready") and status.get("received"))
