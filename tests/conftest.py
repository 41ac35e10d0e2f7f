"""Fixtures that any test may ask for by name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from services.shared.runtime import logs
from services.shared.runtime.bus import Bus, connect
from services.shared.runtime.provision import provision
from services.shared.runtime.settings import Settings
from tests.nats_server import NatsServer, run_nats

ROOT = Path(__file__).parent.parent

# No test is judged by the time it takes: machines are noisy. The gate draws the same examples for the same commit; new
# ones are drawn wherever else the tests run.
hypothesis.settings.register_profile("tapeline", deadline=None, derandomize=os.environ.get("CI") == "true")
hypothesis.settings.load_profile("tapeline")

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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A real nats-server of the test's own."""
    with run_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    """A connection to `server`, with every stream and bucket in place."""
    settings = Settings.load(nats_url=server.url)
    made = await connect(settings, "test", logs.configure(settings, "test"), asyncio.Event())
    await provision(made)
    yield made
    await made.close()
