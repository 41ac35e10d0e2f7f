"""Outages: the collector away for a while, NATS cut while that is refilled; then every row beside the market's own."""

from benchmarks.outages.command import main

__all__ = ["main"]
