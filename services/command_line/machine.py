"""The pipeline on one machine: which processes, in which order, with which addresses."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import structlog

from schemas import streams
from schemas.errors import Broken, Busy
from services.command_line.pipeline import Pipeline
from services.command_line.processes import Ports, Supervised
from services.command_line.settings import PipelineSettings
from services.shared.exchanges.registry import DEFAULT_EXCHANGES
from services.shared.runtime import provision
from services.shared.runtime.bus import Bus, connect
from services.shared.runtime.migrations import migrate
from services.shared.runtime.warehouse import Warehouse

ARBITRAGE = "arbitrage-signal"
SERVICES = ("collector", "gap-backfill", "normaliser", ARBITRAGE, "storage-batcher")
"""The services, in the order of the data; they are started last to first and ended first to last."""


SERVER_TIMEOUT_S = 60.0
RING_SHARE = 0.6
"""Share of the free disk that the rings may claim together on a machine smaller than their declared sizes ask for."""


class Machine:
    """All processes of one pipeline. `start` brings them up, `end` drains and ends them in the order of the data."""

    def __init__(self, settings: PipelineSettings, log: structlog.stdlib.BoundLogger) -> None:
        self.settings = settings
        self.log = log
        self.children: dict[str, Supervised] = {}
        self.bus: Bus | None = None
        self.warehouse: Warehouse | None = None
        self.http: aiohttp.ClientSession | None = None
        self._heard: set[str] = set()
        """Services that have answered: one that never did was told to end before it had begun."""
        self._simulated = settings.simulate or settings.replay is not None
        recorded = settings.exchanges or (() if settings.replay else DEFAULT_EXCHANGES)
        compares = len(recorded) > 1 if settings.arbitrage is None else settings.arbitrage
        self.services = tuple(service for service in SERVICES if compares or service != ARBITRAGE)
        """The services that run: the arbitrage signal only where there is something to compare."""
        host = settings.host
        with Ports(host) as chosen:
            ports = {
                "nats": chosen.take(settings.nats_port, "TAPELINE_UP_NATS_PORT"),
                "monitor": chosen.take(settings.nats_monitor_port, "TAPELINE_UP_NATS_MONITOR_PORT"),
                "clickhouse": chosen.take(settings.clickhouse_port, "TAPELINE_UP_CLICKHOUSE_PORT"),
                "simulator": chosen.take(settings.simulator_port, "TAPELINE_UP_SIMULATOR_PORT"),
            }
            base = settings.health_base_port
            for number, service in enumerate((*SERVICES, "exchange-simulator")):
                ports[service] = chosen.take(base + number if base else 0, "TAPELINE_UP_HEALTH_BASE_PORT")
        self._ports = ports
        watched = (*self.services, "exchange-simulator") if self._simulated else self.services
        self.pipeline = Pipeline(
            pid=0,
            nats_url=f"nats://{host}:{ports['nats']}",
            clickhouse_url=f"http://{host}:{ports['clickhouse']}",
            health={service: f"http://{host}:{ports[service]}" for service in watched},
            mode="replay" if settings.replay else "simulate" if settings.simulate else "live",
        )

    @property
    def simulator_url(self) -> str:
        """Base URL of the simulated exchanges."""
        return f"http://{self.settings.host}:{self._ports['simulator']}"

    async def start(self, stop: asyncio.Event) -> None:
        """Servers first, then what they hold, then the services from the table back to the exchange."""
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        await self._start_nats()
        await self._start_clickhouse()
        self.bus = await self._until_answered("nats", connect(self._server_settings(), "up", self.log, stop))
        lines = await provision.provision(self.bus, self._ring_bytes())
        self.log.info("streams_provisioned", count=len(lines))
        self.warehouse = Warehouse.of(self._server_settings())
        # A recording is years old: with retention on, ClickHouse would drop its rows as they come.
        lines = await migrate(self.warehouse, retention=self.settings.replay is None)
        self.log.info("tables_migrated", count=len(lines))
        extra: dict[str, dict[str, str]] = {}
        if self._simulated:
            extra = await self._start_simulator()
        for service in reversed(self.services):
            await self._start_service(service, extra.get(service, {}))

    def _server_settings(self) -> PipelineSettings:
        update = {"nats_url": self.pipeline.nats_url, "clickhouse_url": self.pipeline.clickhouse_url}
        return self.settings.model_copy(update=update)

    def _ring_bytes(self) -> dict[str, int]:
        """Return the rings' sizes, cut down together when the disk is too small for them."""
        wanted = {streams.RAW.name: self.settings.raw_bytes, streams.MD.name: self.settings.md_bytes}
        room = int(shutil.disk_usage(self.settings.data_dir).free * RING_SHARE)
        total = sum(wanted.values())
        if total <= room:
            return wanted
        self.log.warning("rings_smaller_than_set", bytes=room, reason="the disk has no room for more")
        return {name: size * room // total for name, size in wanted.items()}

    async def _start_nats(self) -> None:
        program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
        if program is None:
            raise Broken("nats-server is not installed: run `make setup`")
        store = self.settings.data_dir / "nats"
        store.mkdir(parents=True, exist_ok=True)
        config = store / "server.conf"
        rings = sum(self._ring_bytes().values()) + sum(bucket.max_bytes for bucket in streams.BUCKETS)
        config.write_text(
            f'listen: "{self.settings.host}:{self._ports["nats"]}"\n'
            f'http: "{self.settings.host}:{self._ports["monitor"]}"\n'
            f'jetstream {{ store_dir: "{store.resolve()}", max_file_store: {rings + 1024**3} }}\n'
        )
        await self._child("nats-server", [program, "-c", str(config)], {}, output=store / "nats-server.log")
        await self._wait_for(self.nats_health_url, "nats-server")

    async def _start_clickhouse(self) -> None:
        environment = {"TAPELINE_EMBEDDED_CLICKHOUSE_PORT": str(self._ports["clickhouse"])}
        await self._python("clickhouse", "embedded_clickhouse", environment)
        await self._wait_for(f"{self.pipeline.clickhouse_url}/ping", "clickhouse")

    async def _start_simulator(self) -> dict[str, dict[str, str]]:
        """Start the simulated exchanges; return what each service that calls them must know to find them."""
        prefix = "TAPELINE_EXCHANGE_SIMULATOR_"
        environment = {
            f"{prefix}PORT": str(self._ports["simulator"]),
            "TAPELINE_HEALTH_PORT": str(self._ports["exchange-simulator"]),
        }
        if self.settings.exchanges or self.settings.replay is None:
            environment[f"{prefix}EXCHANGES"] = ",".join(self.settings.exchanges or DEFAULT_EXCHANGES)
        if self.settings.replay is not None:
            if not self.settings.replay.is_dir():
                raise Broken(f"--replay {self.settings.replay} is not a folder")
            environment[f"{prefix}REPLAY"] = str(self.settings.replay.resolve())
            environment[f"{prefix}PACE"] = str(self.settings.pace)
        elif self.settings.symbols:
            environment[f"{prefix}SYMBOLS"] = ",".join(self.settings.symbols)
        await self._python("exchange-simulator", "exchange_simulator", environment)
        await self._wait_for(f"{self.simulator_url}/simulator/status", "exchange-simulator")
        markets = (await self.get(f"{self.simulator_url}/simulator/status"))["markets"]
        names = {f"{item['exchange']}.{item['market']}": item for item in markets}
        if not names:
            raise Broken("the simulator has no market to offer: see its log lines above")
        rest_urls = orjson.dumps({name: item["rest_url"] for name, item in names.items()}).decode()
        collector = {
            "TAPELINE_COLLECTOR_EXCHANGES": ",".join(sorted({item["exchange"] for item in markets})),
            "TAPELINE_COLLECTOR_MARKETS": ",".join(sorted({item["market"] for item in markets})),
            # A recording holds no answers to polls.
            "TAPELINE_COLLECTOR_POLLS": str(self.settings.replay is None).lower(),
            "TAPELINE_COLLECTOR_WS_URLS": orjson.dumps({name: item["ws_url"] for name, item in names.items()}).decode(),
            "TAPELINE_COLLECTOR_REST_URLS": rest_urls,
        }
        if self.settings.replay is not None:  # of what a recorded list names, only some was recorded
            symbols = [f"{name}:{symbol}" for name, item in names.items() for symbol in item["symbols"]]
            collector["TAPELINE_COLLECTOR_SYMBOLS"] = ",".join(symbols)
        elif "TAPELINE_COLLECTOR_UNIVERSE" not in os.environ:  # all that is listed, what comes meanwhile too
            collector["TAPELINE_COLLECTOR_UNIVERSE"] = "none"
            collector["TAPELINE_COLLECTOR_INCLUDE"] = ",".join(f"{name}:*" for name in names)
        gap_backfill = {
            "TAPELINE_GAP_BACKFILL_EXCHANGES": collector["TAPELINE_COLLECTOR_EXCHANGES"],
            # A recording serves no past, and its time is long ago.
            "TAPELINE_GAP_BACKFILL_HISTORY": str(self.settings.replay is None).lower(),
            "TAPELINE_GAP_BACKFILL_REST_URLS": rest_urls,
        }
        return {"collector": collector, "gap-backfill": gap_backfill}

    async def _start_service(self, service: str, extra: dict[str, str]) -> None:
        environment = {
            "TAPELINE_NATS_URL": self.pipeline.nats_url,
            "TAPELINE_CLICKHOUSE_URL": self.pipeline.clickhouse_url,
            "TAPELINE_HEALTH_PORT": str(self._ports[service]),
        }
        if service == "collector":
            environment["TAPELINE_COLLECTOR_EXCHANGES"] = ",".join(self.settings.exchanges or DEFAULT_EXCHANGES)
            if self.settings.symbols and not self._simulated:
                environment["TAPELINE_COLLECTOR_SYMBOLS"] = ",".join(self.settings.symbols)
        await self._python(service, service.replace("-", "_"), {**environment, **extra})

    async def _python(self, name: str, package: str, environment: dict[str, str]) -> None:
        common = {
            "TAPELINE_DATA_DIR": str(self.settings.data_dir),
            "TAPELINE_HOST": self.settings.host,
            "TAPELINE_LOG_LEVEL": self.settings.log_level,
            "TAPELINE_LOG_FORMAT": self.settings.log_format,
        }
        await self._child(name, [sys.executable, "-m", f"services.{package}"], {**common, **environment})

    async def _child(
        self, name: str, command: list[str], environment: dict[str, str], output: Path | None = None
    ) -> None:
        child = Supervised(name, command, environment, self.log, output)
        self.children[name] = child
        await child.start()

    async def _wait_for(self, url: str, name: str) -> None:
        """Wait until a server answers 200. Raises Broken when it does not come up."""
        deadline = asyncio.get_running_loop().time() + SERVER_TIMEOUT_S
        assert self.http is not None
        while asyncio.get_running_loop().time() < deadline:
            child = self.children[name]
            if child.failed.done() or child.restarts >= 3:
                break
            try:
                async with self.http.get(url) as answer:
                    if answer.status == 200:
                        return
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(0.05)
        raise Broken(
            f"{name} does not come up at {url}: see its log lines above, or the folder {self.settings.data_dir}"
        )

    async def _until_answered(self, name: str, connecting: Any) -> Bus:
        try:
            bus: Bus = await asyncio.wait_for(connecting, SERVER_TIMEOUT_S)
        except (TimeoutError, Busy) as error:
            raise Broken(f"{name} does not answer: {error}") from None
        return bus

    @property
    def nats_health_url(self) -> str:
        """Where nats-server says whether it is well."""
        return f"http://{self.settings.host}:{self._ports['monitor']}/healthz"

    async def get(self, url: str) -> dict[str, Any]:
        """Return the JSON object at a URL. Raises Busy when it does not answer."""
        assert self.http is not None
        try:
            async with self.http.get(url) as answer:
                body: dict[str, Any] = orjson.loads(await answer.read())
                return body
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            raise Busy(f"{url} does not answer: {error}") from error

    async def status(self, service: str) -> dict[str, Any]:
        """Return what a service says of itself at /status. Raises Busy while it does not answer."""
        status = await self.get(f"{self.pipeline.health[service]}/status")
        self._heard.add(service)
        return status

    async def end_service(self, service: str) -> bool:
        """End one service for good. Return whether it ended by itself."""
        return await self.children[service].end(self.settings.stop_timeout_s)

    async def end(self) -> bool:
        """End everything in the order of the data, each after what it was sent is through. Return whether all drained.

        The collector is told first; when it is gone RAW grows no more, and so on to the tables.
        """
        clean = True
        for service in self.services:
            if service not in self.children:
                continue
            if service not in ("collector", "gap-backfill"):
                clean &= await self.drained(service)
            clean &= await self.end_service(service)
        if self.warehouse is not None:
            await self.warehouse.close()
        if self.bus is not None:
            await self.bus.close()
        for name in ("exchange-simulator", "clickhouse", "nats-server"):
            if name in self.children:
                clean &= await self.end_service(name)
        if self.http is not None:
            await self.http.close()
        return clean

    async def drained(self, service: str) -> bool:
        """Wait until a service has read all there is; what it then holds in memory it stores when it is ended.

        Gives up after the stop timeout, or when the service is not there: what is unread stays on its stream.
        """
        deadline = asyncio.get_running_loop().time() + self.settings.stop_timeout_s
        while asyncio.get_running_loop().time() < deadline:
            try:
                status = await self.status(service)
            except Busy:
                return service not in self._heard
            if status.get("pending_messages", 1) <= status.get("pending_rows", 0):
                return True
            await asyncio.sleep(0.1)
        self.log.warning("service_not_drained", name=service, elapsed_s=self.settings.stop_timeout_s)
        return False
