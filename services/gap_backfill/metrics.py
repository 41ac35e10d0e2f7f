"""The gap-backfill's metrics, each named once."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CALLS = Counter("gap_backfill_calls_made_total", "Calls for history made.", ["exchange", "market", "name"])
FAILED = Counter("gap_backfill_calls_failed_total", "Calls that brought nothing.", ["exchange", "market", "name"])
BROUGHT = Counter("gap_backfill_rows_brought_total", "Missing rows that answers held.", ["exchange", "market", "kind"])
FOUND = Counter("gap_backfill_gaps_found_total", "Gaps found in the tables.", ["exchange", "market", "kind"])
CLOSED = Counter("gap_backfill_gaps_closed_total", "Gaps closed, by how they ended.", ["status"])
OPEN = Gauge("gap_backfill_gaps_open", "Gaps that are not closed now, by priority.", ["priority"])
