"""Runs the exchange simulator: `python -m services.exchange_simulator`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from services.exchange_simulator import generator, replay
from services.exchange_simulator.fault_schedule import Schedule, kinds_of
from services.exchange_simulator.generator.rehearsed import Rehearsal
from services.exchange_simulator.server import Server
from services.exchange_simulator.settings import SimulatorSettings
from services.exchange_simulator.tls import Secure
from services.exchange_simulator.venue import Venue
from services.shared.runtime.run import Context, run


def port_file(data_dir: Path) -> Path:
    """Return where a running simulator has written its port."""
    return data_dir / "simulator" / "port"


def ca_file(data_dir: Path) -> Path:
    """Return where the certificate of its own authority stands, when it serves by TLS."""
    return data_dir / "simulator" / "ca.pem"


def _venues(settings: SimulatorSettings, context: Context, rehearsal: Rehearsal | None) -> Sequence[Venue]:
    if rehearsal is not None:
        return rehearsal.venues
    if settings.replay is None:
        generated = generator.build(settings)
        generator.prepare(generated, settings)
        return generated
    venues, left_out = replay.build(settings.replay, settings.exchanges, settings.pace, settings.patience_s)
    if left_out:
        context.log.info("sessions_left_out", reason="not asked for, or not spoken yet", name=", ".join(left_out))
    return venues


def _schedules(settings: SimulatorSettings, venues: Sequence[Venue]) -> dict[str, Schedule]:
    if not settings.faults_per_min:
        return {}
    kinds = kinds_of(settings.fault_kinds)
    markets: dict[str, list[str]] = {}
    for venue in venues:
        markets.setdefault(venue.exchange, []).append(venue.market)
    return {
        exchange: Schedule(exchange, served, settings.faults_per_min, kinds, settings.seed)
        for exchange, served in markets.items()
    }


async def serve(settings: SimulatorSettings, context: Context) -> None:
    """Serve the venues until stopped; the bound port stands in the port file meanwhile."""
    rehearsal = Rehearsal.of(settings) if settings.rehearsed else None
    venues = _venues(settings, context, rehearsal)
    times = (settings.ping_every_s, settings.pong_within_s)
    secure = Secure(settings.host) if settings.tls else None
    schedules = _schedules(settings, venues)
    async with Server(venues, settings.host, settings.port, *times, schedules, secure, rehearsal) as server:
        file = port_file(settings.data_dir)
        file.parent.mkdir(parents=True, exist_ok=True)
        if secure is not None:
            ca_file(settings.data_dir).write_bytes(secure.ca)
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{server.port}\n")
        fresh.replace(file)
        context.health.status = server.status
        context.health.set_ready(True)
        context.log.info("simulator_listening", port=server.port, path=str(file))
        await context.stop.wait()
        file.unlink(missing_ok=True)


def main() -> int:
    """Run the service; return its exit status."""
    return run("exchange-simulator", SimulatorSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
