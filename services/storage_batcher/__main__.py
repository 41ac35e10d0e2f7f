"""`python -m services.storage_batcher`: run the storage batcher until it is told to stop."""

from __future__ import annotations

import sys

from services.shared.runtime.run import run
from services.storage_batcher.runner import serve
from services.storage_batcher.settings import StorageBatcherSettings


def main() -> int:
    """Run the service; return its exit status."""
    return run("storage-batcher", StorageBatcherSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
