"""Settings of the embedded ClickHouse service."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from services.shared.runtime.settings import Settings


class UserSettings(BaseModel):
    """One more user besides the services' own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password_env: str | None = Field(
        None, description="Environment variable that holds the password; none: no password."
    )
    readonly: bool = Field(False, description="Reads only: no insert, no DDL, no change of settings.")
    ddl: bool = Field(True, description="May make, change and drop tables and databases; off: rows only.")
    max_memory_usage: int | None = Field(None, gt=0, description="Memory of one query in bytes.")
    max_execution_time: int | None = Field(None, gt=0, description="Time of one query in seconds.")


class EmbeddedClickhouseSettings(Settings):
    """Where the engine listens, who may use it, and how much of the machine it may take."""

    SECTION: ClassVar[str] = "embedded_clickhouse"

    port: int = Field(8123, ge=0, le=65535, description="Port of the HTTP interface; 0: a free one.")
    users: dict[str, UserSettings] = Field(
        {}, description="More users by name (JSON in the environment). `clickhouse_user` exists always."
    )
    threads: int = Field(8, ge=2, le=256, description="Statements that run at the same time; more wait.")
    query_threads: int = Field(2, ge=1, le=256, description="Threads of one statement inside the engine.")
    memory_mb: int = Field(4096, ge=512, description="Memory of the engine, all statements and caches together, in MB.")
    cache_mb: int = Field(256, ge=16, description="Memory of the engine's mark and uncompressed caches, in MB.")
    merge_threads: int = Field(2, ge=1, le=64, description="Background merges at the same time.")
    stop_timeout_s: float = Field(
        60.0, gt=0, description="Time that running statements get when the service is stopped."
    )
