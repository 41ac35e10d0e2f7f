"""Settings of the collector."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from services.collector.universe import UniverseName, pattern
from services.shared.exchanges.registry import DEFAULT_EXCHANGES, MARKETS
from services.shared.runtime.settings import Names, Settings

GIB = 1024**3

_KEYS = {f"{exchange}.{market}" for exchange, market in MARKETS}
_NAMES: dict[str, set[str]] = {
    "exchanges": {exchange for exchange, _ in MARKETS},
    "compare": {exchange for exchange, _ in MARKETS},
    "markets": {market for _, market in MARKETS},
    "channels": {name for market in MARKETS.values() for name in (*market.channels, *market.polls)},
    "ws_urls": _KEYS,
    "rest_urls": _KEYS,
}
"""What the fields that name something may name."""


class CollectorSettings(Settings):
    """What is collected, from where, and what happens when a server is away."""

    SECTION: ClassVar[str] = "collector"

    name: str = Field(
        "collector-1", pattern=r"^[A-Za-z0-9_-]+$", description="Name of this collector; one process per name."
    )
    exchanges: Names = Field(DEFAULT_EXCHANGES, description="Exchanges to collect from.")
    markets: Names = Field((), description="Markets to collect (spot, perp, ...); none named: all of each exchange.")
    universe: UniverseName = Field(
        "starter",
        description="Which symbols: a few large ones (starter), every trading USDT perpetual (all-usdt-perpetuals), "
        "also each spot pair and perpetual whose asset two exchanges list (arbitrage), or those of `include` (none).",
    )
    include: Names = Field(
        (),
        description="Patterns of symbols besides the universe: <exchange>.<market>:<symbol>, binance.perp:*-USDC-PERP.",
    )
    exclude: Names = Field((), description="Patterns of symbols to leave out: *:1000*, okx.spot:*-EUR.")
    compare: Names = Field(
        (), description="Exchanges whose lists the universe `arbitrage` looks at besides those it collects from."
    )
    symbols: Names = Field(
        (),
        description="Symbols, not universe and patterns: ours (BTC-USDT-PERP) or the exchange's own "
        "(binance.perp:BTCUSDT).",
    )
    channels: Names = Field((), description="Channels and polls to collect; none named: those on by default.")

    ws_urls: dict[str, str] = Field(
        {}, description='WebSocket base address per market, {"binance.perp": "ws://..."}, instead of the exchange\'s.'
    )
    rest_urls: dict[str, str] = Field({}, description="REST base address per market, instead of the exchange's.")

    spool_bytes: int = Field(
        8 * GIB, ge=1024**2, description="Most bytes on disk for frames that wait while NATS is away."
    )
    memory_bytes: int = Field(
        128 * 1024**2, ge=65_536, description="Most bytes in memory for frames that wait; past it new ones are dropped."
    )
    gather_s: float = Field(
        0.005, ge=0, le=1, description="Seconds that frames are gathered before they are published."
    )

    ring_check_s: float = Field(
        5.0, gt=0, description="Seconds between looks at how near RAW is to discarding what no normaliser has read."
    )
    alive_every_s: float = Field(1.0, gt=0, description="Seconds after which a quiet partition is said to be alive.")
    silence_report_s: float = Field(30.0, gt=0, description="Seconds without data on a connection until it is said.")
    silence_timeout_s: float = Field(
        300.0, gt=0, description="Seconds without data, though pings are answered, until a connection is replaced."
    )
    dead_after_s: float = Field(10.0, gt=0, description="Seconds without any sign of life until a reconnect.")
    compression: bool = Field(
        True, description="Whether exchanges are offered to compress what they send (WebSocket's permessage-deflate)."
    )
    open_timeout_s: float = Field(10.0, gt=0, description="Seconds within which a connection must open.")
    ack_timeout_s: float = Field(10.0, gt=0, description="Seconds within which a subscription must be confirmed.")
    backoff_base_s: float = Field(0.5, gt=0, description="First wait before a reconnect; doubles with each failure.")
    backoff_cap_s: float = Field(60.0, gt=0, description="Longest wait before a reconnect.")
    overlap_s: float = Field(
        10.0, gt=0, description="Seconds a replaced connection stays when its successor delivers nothing yet."
    )

    instruments_every_s: float = Field(300.0, gt=0, description="Seconds between readings of the instrument lists.")
    clock_every_s: float = Field(
        60.0, ge=0, description="Seconds between questions for an exchange's time of day; 0: it is not asked."
    )
    budget: Literal["own", "ask"] = Field(
        "own",
        description="Whether this collector keeps the request budgets of its exchanges, or asks the one that does: one "
        "collector of an exchange keeps its budget for an address.",
    )
    request_share: float = Field(0.8, gt=0, le=1, description="Share of an exchange's own limits that is used.")
    request_timeout_s: float = Field(10.0, gt=0, description="Seconds within which a REST request must be answered.")
    polls: bool = Field(True, description="Whether REST statistics (open interest, ratios, ...) are polled.")
    audit_after_s: float = Field(
        20.0,
        ge=0,
        description="Seconds that a book has had its snapshot before it is first compared with another: on a quiet "
        "market the change by which it is known to be in step may take as long.",
    )

    @field_validator("exchanges", "compare", "markets", "channels", "ws_urls", "rest_urls")
    @classmethod
    def _known(cls, value: Names | dict[str, str], info: ValidationInfo) -> Names | dict[str, str]:
        allowed = _NAMES[info.field_name or ""]
        for name in value:
            if name not in allowed:
                raise ValueError(f"{name!r} does not exist; there are {', '.join(sorted(allowed))}")
        return value

    @field_validator("ws_urls", "rest_urls")
    @classmethod
    def _addresses(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        schemes = ("ws://", "wss://") if info.field_name == "ws_urls" else ("http://", "https://")
        for url in value.values():
            if not url.startswith(schemes):
                raise ValueError(f"{url!r} must begin with {' or '.join(schemes)}")
        return value

    @field_validator("include", "exclude")
    @classmethod
    def _patterns(cls, value: Names) -> Names:
        for text in value:
            pattern(text, MARKETS)
        return value

    @property
    def spool_dir(self) -> Path:
        """Where frames wait on disk."""
        return self.data_dir / "collector" / self.name / "spool"
