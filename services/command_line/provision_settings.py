"""Settings of `tapeline streams` and `tapeline migrate`: what is made on the servers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from schemas import accounts, streams, subjects
from services.shared.runtime.settings import Settings


class StreamsSettings(Settings):
    """What `tapeline streams` makes on the NATS server."""

    SECTION: ClassVar[str] = "streams"

    raw_bytes: int = Field(streams.RAW.max_bytes, ge=4 * 1024**2, description="Size of the RAW ring, bytes.")
    md_bytes: int = Field(streams.MD.max_bytes, ge=4 * 1024**2, description="Size of the MD ring, bytes.")
    replicas: int = Field(
        1, ge=1, le=5, description="Servers that keep each stream and bucket: 3 on a cluster, 1 on one server."
    )
    bots: dict[str, tuple[str, ...]] = Field(
        {}, description=f'Bots and what their durable consumers on MD hand out: {{"bot": ["{subjects.MD_ALL}"]}}.'
    )

    @field_validator("bots")
    @classmethod
    def _within_what_bots_hear(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        roots = tuple(heard.removesuffix(">") for heard in accounts.HEARD_BY_BOTS)
        for name, filters in value.items():
            subjects.token(name)
            if not filters or not all(subject.startswith(roots) for subject in filters):
                allowed = ", ".join(f"{root}..." for root in roots)
                raise ValueError(f"bot {name!r} asks for {list(filters)}; allowed are one or more of {allowed}")
        return value

    @property
    def ring_bytes(self) -> dict[str, int]:
        """The rings' sizes by name."""
        return {streams.RAW.name: self.raw_bytes, streams.MD.name: self.md_bytes}


class MigrateSettings(Settings):
    """What `tapeline migrate` makes on the ClickHouse server, or on the servers of a cluster."""

    SECTION: ClassVar[str] = "migrate"

    cluster: str | None = Field(
        None, description="Cluster whose servers get Replicated and Distributed tables; none: one server."
    )
