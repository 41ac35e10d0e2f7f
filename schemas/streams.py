"""The JetStream streams and key-value buckets: which subjects they keep, how large, for how long."""

from __future__ import annotations

from dataclasses import dataclass

from schemas import subjects

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream on file that discards its oldest messages when it is full (a ring)."""

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    description: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A key-value bucket that keeps the latest value of each key."""

    name: str
    max_bytes: int
    description: str


RAW = Stream(
    name="RAW",
    subjects=(subjects.RAW_ALL,),
    max_bytes=8 * GIB,
    description="Frames as the exchanges sent them, and what happened to connections.",
)

MD = Stream(
    name="MD",
    subjects=(
        subjects.MD_ALL,
        subjects.SIGNAL_ALL,
        subjects.GAP_ALL,
        subjects.DEAD_ALL,
        subjects.CHECKPOINT_ALL,
    ),
    max_bytes=16 * GIB,
    description="Records, signals, gaps and refused messages, with the normaliser's checkpoints among them.",
)

STREAMS = (RAW, MD)

BATCHES = Bucket(
    name="batches",
    max_bytes=64 * 1024**2,
    description="Per slice of the storage-batcher: the bounds of the batch it is writing and how far it has come.",
)

BOOKS = Bucket(
    name="books",
    max_bytes=2 * GIB,
    description="Per instrument, the normaliser's saved state with the RAW sequence it is true at.",
)

BUCKETS = (BATCHES, BOOKS)
