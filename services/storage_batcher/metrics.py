"""The metrics of the storage batcher, each named once."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from schemas.tables import TABLES

ROWS = Counter("storage_batcher_rows_total", "Rows stored by this process.", ["table"])
BATCHES = Counter("storage_batcher_batches_total", "Batches stored by this process.", ["table"])
BYTES = Counter("storage_batcher_bytes_total", "Bytes of the rows stored by this process.", ["table"])
REFUSED = Counter("storage_batcher_refused_rows_total", "Rows refused and published as dead letters.", ["table"])
ISOLATIONS = Counter("storage_batcher_refused_batches_total", "Batches that held a row ClickHouse refused.", ["table"])
RETRIES = Counter("storage_batcher_retries_total", "Attempts that failed and are repeated.", ["stage", "error"])
OVERTAKEN = Counter("storage_batcher_overtaken_total", "Times another process took a table over.", ["table"])
LOST = Counter(
    "storage_batcher_lost_messages_total", "Messages, at most, that the ring discarded before they were read."
)
UNKNOWN = Counter("storage_batcher_unknown_messages_total", "Messages of a kind that has no table.", ["kind"])
INSERT_SECONDS = Histogram(
    "storage_batcher_insert_seconds",
    "How long an insert took.",
    ["table"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
PENDING_ROWS = Gauge("storage_batcher_pending_rows", "Rows in memory, waiting or on their way.")
PENDING_MESSAGES = Gauge("storage_batcher_pending_messages", "Messages in MD that are not in the tables yet, about.")
LAG = Gauge("storage_batcher_lag_messages", "MD sequences between a table and the stream's end.", ["table"])
CLICKHOUSE_UP = Gauge("storage_batcher_clickhouse_up", "1 while ClickHouse answers, else 0.")

# Prometheus sees a counter rise only where it was there before: these are rare, and each one matters.
for _table in TABLES:
    REFUSED.labels(_table.name)
