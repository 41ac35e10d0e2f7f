"""`tapeline backup` and `tapeline restore`: the tables into a folder, and back.

Through ClickHouse's HTTP interface alone, so that it does the same with the embedded engine and with a server. A full
backup reads every row; an incremental one asks for the content of each span and reads those that differ from the last
backup's. Whichever was interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import Broken
from services.command_line import backup_manifest as manifests
from services.command_line.backup_manifest import Content, Manifest, Piece, Span
from services.command_line.backup_source import Source

Tell = Callable[[int, int, str], None]
"""Called with how many pieces are done, of how many, and what was done last."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a backup or a restore did: pieces and rows there are in all, and those that had to be moved for it."""

    name: str
    pieces: int
    rows: int
    moved_pieces: int
    moved_bytes: int


async def backup(source: Source, folder: Path, *, incremental: bool, tell: Tell) -> Done:
    """Store every table in `folder`; return what was done.

    Raises Broken when an incremental backup has none to go on from, OSError when the folder cannot be written.
    """
    earlier = manifests.finished(folder)
    if incremental and not earlier:
        raise Broken(f"{folder} holds no finished backup to go on from; make a full one first (without --incremental)")
    known: dict[Span, Piece] = {}
    if incremental:
        known |= {piece.span: piece for piece in manifests.read(folder, earlier[-1]).pieces}
    name = manifests.interrupted(folder)
    if name is not None:
        known |= {piece.span: piece for piece in manifests.noted(folder, name)}
    else:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / manifests.JOURNAL).touch()
    columns = await source.columns()
    wanted = [found for table in columns for found in await source.spans(table)]
    pieces: list[Piece] = []
    moved: list[Piece] = []
    for number, (span, content) in enumerate(wanted, 1):
        piece = known.get(span)
        if piece is None or piece.content != content or not (folder / piece.file).exists():
            piece = await _store(source, folder, name, span)
            manifests.note(folder, name, piece)
            moved.append(piece)
        pieces.append(piece)
        tell(number, len(wanted), f"{span.table} {_day(span)}")
    based_on = earlier[-1] if incremental else None
    version = await source.version()
    manifests.seal(folder, Manifest(manifests.VERSION, name, based_on, version, columns, pieces))
    return _done(name, pieces, moved)


async def _store(source: Source, folder: Path, name: str, span: Span) -> Piece:
    data, content = await source.read(span)
    file = f"{name}/{span.table}/{_file_name(span)}"
    manifests.write_whole(folder / file, data)
    return Piece(span, content, file, manifests.digest(data), len(data))


def check(folder: Path, name: str | None, tell: Tell) -> Manifest:
    """Read every piece of a backup, the newest if none is named. Raises Broken naming each one that is damaged."""
    manifest = manifests.read(folder, name or _newest(folder))
    wrong: list[str] = []
    for number, piece in enumerate(manifest.pieces, 1):
        found = manifests.damaged(folder, piece)
        if found is not None:
            wrong.append(found)
        tell(number, len(manifest.pieces), piece.file)
    if wrong:
        raise Broken("; ".join(wrong))
    return manifest


async def restore(source: Source, folder: Path, name: str | None, tell: Tell) -> Done:
    """Put a backup's rows into tables that exist, and compare each span with what the backup says of it.

    Every piece is read and compared with its checksum before the first row goes in. A span that is there already is
    left alone, so that an interrupted restore goes on. Raises Broken when a piece is damaged, a table or column is
    missing, or a span of the target holds other rows than the backup's.
    """
    manifest = check(folder, name, lambda *_: None)
    _compare_columns(manifest, await source.columns())
    moved: list[Piece] = []
    for number, piece in enumerate(manifest.pieces, 1):
        if await _missing(source, piece):
            data = (folder / piece.file).read_bytes()
            await source.write(piece.span, manifest.columns[piece.span.table], data, f"restore/{piece.sha256}")
            found = await source.content(piece.span)
            if found != piece.content:
                where = f"table {piece.span.table} of {_day(piece.span)}"
                raise Broken(f"after the restore of {piece.file}, {where} {_differ(piece, found)}")
            moved.append(piece)
        tell(number, len(manifest.pieces), f"{piece.span.table} {_day(piece.span)}")
    return _done(manifest.name, manifest.pieces, moved)


async def _missing(source: Source, piece: Piece) -> bool:
    found = await source.content(piece.span)
    if found == piece.content:
        return False
    if found.rows:
        raise Broken(
            f"table {piece.span.table} holds other rows of {_day(piece.span)} than {piece.file}: it "
            f"{_differ(piece, found)}; restore into tables that are empty there"
        )
    return True


def _differ(piece: Piece, found: Content) -> str:
    rows = piece.content.rows
    return f"holds {found.rows} rows, not {rows}" if found.rows != rows else f"holds {rows} rows with other values"


def _compare_columns(manifest: Manifest, target: Mapping[str, Mapping[str, str]]) -> None:
    for table, columns in manifest.columns.items():
        if table not in target:
            raise Broken(f"there is no table {table} to restore into: run `tapeline migrate` first")
        for column, kind in columns.items():
            if target[table].get(column) != kind:
                found = target[table].get(column, "missing")
                raise Broken(f"column {table}.{column} is {kind} in the backup and {found} in the table")


def _newest(folder: Path) -> str:
    found = manifests.finished(folder)
    if not found:
        raise Broken(f"{folder} holds no finished backup")
    return found[-1]


def _done(name: str, pieces: list[Piece], moved: list[Piece]) -> Done:
    rows = sum(piece.content.rows for piece in pieces)
    return Done(name, len(pieces), rows, len(moved), sum(piece.bytes for piece in moved))


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC)


def _day(span: Span) -> str:
    return (
        f"{_time(span.begin):%Y-%m-%d}"
        if span.end - span.begin == 86_400_000_000
        else f"{_time(span.begin):%Y-%m-%d %H:%M:%S}"
    )


def _file_name(span: Span) -> str:
    return f"{_time(span.begin):%Y-%m-%dT%H%M%S}-{(span.end - span.begin) // 1_000_000}s.parquet"
