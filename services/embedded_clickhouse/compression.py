"""Compressed HTTP bodies: `Content-Encoding` of requests, taken apart as they arrive, and of responses."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame
import zstandard

from services.embedded_clickhouse.errors import CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD, QueryError

_PREFERENCE = ("zstd", "lz4", "gzip", "deflate")


class Decoder(Protocol):
    """Takes a compressed body apart, piece by piece."""

    def feed(self, data: bytes) -> bytes:
        """Return what the next piece stands for. Raises QueryError 271."""

    def finish(self) -> None:
        """Check that the body was whole. Raises QueryError 271."""


class _Plain:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> None:
        pass


_FRAMES: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    "deflate": zlib.decompressobj,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


class _Compressed:
    """Follows one compressed frame after another: a streaming client may send several."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._new = _FRAMES[encoding]
        self._frame = self._new()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        out = []
        try:
            while data:
                if self._frame.eof:
                    self._frame = self._new()
                self._begun = True
                out.append(self._frame.decompress(data))
                data = (self._frame.unused_data or b"") if self._frame.eof else b""
        except (zlib.error, RuntimeError, zstandard.ZstdError, EOFError) as error:
            raise QueryError(CANNOT_DECOMPRESS, f"Cannot decompress {self._encoding} body: {error}") from error
        return b"".join(out)

    def finish(self) -> None:
        if self._begun and not self._frame.eof:
            raise QueryError(CANNOT_DECOMPRESS, f"Cannot decompress {self._encoding} body: it ends in the middle")


def decoder(encoding: str) -> Decoder:
    """Return the decoder of a `Content-Encoding`. Raises QueryError 89 for one that is not supported."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Plain()
    if name not in _FRAMES:
        raise QueryError(
            UNKNOWN_COMPRESSION_METHOD, f"Unknown Content-Encoding {encoding!r}; known are {', '.join(_PREFERENCE)}"
        )
    return _Compressed(name)


def choose(accept: str) -> str | None:
    """Return the encoding to answer with, of those an `Accept-Encoding` names; None: as it is."""
    offered = set()
    for item in accept.split(","):
        name, _, weight = item.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0"):
            offered.add(name.strip().lower())
    return next((name for name in _PREFERENCE if name in offered), None)


def encode(encoding: str, data: bytes) -> bytes:
    """Return `data` as one frame of `encoding`."""
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=1).compress(data)
    if encoding == "lz4":
        return bytes(lz4.frame.compress(data))
    compressor = zlib.compressobj(level=3, wbits=zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    return compressor.compress(data) + compressor.flush()
