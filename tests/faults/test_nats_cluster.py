"""Three nats-servers that keep every stream three times: one is killed while data flows, and nothing is lost."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import streams, subjects
from schemas.errors import Busy
from services.shared.runtime import logs
from services.shared.runtime.bus import Bus, Outgoing, connect
from services.shared.runtime.provision import provision
from services.shared.runtime.reader import Reader
from services.shared.runtime.settings import Settings
from tests.pipeline import until

BATCHES, BATCH = 60, 20
SUBJECT = subjects.raw("binance", "spot", "trade", "BTC-USDT")
RING_BYTES = {stream.name: 16 * 1024**2 for stream in streams.STREAMS}


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found


class Cluster:
    """Three servers on loopback, each with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports, self._monitors, self._routes = free_ports(3), free_ports(3), free_ports(3)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def start(self, number: int) -> None:
        folder = self._folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes)
        config = folder / "server.conf"
        config.write_text(
            f'server_name: "nats-{number}"\nlisten: "127.0.0.1:{self.ports[number]}"\n'
            f'http: "127.0.0.1:{self._monitors[number]}"\njetstream {{ store_dir: "{folder}" }}\n'
            f'cluster {{ name: tapeline, listen: "127.0.0.1:{self._routes[number]}", routes: [{routes}] }}\n'
        )
        with (folder / "nats.log").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [str(Path(sys.executable).with_name("nats-server")), "-c", str(config)], stdout=log, stderr=log
            )

    def kill(self, number: int) -> None:
        process = self._processes.pop(number)
        process.kill()
        process.wait()

    def healthy(self, number: int) -> bool:
        """Whether a server and every stream that it keeps are up to date with the others."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._monitors[number]}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        for number in tuple(self._processes):
            self.kill(number)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        for number in range(3):
            made.start(number)
        until(lambda: all(made.healthy(number) for number in range(3)), "three servers have found one another")
        yield made
    finally:
        made.stop()


async def _connected(cluster: Cluster) -> Bus:
    settings = Settings.load(nats_url=cluster.url)
    return await connect(settings, "test", logs.configure(settings, "test"), asyncio.Event())


async def _publish(bus: Bus, number: int) -> None:
    """Publish a batch as the collector does: again and again until it is acknowledged."""
    batch = [Outgoing(SUBJECT, f"{number} {item}".encode()) for item in range(BATCH)]
    while True:
        try:
            await bus.publish_batch(batch)
        except Busy:
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_server_is_killed_while_data_flows_and_nothing_is_lost(cluster: Cluster) -> None:
    publisher, reading = await _connected(cluster), await _connected(cluster)
    assert await provision(publisher, RING_BYTES, replicas=3)
    assert await provision(publisher, RING_BYTES, replicas=3) == []
    info = await publisher.js.stream_info(streams.RAW.name)
    assert info.cluster is not None
    assert info.cluster.leader is not None
    leader = int(info.cluster.leader.removeprefix("nats-"))

    reader = Reader(reading, streams.RAW, [subjects.RAW_ALL], 0)
    heard: list[bytes] = []

    async def listen() -> None:
        while len(set(heard)) < BATCHES * BATCH:
            try:
                heard.extend(message.body for message in await reader.read(1_000, 1.0))
            except Busy:
                await asyncio.sleep(0.05)

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(listen())
        for number in range(BATCHES):
            if number == BATCHES // 3:
                cluster.kill(leader)
            if number == 2 * BATCHES // 3:
                cluster.start(leader)
            await _publish(publisher, number)

    # A batch whose answer was lost with the server is there twice, whole; its order stands.
    wanted = [f"{number} {item}".encode() for number in range(BATCHES) for item in range(BATCH)]
    assert list(dict.fromkeys(heard)) == wanted
    until(lambda: cluster.healthy(leader), "the killed server has caught up")
    for number in range(3):
        if number != leader:
            cluster.kill(number)
            break
    # Two are left, the one that was killed before among them: what was acknowledged is there.
    state, _ = await _filled(publisher)
    assert state >= len(heard)
    await reader.close()
    for bus in (publisher, reading):
        await bus.close()


async def _filled(bus: Bus) -> tuple[int, int]:
    while True:
        try:
            state, size = await bus.fill(streams.RAW)
        except Busy:
            await asyncio.sleep(0.05)
        else:
            return state.messages, size
