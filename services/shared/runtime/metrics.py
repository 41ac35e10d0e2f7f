"""The metrics of every service: how full the disk is that it keeps its data on."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import Gauge

DISK_SIZE = Gauge("tapeline_disk_size_bytes", "Size of the file system of the data directory, bytes.")
DISK_AVAILABLE = Gauge("tapeline_disk_available_bytes", "What is left of it for us, bytes.")
DISK_USED = Gauge("tapeline_disk_used_ratio", "Share of it that is used, of what can be used, 0 to 1.")


def measure_disk(data_dir: Path) -> None:
    """Bring the gauges up to date. A folder that is not there yet stands on the disk of the nearest one that is."""
    folder = data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    used = found.f_blocks - found.f_bfree
    usable = used + found.f_bavail
    DISK_SIZE.set(found.f_blocks * found.f_frsize)
    DISK_AVAILABLE.set(found.f_bavail * found.f_frsize)
    DISK_USED.set(used / usable if usable else 1.0)
