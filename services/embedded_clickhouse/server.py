"""The service: engine, users and interface put together, the bound port announced, stopped in order."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from schemas.errors import Broken
from services.embedded_clickhouse.engine import Engine
from services.embedded_clickhouse.http import Interface
from services.embedded_clickhouse.settings import EmbeddedClickhouseSettings
from services.embedded_clickhouse.users import users_of
from services.shared.runtime.run import Context


async def serve(settings: EmbeddedClickhouseSettings, context: Context) -> None:
    """Answer until `context.stop` is set, then finish what runs.

    The bound port is written to `<data_dir>/clickhouse/port` when requests are answered, and removed at the end.
    Raises Broken when the data directory or the port cannot be had, SettingsError for wrong users.
    """
    users = users_of(settings)
    folder = engine_folder(settings.data_dir)
    engine = Engine(folder, settings)
    port_file = folder / "port"
    interface = Interface(engine, users, settings.threads)
    runner = interface.runner()
    try:
        port = await _listen(runner, settings)
        port_file.write_text(f"{port}\n")
        context.health.set_ready(True)
        context.log.info("clickhouse_listening", port=port, url=f"http://{settings.host}:{port}")
        await context.stop.wait()
        context.health.set_ready(False)
    finally:
        port_file.unlink(missing_ok=True)
        for site in tuple(runner.sites):
            await site.stop()
        await interface.drain(settings.stop_timeout_s)
        await runner.cleanup()
        interface.close()
        engine.close()


async def _listen(runner: web.AppRunner, settings: EmbeddedClickhouseSettings) -> int:
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except OSError as error:
        raise Broken(
            f"ClickHouse cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            f"set {settings.variable('port')} to a free port",
            port=settings.port,
        ) from error
    address = runner.addresses[0]
    return int(address[1])


def engine_folder(data_dir: Path) -> Path:
    """Return the folder that belongs to the engine inside a data directory."""
    return data_dir.resolve() / "clickhouse"
