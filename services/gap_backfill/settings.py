"""Settings of the gap-backfill, section `gap_backfill`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from services.gap_backfill.patience import Patience
from services.gap_backfill.series import HOUR_US, SECOND_US, Ages
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.settings import Names, Settings


class GapBackfillSettings(Settings):
    """What is looked for, how far back and how often, and how patiently exchanges are asked."""

    SECTION: ClassVar[str] = "gap_backfill"

    name: str = Field("gap-backfill", min_length=1, description="What its answers on raw.> are called by.")
    exchanges: Names = Field((), description="Exchanges whose past may be asked for; none named: all.")
    history: bool = Field(True, description="Whether exchanges are asked at all; if not, gaps are only kept on record.")
    rest_urls: dict[str, str] = Field({}, description="REST base address per market, instead of the exchange's.")

    urgent_h: float = Field(1.0, gt=0, description="A gap that is younger than so many hours is urgent.")
    recent_h: float = Field(24.0, gt=0, description="A gap that is younger than so many hours is recent.")
    scan_every_h: float = Field(6.0, gt=0, description="Hours between two scans of the tables for missing rows.")
    scan_days: float = Field(7.0, gt=0, description="How many days back a scan looks, within each table's retention.")
    scan_again_s: float = Field(
        90.0, gt=0, description="Seconds after a start, or after servers were away, when the tables are scanned again."
    )
    call_pause_s: float = Field(0.05, ge=0, description="Least seconds between two calls to one exchange.")
    call_rows: int = Field(1_500, ge=1, description="Most rows asked for in one call, within the exchange's own limit.")
    request_timeout_s: float = Field(15.0, gt=0, description="How long one call may take.")
    retry_first_s: float = Field(1.0, gt=0, description="First pause after a failed call; it doubles from there.")
    retry_most_s: float = Field(600.0, gt=0, description="Longest pause after failed calls.")
    absent_tries: int = Field(3, ge=1, description="Answers without a missing row after which it is given up.")
    bad_tries: int = Field(6, ge=1, description="Unreadable answers in a row after which a gap is given up.")
    look_s: float = Field(0.5, gt=0, description="Seconds until a published row is first looked for in its table.")
    ring_check_s: float = Field(5.0, gt=0, description="Seconds between looks at how full RAW is.")

    @field_validator("rest_urls")
    @classmethod
    def _known_markets(cls, value: dict[str, str]) -> dict[str, str]:
        allowed = {f"{exchange}.{market}" for exchange, market in MARKETS}
        for name, url in value.items():
            if name not in allowed:
                raise ValueError(f"{name!r} does not exist; there are {', '.join(sorted(allowed))}")
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url!r} must begin with http:// or https://")
        return value

    @field_validator("exchanges")
    @classmethod
    def _known_exchanges(cls, value: Names) -> Names:
        allowed = {exchange for exchange, _ in MARKETS}
        for name in value:
            if name not in allowed:
                raise ValueError(f"{name!r} does not exist; there are {', '.join(sorted(allowed))}")
        return value

    def ages(self) -> Ages:
        """Return which ages have which priority."""
        return Ages(round(self.urgent_h * HOUR_US), round(self.recent_h * HOUR_US))

    def patience(self) -> Patience:
        """Return how long and how often something is tried again."""
        return Patience(
            first_us=round(self.retry_first_s * SECOND_US),
            most_us=round(self.retry_most_s * SECOND_US),
            absent_tries=self.absent_tries,
            bad_tries=self.bad_tries,
            look_us=round(self.look_s * SECOND_US),
        )
