"""Settings of the arbitrage signal, section `arbitrage_signal`; a run in hindsight takes the same."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from services.arbitrage_signal.exact import RATE_DIGITS, whole
from services.arbitrage_signal.fees import DEFAULT_FEES
from services.arbitrage_signal.terms import MEMORY_US, SECOND, Terms
from services.shared.runtime.settings import Names, Settings

_number = re.compile(r"\d{1,20}(\.\d{1,18})?").fullmatch
_rate = re.compile(r"-?0(\.\d{1,9})?").fullmatch
_different = re.compile(r"[^:=\s]+:[^:=\s]+(=[^:=\s]+)?").fullmatch
_MEMORY_S = MEMORY_US // SECOND


def _object(value: object) -> object:
    """Read a flag's text, which is JSON as in a variable."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"no JSON object: {error}") from None


ByName = Annotated[dict[str, str], BeforeValidator(_object)]
"""Values by name: a YAML mapping, or a JSON object in a variable or flag."""

ByNames = Annotated[dict[str, dict[str, str]], BeforeValidator(_object)]


class ArbitrageSignalSettings(Settings):
    """What counts as an opportunity, and what a trade costs."""

    SECTION: ClassVar[str] = "arbitrage_signal"

    sizes: Names = Field(
        ("100", "1000", "10000", "50000"), description="Trade sizes to walk the books with, in quote currency."
    )
    threshold_percent: Decimal = Field(
        Decimal("0.5"), ge=0, le=100, decimal_places=7, description="Least net spread of an opportunity, percent."
    )
    confirm_s: float = Field(5.0, gt=0, le=3600, description="How long an opportunity must last to be confirmed.")
    age_limit_s: float = Field(
        2.0, gt=0, le=_MEMORY_S / 2, description="Oldest quote or book, on the exchange's clock, that makes a signal."
    )
    update_s: float = Field(1.0, ge=0.01, description="Least time between two updates of an open opportunity.")
    spread_interval_s: float = Field(
        1.0, ge=0, description="Grid of the spreads told for charts, seconds; 0 tells none."
    )
    apart_percent: int = Field(
        20, ge=1, le=10_000, description="Pairs whose mid prices differ by more than this are taken for two coins."
    )
    suspend_s: float = Field(
        60.0,
        gt=0,
        lt=_MEMORY_S / 2,
        description="After so long apart a pair is suspended, until it was near for as long.",
    )
    clock_jump_s: float = Field(10.0, gt=0, description="A step of the receive clock that is taken for a jump.")
    fees: ByNames = Field(
        {}, description='Taker fees by tier, {"binance.spot": {"regular": "0.001"}}, beside or over the built-in ones.'
    )
    fee_tiers: ByName = Field({}, description='Your tier by exchange, {"okx": "vip1"}; `regular` where none is set.')
    comparable_quotes: Names = Field(
        ("USDT=USDC",), description="Groups of quote currencies taken to be worth the same, such as USDT=USDC=USD."
    )
    different_coins: Names = Field(
        (), description="One ticker, two coins: ABC:mexc=binance, or ABC:mexc for mexc's against all others."
    )

    @field_validator("sizes")
    @classmethod
    def _amounts(cls, value: Names) -> Names:
        for size in value:
            if not _number(size) or not Decimal(size):
                raise ValueError(f"{size!r} is no amount; allowed are plain numbers above 0")
        if not value or len({Decimal(size) for size in value}) != len(value):
            raise ValueError("allowed are different amounts, at least one")
        return tuple(sorted(value, key=Decimal))

    @field_validator("fees")
    @classmethod
    def _shares(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for market, tiers in value.items():
            for tier, fee in tiers.items():
                if not _rate(fee):
                    raise ValueError(f"fee {fee!r} of {market} {tier} is no share below 1 of at most 9 decimals")
        return value

    @field_validator("different_coins")
    @classmethod
    def _coins(cls, value: Names) -> Names:
        for item in value:
            if not _different(item):
                raise ValueError(f"{item!r} is neither ASSET:exchange=exchange nor ASSET:exchange")
        return value

    def terms(self) -> Terms:
        """Return the settings as the core takes them."""
        fees = {
            market: {**DEFAULT_FEES.get(market, {}), **self.fees.get(market, {})}
            for market in {**DEFAULT_FEES, **self.fees}
        }
        different = set()
        for item in self.different_coins:
            asset, _, exchanges = item.partition(":")
            one, _, other = exchanges.partition("=")
            different.add((asset, one, other))
        return Terms(
            sizes=self.sizes,
            threshold=whole(format(self.threshold_percent.normalize() / 100, "f"), RATE_DIGITS),
            confirm_us=_us(self.confirm_s),
            age_us=_us(self.age_limit_s),
            update_us=_us(self.update_s),
            spread_us=_us(self.spread_interval_s),
            apart_percent=self.apart_percent,
            suspend_us=_us(self.suspend_s),
            jump_us=_us(self.clock_jump_s),
            fees=fees,
            tiers=self.fee_tiers,
            comparable=tuple(tuple(group.split("=")) for group in self.comparable_quotes),
            different=frozenset(different),
        )


def _us(seconds: float) -> int:
    return round(seconds * SECOND)
