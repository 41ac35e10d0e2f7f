"""A disk that was full and has room again: nats-server is started anew, and takes messages as before."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

import nats
from services.command_line import ring_watch
from services.command_line.processes import Ports, Supervised
from services.shared.runtime import logs
from services.shared.runtime.settings import Settings

MIB = 1024**2
PROGRAM = str(Path(sys.executable).with_name("nats-server"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tapeline-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system cannot be mounted here: root may")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def publish(client: nats.NATS, *, until_taken: bool) -> None:
    """Publish until the stream takes a message, or until it does not."""
    for _ in range(400):
        try:
            await client.jetstream().publish("s.a", bytes(MIB // 2), timeout=1)
            taken = True
        except (nats.errors.Error, TimeoutError, OSError):
            taken = False
            await asyncio.sleep(0.05)
        if taken == until_taken:
            return
    raise AssertionError(f"the stream never {'took' if until_taken else 'refused'} a message")


async def unsaid(_: Exception) -> None:
    """The server is away for a moment, as it is meant to be."""


async def test_a_server_that_could_not_write_is_started_anew_when_there_is_room(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_watch, "LOOK_EVERY_S", 0.1)
    with Ports("127.0.0.1") as ports:
        port, monitor = (ports.take(0, "none") for _ in range(2))
    config = tmp_path / "server.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor}"\n'
        f'jetstream {{ store_dir: "{disk}", max_file_store: {96 * MIB} }}\n'
    )
    log = logs.configure(Settings.load(), "test")
    server = Supervised("nats-server", [PROGRAM, "-c", str(config)], {}, log, tmp_path / "nats.log")
    await server.start()
    async with aiohttp.ClientSession() as http:
        machine: Any = SimpleNamespace(
            http=http,
            nats_health_url=f"http://127.0.0.1:{monitor}/healthz",
            settings=SimpleNamespace(data_dir=disk),
            children={"nats-server": server},
        )
        client = await nats.connect(
            f"nats://127.0.0.1:{port}", max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=unsaid
        )
        await client.jetstream().add_stream(name="S", subjects=["s.>"])
        await publish(client, until_taken=True)
        watching = asyncio.create_task(ring_watch.watch_rings(machine, log))
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - MIB // 4)
        await publish(client, until_taken=False)
        first = server.pid
        ballast.unlink()
        await publish(client, until_taken=True)
        assert server.pid != first
        watching.cancel()
        await client.close()
    assert await server.end(10)
