"""`python -m benchmarks alerts`: each alert fires on its fault in running services, is silent before, and clears."""

from __future__ import annotations

from benchmarks.alerts.run import main

__all__ = ["main"]
