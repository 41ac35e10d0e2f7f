"""Settings of the storage batcher, section `storage_batcher`."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from schemas.tables import BY_NAME, TABLES, Batch, Table
from services.shared.runtime.settings import Names, Settings


class StorageBatcherSettings(Settings):
    """Which tables this process fills, how large its batches are, and how patient it is."""

    SECTION: ClassVar[str] = "storage_batcher"

    tables: Names = Field((), description="Tables that this process fills; empty: all.")
    batch_rows: int | None = Field(None, ge=1, description="Rows that make a batch due; none: as each table declares.")
    batch_age_s: float | None = Field(None, gt=0, description="Age of the oldest row that makes a batch due, seconds.")
    batch_max_rows: int | None = Field(None, ge=1, description="Most rows in one batch, behind a backlog.")
    batch_max_bytes: int | None = Field(None, ge=1, description="Most bytes in one batch.")
    batch_spacing_s: float = Field(
        0.5, ge=0, description="Least time between two batches of a table that are due by rows: they grow instead."
    )
    memory_rows: int = Field(200_000, ge=1, description="Rows held in memory, all tables together; then reading waits.")
    memory_bytes: int = Field(128 * 1024**2, ge=1, description="Bytes held in memory, likewise.")
    read_window: int = Field(8_000, ge=1, description="Messages on their way from NATS at once.")
    inserts: int = Field(4, ge=1, description="Inserts that run at the same time, at most one per table.")
    insert_timeout_s: float = Field(60.0, gt=0, description="How long one insert may take before it is repeated.")
    retry_first_s: float = Field(0.2, gt=0, description="First pause when a server is away; it doubles from there.")
    retry_most_s: float = Field(10.0, gt=0, description="Longest pause when a server is away.")
    record_every_s: float = Field(5.0, gt=0, description="How often a table without rows records how far it has read.")
    takeover_s: float = Field(
        30.0, gt=0, description="How long the owner of a table must be silent before it is taken from it."
    )
    drain_s: float = Field(20.0, ge=0, description="How long a stop waits for what was read to be stored.")
    refused_run: int = Field(
        1_000, ge=1, description="Rows of one table refused without one stored between, after which the service stops."
    )

    @model_validator(mode="after")
    def _tables_exist(self) -> Self:
        unknown = sorted(set(self.tables) - set(BY_NAME))
        if unknown:
            raise ValueError(f"no such tables: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
        return self

    def owned(self) -> tuple[Table, ...]:
        """Return the tables that this process fills."""
        return tuple(table for table in TABLES if not self.tables or table.name in self.tables)

    def policy(self, table: Table) -> Batch:
        """Return when a batch of a table is due: as declared, or as set."""
        declared = table.batch
        return Batch(
            rows=self.batch_rows or declared.rows,
            age_s=self.batch_age_s or declared.age_s,
            max_rows=self.batch_max_rows or declared.max_rows,
            max_bytes=self.batch_max_bytes or declared.max_bytes,
        )
