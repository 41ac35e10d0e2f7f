"""How full the disk is that a service keeps its data on: a metric of every service."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import Gauge

SIZE = Gauge("tapeline_disk_size_bytes", "Size of the file system of the data directory, bytes.")
AVAILABLE = Gauge("tapeline_disk_available_bytes", "What is left of it for us, bytes.")
USED = Gauge("tapeline_disk_used_ratio", "Share of it that is used, of what can be used, 0 to 1.")


def measure(data_dir: Path) -> None:
    """Bring the gauges up to date. A folder that is not there yet stands on the disk of the nearest one that is."""
    folder = data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    used = found.f_blocks - found.f_bfree
    usable = used + found.f_bavail
    SIZE.set(found.f_blocks * found.f_frsize)
    AVAILABLE.set(found.f_bavail * found.f_frsize)
    USED.set(used / usable if usable else 1.0)
