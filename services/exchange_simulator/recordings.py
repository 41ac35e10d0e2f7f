"""Reads recorded exchange sessions: the line format of cryptofeed's sample data.

A session `X` is a set of files in one folder, each possibly compressed (`.gz`): `X.ws.N.0` holds one WebSocket
connection, `X.http.N.0` the REST answers given meanwhile, `X.0` the instrument lists fetched before and, as its last
line, which symbols were recorded. Nothing here knows what an exchange means by its payloads.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from schemas.errors import Broken

_SESSION_FILE = re.compile(r"(?P<session>.+?)\.(?P<part>ws\.\d+\.0|http\.\d+\.0|0)(\.gz)?")

_TIME = rb"(?P<time>\d{1,12}(?:\.\d{1,9})?)"
_RECEIVED = re.compile(_TIME + rb": (?P<payload>.*)", re.DOTALL)
_OPENED = re.compile(rb"(?P<url>wss?://\S+) <-> " + _TIME)
_SENT = re.compile(rb"(?P<url>wss?://\S+) <- " + _TIME + rb": (?P<payload>.*)", re.DOTALL)
_ANSWER = re.compile(rb"(?P<url>https?://\S+) -> " + _TIME + rb": (?P<payload>.*)", re.DOTALL)
_HEADER = re.compile(rb"(?P<payload>.*) header: (?P<header>\{.*\})", re.DOTALL)
_CONFIGURATION = b"configuration: "


class BadRecording(Broken):
    """A recording that cannot be replayed as it stands; the text names the file, the line, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One WebSocket frame the recorder received (or sent), at the recorder's clock in microseconds UTC."""

    at_us: int
    payload: bytes
    line: int


@dataclass(frozen=True, slots=True)
class Connection:
    """One recorded WebSocket connection. Receive times may repeat, and step back where lines were swapped by hand."""

    file: Path
    url: str
    opened_us: int
    sent: tuple[Frame, ...]
    received: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One answer to a GET of `url`, received at `at_us`."""

    file: Path
    line: int
    url: str
    at_us: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded session: its connections, the REST answers during it, and what was fetched before it."""

    name: str
    folder: Path
    connections: tuple[Connection, ...]
    answers: tuple[RecordedAnswer, ...]
    setup: tuple[RecordedAnswer, ...]
    configuration: dict[str, list[str]]
    """The recorder's channel name -> its names of the symbols recorded."""


def sessions(folder: Path) -> dict[str, Path]:
    """Find the recorded sessions: name -> the folder that holds it. Looks in `*/cryptofeed/` and in the folder itself.

    Raises BadRecording when there is no session at all, or one name twice.
    """
    found: dict[str, Path] = {}
    for file in sorted([*folder.glob("*/cryptofeed/*"), *folder.glob("*")]):
        match = _SESSION_FILE.fullmatch(file.name)
        if match is None or not match["part"].startswith("ws.") or not file.is_file():
            continue
        name = match["session"]
        if found.setdefault(name, file.parent) != file.parent:
            raise BadRecording(f"session {name} is recorded twice: in {found[name]} and in {file.parent}")
    if not found:
        raise BadRecording(
            f"no recorded session in {folder}: neither {folder}/*/cryptofeed/X.ws.N.0 nor {folder}/X.ws.N.0"
        )
    return found


def read(name: str, folder: Path) -> Recording:
    """Read one whole session. Raises BadRecording, naming file and line, for anything that is not in the format."""
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        match = _SESSION_FILE.fullmatch(file.name)
        if match is not None and match["session"] == name:
            if match["part"] in files:
                raise BadRecording(f"{file}: there is also {files[match['part']].name}")
            files[match["part"]] = file
    if "0" not in files:
        raise BadRecording(f"{folder}: session {name} has no file {name}.0 with its instrument lists")
    setup, configuration = _read_setup(files["0"])
    connections = tuple(_read_connection(file) for part, file in files.items() if part.startswith("ws."))
    answers = tuple(
        answer for part, file in files.items() if part.startswith("http.") for answer in _read_answers(file)
    )
    return Recording(name, folder, connections, answers, setup, configuration)


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines without their ends; blank lines are allowed at the end of the file only."""
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError) as error:
        raise BadRecording(f"{file}: cannot be read: {error}") from error
    lines = data.rstrip(b"\n").split(b"\n") if data.strip(b"\n") else []
    for number, line in enumerate(lines, 1):
        if not line:
            raise BadRecording(f"{file}:{number}: blank line before the end of the file")
        yield number, line


def _read_connection(file: Path) -> Connection:
    lines = _lines(file)
    number, line = next(lines, (1, b""))
    opened = _OPENED.fullmatch(line)
    if opened is None:
        raise _bad(file, number, line, "`wss://... <-> TIME`, the connection's opening, as the first line")
    sent: list[Frame] = []
    received: list[Frame] = []
    for number, line in lines:
        if match := _RECEIVED.fullmatch(line):
            received.append(Frame(_microseconds(match["time"]), match["payload"], number))
        elif match := _SENT.fullmatch(line):
            sent.append(Frame(_microseconds(match["time"]), match["payload"], number))
        else:
            raise _bad(file, number, line, "`TIME: PAYLOAD` or `wss://... <- TIME: PAYLOAD`")
    return Connection(file, opened["url"].decode(), _microseconds(opened["time"]), tuple(sent), tuple(received))


def _read_answers(file: Path) -> tuple[RecordedAnswer, ...]:
    return tuple(_answer(file, number, line) for number, line in _lines(file))


def _read_setup(file: Path) -> tuple[tuple[RecordedAnswer, ...], dict[str, list[str]]]:
    lines = list(_lines(file))
    number, last = lines[-1] if lines else (1, b"")
    if not last.startswith(_CONFIGURATION):
        raise _bad(file, number, last, "`configuration: {...}` as the last line")
    try:
        configuration = msgspec.json.decode(last.removeprefix(_CONFIGURATION), type=dict[str, list[str]])
    except msgspec.DecodeError as error:
        raise BadRecording(
            f"{file}:{number}: the configuration is not a map of channels to symbols: {error}"
        ) from error
    return tuple(_answer(file, number, line) for number, line in lines[:-1]), configuration


def _answer(file: Path, number: int, line: bytes) -> RecordedAnswer:
    match = _ANSWER.fullmatch(line)
    if match is None:
        raise _bad(file, number, line, "`https://... -> TIME: PAYLOAD`")
    payload = match["payload"]
    if with_header := _HEADER.fullmatch(payload):
        payload = with_header["payload"]
    return RecordedAnswer(file, number, match["url"].decode(), _microseconds(match["time"]), payload)


def _microseconds(seconds: bytes) -> int:
    """Turn decimal seconds into whole microseconds, digit by digit; a seventh decimal is cut off."""
    whole, _, decimals = seconds.partition(b".")
    return int(whole) * 1_000_000 + int(decimals[:6].ljust(6, b"0"))


def _bad(file: Path, number: int, line: bytes, expected: str) -> BadRecording:
    shown = line[:80].decode(errors="replace") + ("..." if len(line) > 80 else "")
    return BadRecording(f"{file}:{number}: expected {expected}; found {shown!r}")


def in_time_order(connections: Sequence[Connection]) -> list[tuple[Path, Frame]]:
    """Merge the received frames of several connections by receive time, with the file each comes from.

    Each connection keeps its own order: where its times step back, the latest time so far counts.
    """
    timed: list[tuple[int, int, int, Path, Frame]] = []
    for index, connection in enumerate(connections):
        latest = 0
        for frame in connection.received:
            latest = max(latest, frame.at_us)
            timed.append((latest, index, frame.line, connection.file, frame))
    timed.sort(key=lambda entry: entry[:3])
    return [(file, Frame(at_us, frame.payload, frame.line)) for at_us, _, _, file, frame in timed]
