"""What a backup says of itself: its pieces, what each holds and its checksum.

A folder of backups holds one folder per backup, named by the time it was begun. A piece is the rows of one table and
one span of time, a Parquet file. A backup's `manifest.json` lists all of its pieces, those of earlier backups that it
refers to among them, so that one manifest is enough to restore. It is written last: a folder without one was
interrupted, and its `journal.jsonl` says which pieces are whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.errors import Broken

MANIFEST = "manifest.json"
JOURNAL = "journal.jsonl"
VERSION = 1


class Content(msgspec.Struct, frozen=True):
    """What a set of rows is: how many, and the sum of their hashes modulo 2^64, in no order."""

    rows: int
    sum: int


class Span(msgspec.Struct, frozen=True):
    """Rows of `table` with `begin` <= timestamp < `end`, microseconds UTC."""

    table: str
    begin: int
    end: int


class Piece(msgspec.Struct, frozen=True):
    """One file: its path from the folder of backups, its SHA-256, and what it holds."""

    span: Span
    content: Content
    file: str
    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """A whole backup. `columns` are names and ClickHouse types by table; `based_on` the backup it goes on from."""

    version: int
    name: str
    based_on: str | None
    server: str
    columns: dict[str, dict[str, str]]
    pieces: list[Piece]


class _Sealed(msgspec.Struct, frozen=True):
    """A manifest as it is stored: with the SHA-256 of its own text, since a flipped digit in it would go unseen."""

    sha256: str
    manifest: msgspec.Raw


_decode_sealed = msgspec.json.Decoder(_Sealed).decode
_decode_manifest = msgspec.json.Decoder(Manifest).decode
_decode_piece = msgspec.json.Decoder(Piece).decode


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)


def seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a backup that is complete; its journal has done its work."""
    text = msgspec.json.encode(manifest)
    sealed = _Sealed(digest(text), msgspec.Raw(text))
    write_whole(folder / manifest.name / MANIFEST, msgspec.json.encode(sealed))
    (folder / manifest.name / JOURNAL).unlink(missing_ok=True)


def read(folder: Path, name: str) -> Manifest:
    """Return a backup's manifest. Raises Broken naming the file when it is not there or damaged."""
    path = folder / name / MANIFEST
    try:
        sealed = _decode_sealed(path.read_bytes())
        text = bytes(sealed.manifest)
        if digest(text) != sealed.sha256:
            raise Broken(f"{path} is damaged: its checksum is {digest(text)}, not {sealed.sha256}", path=str(path))
        manifest = _decode_manifest(text)
    except FileNotFoundError:
        raise Broken(f"{folder / name} is no finished backup: there is no {path}", path=str(path)) from None
    except msgspec.DecodeError as error:
        raise Broken(f"{path} is damaged: {error}", path=str(path)) from None
    if manifest.version != VERSION:
        raise Broken(f"{path} has version {manifest.version}; this program reads {VERSION}", path=str(path))
    return manifest


def finished(folder: Path) -> list[str]:
    """Return the names of the finished backups in a folder, oldest first."""
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))


def interrupted(folder: Path) -> str | None:
    """Return the name of the newest backup that was begun and not finished, if it is newer than every finished one."""
    begun = sorted(path.parent.name for path in folder.glob(f"*/{JOURNAL}"))
    done = finished(folder)
    return begun[-1] if begun and (not done or begun[-1] > done[-1]) else None


def note(folder: Path, name: str, piece: Piece) -> None:
    """Put a piece that is whole into the journal."""
    with (folder / name / JOURNAL).open("ab") as journal:
        journal.write(msgspec.json.encode(piece) + b"\n")


def noted(folder: Path, name: str) -> Iterator[Piece]:
    """Return the pieces of an interrupted backup; a last line that was cut short is left out."""
    for line in (folder / name / JOURNAL).read_bytes().splitlines():
        try:
            yield _decode_piece(line)
        except msgspec.DecodeError:
            return


def damaged(folder: Path, piece: Piece) -> str | None:
    """Return what is wrong with a piece's file, or None."""
    path = folder / piece.file
    try:
        found = digest(path.read_bytes())
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if found != piece.sha256:
        return f"{path} is damaged: its checksum is {found}, not {piece.sha256}"
    return None
