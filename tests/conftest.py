"""Fixtures that any test may ask for by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


RECORDINGS = Path(os.environ.get("TAPELINE_RECORDINGS", ROOT.parent / "shared" / "recordings"))


def recordings_folder() -> Path | None:
    """The folder of recorded exchange sessions, TAPELINE_RECORDINGS or beside the repository; None when absent."""
    return RECORDINGS if RECORDINGS.is_dir() else None


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded exchange sessions; a test that asks for it is skipped where there is none."""
    folder = recordings_folder()
    if folder is None:
        pytest.skip(f"no recordings at {RECORDINGS}; set TAPELINE_RECORDINGS to the folder that holds them")
    return folder
