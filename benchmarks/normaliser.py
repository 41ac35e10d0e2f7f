"""What `tapeline bench normaliser` measures, as lines of Markdown."""

from __future__ import annotations

from pathlib import Path

from services.command_line.bench_normaliser import measure, rows
from tests.conftest import recordings_folder

ROUNDS = 15


def run() -> list[str]:
    """Return the benchmark's lines of Markdown."""
    title = "## Normaliser: recorded frames to records ready to be published"
    folder: Path | None = recordings_folder()
    if folder is None:
        return [title, "", "Not run: no recordings (see TAPELINE_RECORDINGS)."]
    result = measure(folder, ROUNDS)
    note = [] if result.cryptofeed_us is not None else ["", "cryptofeed is not installed: its playback was skipped."]
    return [
        title,
        "",
        "| | frames/s | us a frame | share of the limit |",
        "|---|---|---|---|",
        *(f"| {name} | {1e6 / cost:,.0f} | {cost:.1f} | {result.limit_us / cost:.0%} |" for name, cost in rows(result)),
        *note,
    ]
