"""The webhook: what Alertmanager posts becomes a log line for each alert."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import structlog
from aiohttp import web

from schemas.errors import Broken
from services.alert_log.configuration import configuration
from services.alert_log.settings import AlertLogSettings
from services.shared.runtime.run import Context


class Alert(msgspec.Struct):
    """One alert of a notification. Source: Alertmanager's webhook_config, version 4."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class Notification(msgspec.Struct):
    """What is posted."""

    alerts: list[Alert]


_notification = msgspec.json.Decoder(Notification).decode


def tell(log: structlog.stdlib.BoundLogger, alert: Alert) -> None:
    """Log one alert: warning while it fires, info when it is resolved; its other labels follow its summary."""
    labels = {name: value for name, value in sorted(alert.labels.items()) if name not in ("alertname", "job")}
    told = log.bind(
        name=alert.labels.get("alertname", ""),
        reason=alert.annotations.get("summary", ""),
        value=" ".join(f"{name}={value}" for name, value in labels.items()),
        url=alert.annotations.get("runbook", ""),
    )
    if alert.status == "resolved":
        told.info("alert_resolved")
    else:
        told.warning("alert_firing")


async def serve(settings: AlertLogSettings, context: Context) -> None:
    """Write Alertmanager's configuration, then log what it posts until told to stop."""
    write_whole(settings.configuration, configuration(settings))

    async def alerts(request: web.Request) -> web.Response:
        try:
            notification = _notification(await request.read())
        except msgspec.DecodeError as error:
            return web.Response(status=400, text=f"this is no notification of Alertmanager: {error}\n")
        for alert in notification.alerts:
            tell(context.log, alert)
        return web.Response()

    app = web.Application()
    app.router.add_post("/alerts", alerts)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            raise Broken(
                f"alert-log cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
                f"set {settings.variable('port')} to a free port"
            ) from None
        port = runner.addresses[0][1]
        context.health.status = lambda: {"port": port}
        context.health.set_ready(True)
        context.log.info("alerts_awaited", port=port, path=str(settings.configuration))
        await context.stop.wait()
    finally:
        await runner.cleanup()


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all. Alertmanager reads it as another user; its folder is a volume of these two."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(handle, "w") as output:
        output.write(text)
    fresh.replace(path)
