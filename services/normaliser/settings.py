"""Settings of the normaliser."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from schemas.subjects import PARTITIONS
from services.normaliser.windows import length_us
from services.shared.runtime.settings import Names, Settings


def _ranges(value: object) -> object:
    """Read `0-7,12` as partitions 0 to 7 and 12."""
    if not isinstance(value, str):
        return value
    found: list[int] = []
    for part in value.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ValueError("allowed are numbers and ranges such as 0-7,12")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


Partitions = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_ranges)]


class NormaliserSettings(Settings):
    """What a normaliser owns and how it works."""

    SECTION: ClassVar[str] = "normaliser"

    partitions: Partitions = Field(
        tuple(range(PARTITIONS)),
        description="RAW partitions this process owns, such as 0-7: several normalisers share the work by owning some.",
    )
    book_depth: int = Field(20, ge=1, le=5000, description="Levels a side of the order books that are published.")
    book_interval_s: float = Field(1.0, ge=0.1, le=3600, description="Grid of the published order books, seconds.")
    candle_intervals: Names = Field(
        (), description="Candles built from those of a minute, besides 5m, 30m, 4h and 1d: such as 3m,2h."
    )
    save_every_s: float = Field(
        60.0, gt=0, description="Every book is saved about this often, staggered; a restart re-reads RAW from there."
    )
    gather_s: float = Field(
        0.01, ge=0, le=1, description="Seconds that records of all partitions are gathered before they are published."
    )
    ring_check_s: float = Field(
        5.0, gt=0, description="Seconds between looks at how near MD is to discarding what is not in its table yet."
    )
    window: int = Field(2_000, ge=10, le=100_000, description="RAW messages a partition may have on their way.")

    @field_validator("candle_intervals")
    @classmethod
    def _divide_a_day(cls, value: Names) -> Names:
        for interval in value:
            length_us(interval)
        return value

    @field_validator("partitions")
    @classmethod
    def _within(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) != len(value) or not all(0 <= part < PARTITIONS for part in value):
            raise ValueError(f"allowed are different numbers from 0 to {PARTITIONS - 1}, at least one")
        return value
