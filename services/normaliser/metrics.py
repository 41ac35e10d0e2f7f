"""The normaliser's metrics, each named once."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import Counter, Gauge, Histogram

from services.normaliser.desk import Counters

PUBLISHED = Counter("normaliser_messages_published_total", "Records, gaps and dead letters stored on the bus.")
OVERTAKEN = Counter("normaliser_partitions_overtaken_total", "Times another owner had published first.")
RESYNCS = Counter("normaliser_resyncs_asked_total", "Fresh books asked for.", ["exchange", "market"])
FRAMES = Counter("normaliser_frames_read_total", "Frames read, those read again after a restart among them.")
DUPLICATES = Counter("normaliser_frames_duplicate_total", "Frames and records dropped because they were there already.")
REFUSED = Counter("normaliser_frames_refused_total", "Frames that went to the dead letters.")
RECORDS = Counter("normaliser_records_made_total", "Records made, by kind.", ["kind"])
GAPS = Counter("normaliser_gaps_told_total", "Changes of state of gaps, by type.", ["gap_type"])
CROSSED = Counter("normaliser_books_crossed_total", "Books that were crossed, and so not published.")
UNPROVABLE = Counter("normaliser_books_unprovable_total", "Books whose top reached beyond what is known.")
AUDITS = Counter("normaliser_books_audited_total", "Books compared with a fresh snapshot, by verdict.", ["verdict"])
UNKNOWN_FIELDS = Counter(
    "normaliser_fields_unknown_total",
    "Fields seen that no parser was written for: samples, one a minute and stream.",
    ["exchange", "market", "channel"],
)
BOOKS_IN_STEP = Gauge("normaliser_books_in_step", "Books that are provably in step now.", ["partition"])
LATENCY = Histogram(
    "normaliser_latency_seconds",
    "From the receipt of the oldest frame of a batch to the acknowledgement of its records.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5, 1, 2, 5, 10, 60),
)
PENDING = Gauge("normaliser_messages_pending", "RAW messages that wait to be read.", ["partition"])

_PLAIN = (
    ("frames", FRAMES),
    ("duplicates", DUPLICATES),
    ("refused", REFUSED),
    ("crossed", CROSSED),
    ("unprovable", UNPROVABLE),
)


_NAMED: set[str] = set()
"""The unknown fields that this process has named in its log."""


class Meter:
    """Brings one partition's counters to the metrics; a core that is made anew starts to count from 0."""

    def __init__(self, part: int) -> None:
        self._part = f"{part:02d}"
        self._told: Tally[str] = Tally()

    def restart(self) -> None:
        """Say that the next counters begin at 0."""
        self._told.clear()

    def report(self, counters: Counters, pending: int) -> list[str]:
        """Add what was counted since the last report; return the unknown fields that were seen for the first time."""
        told = self._told
        for name, metric in _PLAIN:
            value = getattr(counters, name)
            metric.inc(value - told[name])
            told[name] = value
        for kind, value in counters.records.items():
            RECORDS.labels(kind).inc(value - told[f"record {kind}"])
            told[f"record {kind}"] = value
        for gap_type, value in counters.gaps.items():
            GAPS.labels(gap_type).inc(value - told[f"gap {gap_type}"])
            told[f"gap {gap_type}"] = value
        for verdict, value in counters.audits.items():
            AUDITS.labels(verdict).inc(value - told[f"audit {verdict}"])
            told[f"audit {verdict}"] = value
        BOOKS_IN_STEP.labels(self._part).set(counters.books_in_step)
        PENDING.labels(self._part).set(pending)
        new = []
        for name, value in counters.unknown_fields.items():
            exchange, market, channel, _ = name.split(" ", 3)
            UNKNOWN_FIELDS.labels(exchange, market, channel).inc(value - told[f"field {name}"])
            told[f"field {name}"] = value
            if name not in _NAMED:
                _NAMED.add(name)
                new.append(name)
        return new
