"""`tapeline arbitrage backtest`: a span of the past through the core, compared with what was told then.

Writes JSON: the settings, what was counted, whether it equals the live signals, every opportunity, and what a given
capital would have made of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson
from pydantic import Field, field_validator

from schemas import records
from schemas.errors import PipelineError, SettingsError
from services.arbitrage_signal import stored
from services.arbitrage_signal.capital import Capital, CapitalRules
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.hindsight import as_told, compare, replayed
from services.arbitrage_signal.settings import ArbitrageSignalSettings, ByName
from services.arbitrage_signal.terms import SECOND
from services.shared.runtime import flags
from services.shared.runtime.clock import now_us
from services.shared.runtime.run import EXIT_BROKEN, EXIT_SETTINGS
from services.shared.runtime.warehouse import Warehouse

EXIT_INTERRUPTED = 130
"""As a shell has it of a program that Ctrl-C ended."""


class BacktestSettings(ArbitrageSignalSettings):
    """A span of the past, the signal's settings, and a capital to trade with."""

    span_from: datetime = Field(description="Beginning of the span, such as 2026-11-21T10:00:00; UTC unless it says.")
    span_to: datetime = Field(description="End of the span.")
    out: Path | None = Field(None, description="File for the result in JSON; none: only the summary is written.")
    balances: ByName = Field(
        {}, description='Money at each exchange at the beginning, {"binance": "10000"}; none: no capital is simulated.'
    )
    order_limit: str = Field("10000", description="Most money in one order.")
    position_limit: str = Field("50000", description="Most money bound at one exchange.")
    delay_s: float = Field(0.1, ge=0, description="From the signal to the fills, seconds.")
    transfer_s: float = Field(600.0, ge=0, description="Time that coins or money need between exchanges, seconds.")
    transfer_cost: str = Field("1", description="Cost of one transfer.")
    capital_rate: str = Field("0.05", description="Cost of the capital, share a year.")
    enter_on: Literal["open", "confirmed"] = Field("open", description="Which event of an opportunity is traded.")

    @field_validator("span_from", "span_to")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value

    def rules(self) -> CapitalRules:
        """Return the simulation's part of the settings."""
        return CapitalRules(
            balances=self.balances,
            order_limit=self.order_limit,
            position_limit=self.position_limit,
            delay_us=round(self.delay_s * SECOND),
            transfer_us=round(self.transfer_s * SECOND),
            transfer_cost=self.transfer_cost,
            capital_rate=self.capital_rate,
            enter_on=self.enter_on,
        )


async def backtest(
    settings: BacktestSettings, warehouse: Warehouse, now: int, reached: Callable[[float], None] = lambda share: None
) -> dict[str, Any]:
    """Return the result of a backtest, as JSON. Raises SpanRefused when what it needs is not there any more.

    `reached` hears now and then which share of the span is done.
    """
    begin, end = (_micros(moment) for moment in (settings.span_from, settings.span_to))
    if begin >= end:
        raise SettingsError(f"the span from {settings.span_from} to {settings.span_to} is empty")
    await stored.refuse_if_cut(warehouse, begin, now)
    core = ArbitrageCore(settings.terms())
    capital = Capital(core, settings.rules()) if settings.balances else None
    found: list[dict[str, Any]] = []
    async for record in replayed(warehouse, core, begin, end, reached):
        if capital is not None:
            capital.heard(record)
        if isinstance(record, records.ArbitrageOpportunity):
            found.append(as_told(record))
    live = await stored.signals(warehouse, "arbitrage_opportunities", begin, end)
    comparison = compare(live, found)
    return {
        "from": begin,
        "to": end,
        "counts": dict(core.counters),
        "compared": {
            "live": len(live),
            "same": comparison.same,
            "only_live": comparison.only_live,
            "only_hindsight": comparison.only_hindsight,
        },
        "opportunities": found,
        "capital": None if capital is None else msgspec.to_builtins(capital.result(begin, end)),
    }


def _micros(moment: datetime) -> int:
    return int(moment.replace(microsecond=0).timestamp()) * SECOND + moment.microsecond


def summary(result: dict[str, Any]) -> list[str]:
    """Return a few lines for a person."""
    events = [record["event"] for record in result["opportunities"]]
    compared = result["compared"]
    lines = [
        f"span       {stored.moment(result['from'])} to {stored.moment(result['to'])}",
        f"found      {events.count('open')} opportunities, {events.count('confirmed')} confirmed",
        f"live       {compared['live']} events: {compared['same']} the same, {len(compared['only_live'])} only live, "
        f"{len(compared['only_hindsight'])} only in hindsight",
    ]
    if (capital := result["capital"]) is not None:
        lines += [
            f"trades     {len(capital['trades'])}, missed {sum(capital['missed'].values())}",
            f"profit     {capital['profit']} on {capital['capital']}: {capital['return_percent']}%, "
            f"{capital['annualised_percent']}% a year, largest fall {capital['drawdown_percent']}%",
        ]
    return lines


async def _work(settings: BacktestSettings) -> dict[str, Any]:
    async with Warehouse.of(settings, timeout_s=600) as warehouse:
        return await backtest(settings, warehouse, now_us(), _show if sys.stderr.isatty() else lambda share: None)


def _show(share: float) -> None:
    """Say how far it is, on one line of a terminal."""
    sys.stderr.write(f"\r{share:.0%} ")
    sys.stderr.flush()


def main() -> int:
    """Run a backtest; exit status 0, 1 when it cannot be done, 2 when a setting is wrong, 130 on Ctrl-C."""
    try:
        settings = BacktestSettings.load(**flags.parse(BacktestSettings, "tapeline arbitrage backtest", sys.argv[1:]))
        result = asyncio.run(_work(settings))
    except SettingsError as error:
        sys.stderr.write(f"tapeline arbitrage backtest: {error}\n")
        return EXIT_SETTINGS
    except PipelineError as error:
        sys.stderr.write(f"tapeline arbitrage backtest: {error}\n")
        return EXIT_BROKEN
    except KeyboardInterrupt:
        sys.stderr.write("tapeline arbitrage backtest: stopped; nothing was written\n")
        return EXIT_INTERRUPTED
    if settings.out is not None:
        settings.out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    sys.stdout.write("\n".join(summary(result)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
