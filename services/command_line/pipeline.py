"""Where a running pipeline can be reached: written by `tapeline up` into its data directory, read by the others."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.errors import Broken

LOCK_NAME = "pipeline.lock"
FILE_NAME = "pipeline.json"


class Pipeline(msgspec.Struct, frozen=True):
    """A running pipeline's addresses: `health` maps a service to the base URL of its /status and /metrics."""

    pid: int
    nats_url: str
    clickhouse_url: str
    health: dict[str, str]
    mode: str

    def write(self, data_dir: Path) -> None:
        """Leave the addresses in the data directory, whole or not at all."""
        path = data_dir / FILE_NAME
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        temporary.replace(path)


@contextlib.contextmanager
def owned(data_dir: Path) -> Iterator[None]:
    """Own a data directory while the context is open. Raises Broken when it cannot be written or has an owner."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise Broken(
            f"data directory {data_dir} cannot be written ({error.strerror}); set TAPELINE_DATA_DIR or --data"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Broken(f"data directory {data_dir} is in use by another `tapeline up`") from None
        (data_dir / FILE_NAME).unlink(missing_ok=True)  # left by one that was killed: its addresses are nobody's now
        yield
        (data_dir / FILE_NAME).unlink(missing_ok=True)
    finally:
        os.close(handle)


def running(data_dir: Path) -> Pipeline | None:
    """Return the pipeline that runs on a data directory, or None when it is at rest."""
    lock = data_dir / LOCK_NAME
    if not lock.exists():
        return None
    with lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pass  # locked: somebody runs on it
        else:
            return None
    try:
        return msgspec.json.decode((data_dir / FILE_NAME).read_bytes(), type=Pipeline)
    except (OSError, msgspec.DecodeError):
        return None  # it is just starting
