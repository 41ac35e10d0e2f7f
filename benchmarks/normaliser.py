"""The normaliser's core over a recorded session, beside `orjson.loads` of the same frames: the limit.

Frames of BINANCE_FUTURES, filed as the collector files them, to records ready to be published: parsing, checks, books,
encoding. The two alternate within one run, so that a noisy machine disturbs both.
"""

from __future__ import annotations

import time
from pathlib import Path

import orjson

from schemas import frames, subjects
from schemas.frames import RawFrame
from services.normaliser.core import PartitionCore
from services.shared.exchanges.registry import MARKETS
from tests.conftest import recordings_folder
from tests.normaliser_rig import recorded

ROUNDS = 15


def run() -> list[str]:
    """Return the benchmark's lines of Markdown."""
    title = "## Normaliser: recorded frames to records ready to be published"
    folder: Path | None = recordings_folder()
    if folder is None:
        return [title, "", "Not run: no recordings (see TAPELINE_RECORDINGS)."]
    filed = recorded(folder, "BINANCE_FUTURES", "perp")
    data = [frame for _, frame in filed if frame.origin == "ws" and frame.channel != subjects.SESSION]
    best_core = best_limit = float("inf")
    for _ in range(ROUNDS):
        best_core = min(best_core, _core(filed))
        best_limit = min(best_limit, _limit(data))
    count = len(data)
    return [
        title,
        "",
        "| | frames/s | us a frame | share of the limit |",
        "|---|---|---|---|",
        f"| `orjson.loads` alone (the limit) | {count / best_limit:,.0f} | {best_limit / count * 1e6:.1f} | 100% |",
        f"| the core: parse, check, books, encode | {count / best_core:,.0f} | {best_core / count * 1e6:.1f} | "
        f"{best_limit / best_core:.0%} |",
    ]


def _core(filed: list[tuple[int, RawFrame]]) -> float:
    """Seconds of processor time for the session's data frames; instruments and snapshots are taken out."""
    cores = {part: PartitionCore(part, MARKETS) for part in range(subjects.PARTITIONS)}
    messages = [(cores[part], frame.origin == "ws", frames.message(frame, part)) for part, frame in filed]
    aside = 0.0
    began = time.process_time()
    for sequence, (core, is_data, message) in enumerate(messages, 1):
        if is_data:
            core.process(sequence, *message)
        else:
            before = time.process_time()
            core.process(sequence, *message)
            aside += time.process_time() - before
    return time.process_time() - began - aside


def _limit(data: list[RawFrame]) -> float:
    loads = orjson.loads
    bodies = [frame.body for frame in data]
    began = time.process_time()
    for body in bodies:
        loads(body)
    return time.process_time() - began
