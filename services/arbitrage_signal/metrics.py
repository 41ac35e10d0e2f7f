"""The arbitrage signal's metrics, each named once."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import Counter, Gauge, Histogram

READ = Counter("arbitrage_signal_messages_read_total", "Records read from the bus.")
COUNTED = Counter(
    "arbitrage_signal_events_total", "What was told, and why records, instruments or pairs gave no signal.", ["reason"]
)
OVERTAKEN = Counter("arbitrage_signal_takeovers_total", "Times another process had published first.")
LATENCY = Histogram(
    "arbitrage_signal_latency_seconds",
    "From the receipt of the later quote to the published opportunity.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30),
)
OPEN = Gauge("arbitrage_signal_opportunities_open", "Opportunities that are open now.")
PAIRS = Gauge("arbitrage_signal_pairs", "Pairs of instruments that are compared.")
SUSPENDED = Gauge("arbitrage_signal_pairs_suspended", "Pairs whose prices are too far apart for too long.")
PENDING = Gauge("arbitrage_signal_messages_pending", "Records that wait to be read.")


class Meter:
    """Brings a core's counters to the metrics; a core that is made anew counts from 0."""

    def __init__(self) -> None:
        self._told: Tally[str] = Tally()

    def restart(self) -> None:
        """Say that the next counters begin at 0."""
        self._told.clear()

    def report(self, counters: Tally[str]) -> None:
        """Add what was counted since the last report."""
        for reason, count in counters.items():
            if count > self._told[reason]:
                COUNTED.labels(reason).inc(count - self._told[reason])
                self._told[reason] = count
