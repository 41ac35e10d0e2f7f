"""The collector's metrics, each declared once."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

FRAMES_RECEIVED = Counter("collector_frames_received", "Data frames received.", ["exchange", "market"])
FRAMES_UNKNOWN = Counter(
    "collector_frames_unknown", "Frames that no stream asked for explains.", ["exchange", "market"]
)
FRAMES_PUBLISHED = Counter("collector_frames_published", "Frames that NATS has acknowledged, session events included.")
FRAMES_SPOOLED = Counter("collector_frames_spooled", "Frames written to the spool on disk.")
FRAMES_DROPPED = Counter("collector_frames_dropped", "Data frames lost because memory and spool were full.")
BATCHES_REFUSED = Counter("collector_batches_refused", "Batches that NATS did not acknowledge; they are sent again.")
OUTBOX_BYTES = Gauge("collector_outbox_bytes", "Bytes that wait in memory.")
SPOOL_BYTES = Gauge("collector_spool_bytes", "Bytes of the spool on disk.")
CONNECTIONS_OPENED = Counter("collector_connections_opened", "Connections opened.", ["exchange", "market"])
CONNECTIONS_CLOSED = Counter("collector_connections_closed", "Connections ended.", ["exchange", "market"])
REQUESTS_SENT = Counter("collector_requests_sent", "REST requests sent.", ["exchange", "market", "name"])
REQUESTS_FAILED = Counter(
    "collector_requests_failed", "REST requests without a usable answer.", ["exchange", "market", "name"]
)
CLOCK_OFFSET = Gauge(
    "collector_clock_offset_seconds", "The exchange's clock less ours, as best known.", ["exchange", "market"]
)
BUDGET_WAITING = Gauge("collector_budget_waiting", "Requests that wait for leave.", ["exchange", "pool"])
BUDGET_USED = Gauge(
    "collector_budget_used_ratio",
    "Share of what we allow ourselves of a limit that is used.",
    ["exchange", "pool", "limit"],
)
