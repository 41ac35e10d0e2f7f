"""The normaliser's metrics, each named once."""

from __future__ import annotations

from prometheus_client import Counter

PUBLISHED = Counter("normaliser_records_published_total", "Records, gaps and dead letters stored on the bus.")
OVERTAKEN = Counter("normaliser_partitions_overtaken_total", "Times another owner had published first.")
RESYNCS = Counter("normaliser_resyncs_asked_total", "Fresh books asked for.", ["exchange", "market"])
