"""A pipeline for measurements: simulated markets as wanted, and several processes that share a service's work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from schemas import subjects, tables
from schemas.errors import Broken
from services.command_line.machine import Machine
from services.command_line.processes import Ports
from services.command_line.settings import PipelineSettings

NORMALISER, BATCHER = "normaliser", "storage-batcher"

_BUSIEST = ("book_deltas", "quotes", "orderbooks", "trades", "candle_updates")
"""Tables with most of the work, the most costly first: each of several batchers takes one in turn."""


class BenchMachine(Machine):
    """`tapeline up` with what a measurement wants otherwise."""

    def __init__(
        self,
        settings: PipelineSettings,
        log: structlog.stdlib.BoundLogger,
        environment: Mapping[str, Mapping[str, str]],
        normalisers: int,
        batchers: int,
    ) -> None:
        """Give processes, by name, these environment variables too, and run so many normalisers and batchers."""
        super().__init__(settings, log)
        self._extra = {name: dict(variables) for name, variables in environment.items()}
        self.shares: dict[str, list[str]] = {NORMALISER: [NORMALISER], BATCHER: [BATCHER]}
        """The processes that share a service's work."""
        shared: dict[str, list[dict[str, str]]] = {
            NORMALISER: [{"TAPELINE_NORMALISER_PARTITIONS": ",".join(part)} for part in _partitions(normalisers)],
            BATCHER: [{"TAPELINE_STORAGE_BATCHER_TABLES": ",".join(part)} for part in _tables(batchers)],
        }
        with Ports(settings.host) as chosen:
            for service, parts in shared.items():
                self._extra[service] = parts[0] if len(parts) > 1 else {}
                for number, part in enumerate(parts[1:], 2):
                    name = f"{service}-{number}"
                    port = chosen.take(0, "TAPELINE_UP_HEALTH_BASE_PORT")
                    self.shares[service].append(name)
                    self.pipeline.health[name] = f"http://{settings.host}:{port}"
                    self._extra[name] = {**part, "TAPELINE_HEALTH_PORT": str(port)}

    async def _python(self, name: str, package: str, environment: dict[str, str]) -> None:
        await super()._python(name, package, {**environment, **self._extra.get(name, {})})
        for other in self.shares.get(name, [])[1:]:
            await super()._python(other, package, {**environment, **self._extra[other]})

    async def status(self, service: str) -> dict[str, Any]:
        """Return what a service says of itself; of a shared one what all its processes say together."""
        answers = [await super(BenchMachine, self).status(name) for name in self.shares.get(service, [service])]
        found = answers[0]
        for answer in answers[1:]:
            for key in ("pending_messages", "pending_rows"):
                if key in found:
                    found[key] += answer[key]
            found.get("partitions", {}).update(answer.get("partitions", {}))
            if "position" in found:
                found["position"] = min(found["position"], answer["position"])
        return found

    async def order(self, what: str) -> None:
        """Order something of the simulator. Raises Broken when it refuses."""
        assert self.http is not None
        async with self.http.post(f"{self.simulator_url}/simulator/{what}") as answer:
            if answer.status >= 300:
                raise Broken(f"the simulator refuses to {what}: {(await answer.read()).decode(errors='replace')}")

    async def end_service(self, service: str) -> bool:
        """End a service, every process of it."""
        clean = True
        for name in self.shares.get(service, [service]):
            clean &= await super().end_service(name)
        return clean


def _partitions(count: int) -> list[list[str]]:
    return [[str(part) for part in range(subjects.PARTITIONS) if part % count == one] for one in range(count)]


def _tables(count: int) -> list[list[str]]:
    rest = [table.name for table in tables.TABLES if table.name not in _BUSIEST]
    ordered = [*_BUSIEST, *rest]
    return [ordered[one::count] for one in range(count)]
