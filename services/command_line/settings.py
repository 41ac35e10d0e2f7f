"""Settings of the pipeline on one machine (`tapeline up`)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from schemas import streams
from services.shared.runtime.settings import Names, Settings


class PipelineSettings(Settings):
    """What `tapeline up` starts, and where. A port of 0 means: any free one."""

    SECTION: ClassVar[str] = "up"

    nats_port: int = Field(4222, ge=0, le=65535, description="Port of the nats-server.")
    nats_monitor_port: int = Field(8222, ge=0, le=65535, description="Port of the nats-server's monitoring.")
    clickhouse_port: int = Field(8123, ge=0, le=65535, description="Port of ClickHouse's HTTP interface.")
    health_base_port: int = Field(
        8080, ge=0, le=65000, description="First of the services' health ports: collector, normaliser, and so on."
    )
    simulator_port: int = Field(0, ge=0, le=65535, description="Port of the exchange simulator, where one runs.")
    raw_bytes: int = Field(streams.RAW.max_bytes, ge=4 * 1024**2, description="Size of the RAW ring, bytes.")
    md_bytes: int = Field(streams.MD.max_bytes, ge=4 * 1024**2, description="Size of the MD ring, bytes.")
    exchanges: Names = Field(
        (), description="Exchanges to record; none named: all that are known, and of a replay all that it holds."
    )
    symbols: Names = Field((), description="Instruments such as BTC-USDT-PERP; none: the universe `starter`.")
    arbitrage: bool | None = Field(
        None, description="Whether the arbitrage signal runs; none: when two exchanges or more are named."
    )
    simulate: bool = Field(False, description="Generated markets in place of the exchanges.")
    replay: Path | None = Field(None, description="A folder of recorded sessions in place of the exchanges.")
    pace: float = Field(
        0.0, ge=0, description="Speed of a replay: 1 as recorded, 10 ten times that, 0 as fast as it is read."
    )
    stop_timeout_s: float = Field(30.0, gt=0, description="Longest wait for a service to drain at the end.")
