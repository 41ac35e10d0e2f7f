"""The small HTTP side of each service: /health, /ready, /metrics and /status."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from schemas.errors import Broken
from services.shared.runtime import metrics as process_metrics
from services.shared.runtime.settings import Settings


class Health:
    """Whether a service lives and is ready, and what it says of itself.

    `status` is asked anew for each /status: what `tapeline status` and `--until-drained` read.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.ready = False
        self.status: Callable[[], dict[str, Any]] = dict
        self.port: int | None = None

    def set_ready(self, ready: bool) -> None:
        """Say whether the service does its work now."""
        self.ready = ready


@asynccontextmanager
async def serve_health(settings: Settings, health: Health, log: structlog.stdlib.BoundLogger) -> AsyncIterator[None]:
    """Serve the endpoints on `settings.health_port` while the context is open. Raises Broken when it is taken."""
    if settings.health_port is None:
        yield
        return

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"service": health.service, "status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        return web.json_response(
            {"service": health.service, "ready": health.ready}, status=200 if health.ready else 503
        )

    async def metrics(_: web.Request) -> web.Response:
        process_metrics.measure_disk(settings.data_dir)
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def status(_: web.Request) -> web.Response:
        said = health.status()
        body = {"service": health.service, "pid": os.getpid(), "ready": health.ready, **said}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app = web.Application()
    app.add_routes(
        [web.get("/health", alive), web.get("/ready", ready), web.get("/metrics", metrics), web.get("/status", status)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.health_port).start()
        except OSError as error:
            variable = settings.variable("health_port")
            raise Broken(
                f"port {settings.health_port} on {settings.host} cannot be opened ({error.strerror}); "
                f"set {variable} to a free one",
                port=settings.health_port,
            ) from None
        health.port = runner.addresses[0][1]
        log.info("health_listening", port=health.port)
        yield
    finally:
        await runner.cleanup()
