"""`python -m services.embedded_clickhouse`: the ClickHouse HTTP interface over the embedded engine."""

from __future__ import annotations

import sys

from services.embedded_clickhouse.server import serve
from services.embedded_clickhouse.settings import EmbeddedClickhouseSettings
from services.shared.runtime.run import run


def main() -> int:
    """Run the service; return its exit status."""
    return run("embedded-clickhouse", EmbeddedClickhouseSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
