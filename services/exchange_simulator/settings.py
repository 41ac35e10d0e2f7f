"""Settings of the exchange simulator."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from services.shared.runtime.settings import Names, Settings


class SimulatorSettings(Settings):
    """What is simulated: a replay of recordings, or generated markets when `replay` is not given."""

    SECTION: ClassVar[str] = "exchange_simulator"

    port: int = Field(
        0, ge=0, le=65535, description="Port of the simulated exchanges; 0: a free one, see the port file."
    )
    tls: bool = Field(
        False, description="Also serve each market by wss:// and https://, on a port of its own; see its README."
    )
    exchanges: Names = Field((), description="Exchanges to simulate; none named: all that can be.")
    markets: Names = Field((), description="Markets to generate (spot, perp, ...); none named: all of each exchange.")
    ping_every_s: float | None = Field(
        None, gt=0, description="Seconds between ping frames; default: as each exchange has it."
    )
    pong_within_s: float | None = Field(
        None, gt=0, description="Seconds within which a pong is due; default: as each exchange has it."
    )

    replay: Path | None = Field(None, description="Folder of recordings to replay.")
    pace: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="1: the recorded pace, N: N times it, 0: as fast as it is read."
    )
    patience_s: float = Field(
        15.0, ge=0, description="At pace 0, seconds after which recorded streams that nobody asked for are given up."
    )

    symbols: Names = Field(("5",), description="Generated markets: how many assets, or which (BTC,ETH).")
    events_per_s: float = Field(
        200.0, gt=0, allow_inf_nan=False, description="Generated events per second, over all markets."
    )
    seed: int = Field(1, ge=0, description="Seed of the generated markets: same seed, same markets.")
    start_us: int | None = Field(
        None, ge=0, description="Market time of the first generated event, microseconds UTC; default: now."
    )
    duration_s: float | None = Field(None, gt=0, description="Seconds of generated market; default: endless.")
    ledger: bool = Field(True, description="Write the ledger of generated events (Parquet, in the data directory).")

    block_s: int | None = Field(
        None,
        ge=1,
        le=60,
        description="Seconds after which a generated market draws its price anew, a divisor of 60; default: 10 or 60, "
        "by activity.",
    )
    rehearsed: bool = Field(
        False,
        description="Prepare the whole run before any of it is sent: POST /simulator/prepare, then /simulator/start.",
    )
    mispricings: Names = Field(
        (), description="Windows of a price that is off, ASSET:exchange.market:percent:start:length in seconds."
    )

    faults_per_min: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Faults of each kind per exchange and minute; 0: only on order."
    )
    fault_kinds: Names = Field((), description="Which kinds of fault come by themselves; none named: all but listings.")

    @field_validator("block_s")
    @classmethod
    def _whole_minutes(cls, value: int | None) -> int | None:
        if value is not None and 60 % value:
            raise ValueError("allowed are divisors of 60: a minute's candle is made of whole blocks")
        return value
