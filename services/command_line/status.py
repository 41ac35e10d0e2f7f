"""`tapeline status`: services, lag, rows per table, freshness per exchange and gaps, on one screen."""

from __future__ import annotations

import asyncio
import shutil
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog
from rich.console import Console
from rich.table import Table

from schemas import streams, tables
from schemas.errors import Broken, Busy, PipelineError
from services.command_line import sql
from services.command_line.pipeline import Pipeline, running
from services.shared.runtime.bus import connect
from services.shared.runtime.settings import Settings

FRESHNESS_TABLES = ("trades", "quotes", "book_deltas")


def collect(data_dir: Path, log: structlog.stdlib.BoundLogger) -> dict[str, Any]:
    """Return all that `status` shows. Raises Broken when no pipeline runs on `data_dir`."""
    pipeline = running(data_dir)
    if pipeline is None:
        raise Broken(
            f"no pipeline is running on {data_dir}; start one with `tapeline up`, or name its folder by --data"
        )
    return {
        "mode": pipeline.mode,
        "pid": pipeline.pid,
        "services": {name: _service(url) for name, url in pipeline.health.items()},
        "streams": asyncio.run(_streams(pipeline, data_dir, log)),
        "tables": _tables(data_dir),
        "freshness": _freshness(data_dir),
        "gaps": _gaps(data_dir),
        "disk_free_bytes": shutil.disk_usage(data_dir).free,
    }


def _service(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{url}/status", timeout=5) as answer:
            found: dict[str, Any] = orjson.loads(answer.read())
            return found
    except (OSError, ValueError) as error:
        return {"ready": False, "error": str(error)}


async def _streams(pipeline: Pipeline, data_dir: Path, log: structlog.stdlib.BoundLogger) -> dict[str, Any]:
    settings = Settings.load(data_dir=data_dir, nats_url=pipeline.nats_url)
    try:
        bus = await asyncio.wait_for(connect(settings, "status", log, asyncio.Event()), 5)
    except (TimeoutError, Busy):
        return {}
    try:
        return {stream.name: await _stream(bus, stream) for stream in streams.STREAMS}
    except PipelineError:
        return {}
    finally:
        await bus.close()


async def _stream(bus: Any, stream: streams.Stream) -> dict[str, Any]:
    """Return a ring's fill, and in how many minutes at the pace so far its oldest message is discarded."""
    info = await bus.js.stream_info(stream.name)
    held = info.state.bytes
    size = info.config.max_bytes
    age_s = _age_s(info.state)
    minutes = (size - held) / (held / age_s) / 60 if held and age_s > 1 and held < size else None
    return {
        "messages": info.state.messages,
        "bytes": held,
        "max_bytes": size,
        "minutes_left": round(minutes) if minutes is not None else None,
    }


def _age_s(state: Any) -> float:
    first, last = getattr(state, "first_ts", None), getattr(state, "last_ts", None)
    if isinstance(first, datetime) and isinstance(last, datetime):
        return (last - first).total_seconds()
    if isinstance(first, str) and isinstance(last, str):
        return (datetime.fromisoformat(last[:19]) - datetime.fromisoformat(first[:19])).total_seconds()
    return 0.0


def _rows(data_dir: Path, query: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in sql.query(data_dir, query, "JSONEachRow").splitlines()]


def _tables(data_dir: Path) -> dict[str, dict[str, int]]:
    found = _rows(
        data_dir,
        "SELECT name, toUInt64(ifNull(total_rows, 0)) AS rows, toUInt64(ifNull(total_bytes, 0)) AS bytes "
        f"FROM system.tables WHERE database = '{tables.DATABASE}' AND engine LIKE '%MergeTree'",
    )
    known = {row["name"]: {"rows": int(row["rows"]), "bytes": int(row["bytes"])} for row in found}
    return {table.name: known[table.name] for table in tables.TABLES if table.name in known}


def _freshness(data_dir: Path) -> list[dict[str, Any]]:
    """Return per exchange, market and table the age of the newest row, in seconds of the exchange's clock."""
    parts = " UNION ALL ".join(
        f"SELECT exchange, market, '{table}' AS table, max(timestamp) AS newest FROM {tables.DATABASE}.{table} "
        "WHERE received_at > now() - INTERVAL 1 HOUR GROUP BY exchange, market"
        for table in FRESHNESS_TABLES
    )
    now = datetime.now(UTC)
    rows = _rows(data_dir, f"SELECT exchange, market, table, newest FROM ({parts}) ORDER BY exchange, market, table")
    for row in rows:
        newest = datetime.fromisoformat(row["newest"]).replace(tzinfo=UTC)
        row["age_s"] = round((now - newest).total_seconds(), 3)
    return rows


def _gaps(data_dir: Path) -> dict[str, int]:
    found = _rows(data_dir, f"SELECT status, count() AS gaps FROM {tables.DATABASE}.gap_detection_log GROUP BY status")
    return {row["status"]: int(row["gaps"]) for row in found}


def show(found: dict[str, Any], console: Console) -> None:
    """Print the screen."""
    console.print(f"tapeline, {found['mode']}, {found['disk_free_bytes'] / 1024**3:,.1f} GiB of disk free")
    services = _table("service", "ready", "pending", "detail")
    for name, status in found["services"].items():
        services.add_row(name, "yes" if status.get("ready") else "NO", _pending(status), _detail(name, status))
    console.print(services)
    rings = _table("stream", "messages", "MiB", "of MiB", "minutes left")
    for name, ring in found["streams"].items():
        left = ring["minutes_left"]
        rings.add_row(
            name,
            f"{ring['messages']:,}",
            f"{ring['bytes'] / 1024**2:,.1f}",
            f"{ring['max_bytes'] / 1024**2:,.0f}",
            f"{left:,}" if left is not None else "-",
        )
    console.print(rings)
    rows = _table("table", "rows", "KiB")
    for name, table in found["tables"].items():
        if table["rows"]:
            rows.add_row(name, f"{table['rows']:,}", f"{table['bytes'] / 1024:,.0f}")
    console.print(rows)
    fresh = _table("exchange", "market", "table", "newest row is old")
    for row in found["freshness"]:
        fresh.add_row(row["exchange"], row["market"], row["table"], f"{row['age_s']:,.1f} s")
    console.print(fresh)
    gaps = ", ".join(f"{count:,} {status}" for status, count in sorted(found["gaps"].items())) or "none"
    console.print(f"Gaps: {gaps}.")


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        left = name in ("service", "stream", "table", "exchange", "market", "detail", "ready")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    return table


def _pending(status: dict[str, Any]) -> str:
    values = [status[name] for name in ("pending_messages", "pending_rows", "outbox", "spooled") if name in status]
    return f"{sum(values):,}" if values else "-"


def _detail(name: str, status: dict[str, Any]) -> str:
    if "error" in status:
        return str(status["error"])
    if name == "collector":
        up = sum(connection.get("state") == "subscribed" for connection in status.get("connections", ()))
        return f"{status.get('received', 0):,} frames, {up} connections up, {status.get('symbols', 0)} symbols"
    if name == "storage-batcher":
        rows = sum(table.get("rows", 0) for table in status.get("tables", {}).values())
        return f"{rows:,} rows stored, {status.get('refused', 0):,} refused, ClickHouse {status.get('clickhouse')}"
    if name == "normaliser":
        partitions = status.get("partitions", {}).values()
        refused = sum(part["counts"]["refused"] for part in partitions)
        return f"{len(partitions)} partitions, {refused:,} frames refused"
    return ""
