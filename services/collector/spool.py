"""Messages that wait on disk, in order, while NATS is away.

A spool is a folder of segments, appended to at the last and read from at the first; a segment is deleted when all of it
has been published. Each message is written whole with its length and CRC-32, so that a process that was killed leaves
at most a torn last message, which is cut off at the next start. What was written survives the process (not a power
failure: nothing is forced to the platters). A process that was killed while it published repeats at most one segment;
readers of RAW drop doubles by frame number.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from schemas.errors import Broken
from schemas.frames import RawMessage
from services.collector.outbox import Packed

SEGMENT_BYTES = 16 * 1024**2
_HEADER = struct.Struct("<III")
"""Length of what follows, its CRC-32 (begun with the number of frames), and the number of frames in it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, dict[str, str], bytes]).decode


class Cut(NamedTuple):
    """A segment whose end was not a whole message: what was cut off."""

    path: Path
    bytes: int


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int = 0
    read: int = 0
    """Bytes of it that have been read into memory."""
    popped: int = 0
    """Bytes of it that have been published."""


class Spool:
    """The messages on disk. One process per folder; raises Broken when another has it or it cannot be written."""

    def __init__(self, directory: Path, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open the folder: count what an earlier process left, and cut off what it could not finish."""
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, 1))
        self._segments: deque[_Segment] = deque()
        self._ahead: deque[tuple[Packed, int]] = deque()
        """Messages read but not yet popped, with their size on disk."""
        self._writer: BinaryIO | None = None
        self._reader: BinaryIO | None = None
        self._next = 1
        self.messages = 0
        self.frames = 0
        self.bytes = 0
        self.cuts: list[Cut] = []
        self.write_error: str | None = None
        """Why the last write failed, None if it did not."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = (directory / "lock").open("wb")
        except OSError as error:
            raise Broken(f"the spool folder {directory} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise Broken(f"another collector of this name uses {directory}; give one of them another name") from None
        for path in sorted(directory.glob("*.spool")):
            self._next = int(path.stem) + 1
            self._scan(path)

    def append(self, messages: Sequence[Packed]) -> int:
        """Write messages at the end; return how many of them there was room for."""
        taken = 0
        while taken < len(messages):
            written = self._write(messages[taken : taken + 256])
            if not written:
                break
            taken += written
        return taken

    def peek(self, most: int, most_bytes: int) -> list[Packed]:
        """Return the first messages; they stay until `pop`. Raises Broken when the disk gives back something else."""
        while len(self._ahead) < min(most, self.messages):
            self._read_on()
        batch: list[Packed] = []
        size = 0
        for packed, length in islice(self._ahead, most):
            size += length
            if batch and size > most_bytes:
                break
            batch.append(packed)
        return batch

    def pop(self, count: int) -> int:
        """Forget the first `count` messages, which were published; return how many frames they carried."""
        frames = 0
        for _ in range(count):
            if not self._ahead:
                self._read_on()
            packed, length = self._ahead.popleft()
            frames += packed.frames
            head = self._segments[0]
            head.popped += length
            if head.popped == head.size and (len(self._segments) > 1 or self.messages == 1):
                self._remove(head)
            self.messages -= 1
        self.frames -= frames
        return frames

    def close(self) -> None:
        """Let another process have the folder."""
        for file in (self._writer, self._reader, self._lock):
            if file is not None:
                file.close()

    def _scan(self, path: Path) -> None:
        segment = _Segment(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            while True:
                header = file.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    break
                length, crc, frames = _HEADER.unpack(header)
                if length > size - segment.size:
                    break
                payload = file.read(length)
                if len(payload) < length or zlib.crc32(payload, frames) != crc:
                    break
                segment.size += _HEADER.size + length
                self.messages += 1
                self.frames += frames
        if segment.size < size:
            os.truncate(path, segment.size)
            self.cuts.append(Cut(path, size - segment.size))
        if segment.size:
            self._segments.append(segment)
            self.bytes += segment.size
        else:
            path.unlink()

    def _write(self, messages: Sequence[Packed]) -> int:
        """Write what fits of a few messages, and at most one segment's worth, in one go; return how many."""
        pieces: list[bytes] = []
        size = frames = 0
        for packed in messages:
            payload = _encode(packed.message)
            if self.bytes + size + _HEADER.size + len(payload) > self._max_bytes:
                break
            pieces += (_HEADER.pack(len(payload), zlib.crc32(payload, packed.frames), packed.frames), payload)
            size += _HEADER.size + len(payload)
            frames += packed.frames
            if size >= self._segment_bytes:
                break
        if not pieces:
            return 0
        try:
            segment, writer = self._tail()
            written = writer.write(b"".join(pieces))
            if written < size:
                raise OSError(0, "the disk took only a part")
        except OSError as error:
            self.write_error = error.strerror
            self._give_up_tail()
            return 0
        self.write_error = None
        segment.size += size
        self.bytes += size
        self.messages += len(pieces) // 2
        self.frames += frames
        return len(pieces) // 2

    def _tail(self) -> tuple[_Segment, BinaryIO]:
        """Return the segment to append to: none left by an earlier process, and not a full one."""
        if self._writer is not None and self._segments and self._segments[-1].size < self._segment_bytes:
            return self._segments[-1], self._writer
        if self._writer is not None:
            self._writer.close()
        path = self._directory / f"{self._next:010d}.spool"
        self._next += 1
        self._writer = path.open("wb", buffering=0)
        assert self._writer is not None
        segment = _Segment(path)
        self._segments.append(segment)
        return segment, self._writer

    def _give_up_tail(self) -> None:
        """After a failed write: cut the segment back to what was whole and start another one next time."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._segments and not self._segments[-1].size:
            segment = self._segments.pop()
            segment.path.unlink(missing_ok=True)
        elif self._segments and self._segments[-1].path.stat().st_size > self._segments[-1].size:
            os.truncate(self._segments[-1].path, self._segments[-1].size)

    def _read_on(self) -> None:
        """Read one message more into memory."""
        segment = next(segment for segment in self._segments if segment.read < segment.size)
        if self._reader is None or self._reader.name != str(segment.path):
            if self._reader is not None:
                self._reader.close()
            self._reader = segment.path.open("rb")
        self._reader.seek(segment.read)
        header = self._reader.read(_HEADER.size)
        length, crc, frames = _HEADER.unpack(header) if len(header) == _HEADER.size else (0, 1, 0)
        payload = self._reader.read(length)
        if zlib.crc32(payload, frames) != crc:
            raise Broken(f"{segment.path} has changed on disk at byte {segment.read}: started again, it is cut there")
        segment.read += _HEADER.size + length
        subject, headers, body = _decode(payload)
        self._ahead.append((Packed(RawMessage(subject, headers, body), frames), _HEADER.size + length))

    def _remove(self, segment: _Segment) -> None:
        self._segments.popleft()
        self.bytes -= segment.size
        if not self._segments and self._writer is not None:
            self._writer.close()
            self._writer = None
        segment.path.unlink()
