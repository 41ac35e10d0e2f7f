"""Fixtures that any test may ask for by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded exchange sessions: TAPELINE_RECORDINGS, else beside the repository."""
    folder = Path(os.environ.get("TAPELINE_RECORDINGS", ROOT.parent / "shared" / "recordings"))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; set TAPELINE_RECORDINGS to the folder that holds them")
    return folder
