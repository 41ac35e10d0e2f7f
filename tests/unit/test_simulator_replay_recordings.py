"""The line format of recordings: read strictly, refused by file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from services.exchange_simulator import recordings as reader
from services.exchange_simulator.recordings import BadRecording
from services.exchange_simulator.replay import build

WS = (
    b"wss://x/stream?streams=a@trade <-> 10.5\n"
    b'wss://x/stream <- 10.6: {"op":"subscribe"}\n'
    b'11.0000019: {"stream":"a@trade","data":{"t":": "}}\n'
    b'11: {"stream":"a@trade","data":{"t":2}}\n\n\n'
)
SETUP = b'https://x/api/v3/exchangeInfo -> 9.1: {"symbols":[]}\nconfiguration: {"trades":["A-B"]}\n'
HTTP = b'https://x/api/v3/depth?symbol=AB -> 12.25: {"lastUpdateId":1} header: {"H":"1"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "X.ws.1.0").write_bytes(WS)
    (tmp_path / "X.0.gz").write_bytes(gzip.compress(SETUP))
    (tmp_path / "X.http.0.0").write_bytes(HTTP)
    return tmp_path


def test_every_part_of_a_session_is_read(folder: Path) -> None:
    assert reader.sessions(folder) == {"X": folder}
    session = reader.read("X", folder)
    (connection,) = session.connections
    assert (connection.url, connection.opened_us) == ("wss://x/stream?streams=a@trade", 10_500_000)
    assert [(frame.at_us, frame.payload, frame.line) for frame in connection.sent] == [
        (10_600_000, b'{"op":"subscribe"}', 2)
    ]
    assert [(frame.at_us, frame.payload, frame.line) for frame in connection.received] == [
        (11_000_001, b'{"stream":"a@trade","data":{"t":": "}}', 3),
        (11_000_000, b'{"stream":"a@trade","data":{"t":2}}', 4),
    ]
    assert [frame.at_us for _, frame in reader.in_time_order([connection])] == [11_000_001, 11_000_001]
    assert [(answer.url, answer.at_us, answer.payload) for answer in session.answers] == [
        ("https://x/api/v3/depth?symbol=AB", 12_250_000, b'{"lastUpdateId":1}')
    ]
    assert [answer.payload for answer in session.setup] == [b'{"symbols":[]}']
    assert session.configuration == {"trades": ["A-B"]}


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("X.ws.1.0", b"11: {}\n", "X.ws.1.0:1: expected `wss://... <-> TIME`"),
        ("X.ws.1.0", b"", "X.ws.1.0:1: expected `wss://... <-> TIME`"),
        ("X.ws.1.0", b"wss://x <-> 1\n\n2: {}\n", "X.ws.1.0:2: blank line"),
        ("X.ws.1.0", b"wss://x <-> 1\n2 {}\n", "X.ws.1.0:2: expected `TIME: PAYLOAD`.*found '2 {}'"),
        ("X.ws.1.0", b"wss://x <-> 1\nyesterday: {}\n", "X.ws.1.0:2: expected"),
        ("X.http.0.0", b"https://x <- 1: {}\n", "X.http.0.0:1: expected `https://... -> TIME: PAYLOAD`"),
        ("X.0.gz", gzip.compress(b"https://x -> 1: {}\n", mtime=0), "X.0.gz:1: expected `configuration"),
        ("X.0.gz", gzip.compress(b'configuration: {"a":1}\n', mtime=0), "X.0.gz:1: the configuration is not a map"),
        ("X.0.gz", b"not gzip", "X.0.gz: cannot be read"),
        ("X.0", SETUP, "there is also X.0"),
    ],
)
def test_what_is_not_in_the_format_is_refused_by_file_and_line(folder: Path, file, content, complaint) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(BadRecording, match=complaint):
        reader.read("X", folder)


def test_folders_without_a_session_to_replay_are_refused(folder: Path, tmp_path_factory) -> None:
    with pytest.raises(BadRecording, match="no recorded session in"):
        reader.sessions(tmp_path_factory.mktemp("empty"))
    with pytest.raises(BadRecording, match=r"it holds X, and BINANCE, BINANCE_FUTURES, .*can be replayed"):
        build(folder, (), 0, 15)
    (folder / "X.0.gz").unlink()
    with pytest.raises(BadRecording, match=r"has no file X\.0"):
        reader.read("X", folder)


def test_real_sessions_are_found_and_all_are_spoken(recordings: Path) -> None:
    venues, left_out = build(recordings, (), 0, 15)
    assert left_out == ()
    assert not {"BINANCE", "BINANCE_FUTURES", "OKX"} & set(left_out)
    assert {(venue.exchange, venue.market): tuple(venue.symbols()) for venue in venues}.items() >= {
        ("binance", "spot"): ("NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"),
        ("binance", "perp"): ("SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"),
        ("okx", "spot"): ("BTC-USDT",),
        ("okx", "perp"): ("UNI-USD-SWAP",),
        ("okx", "future"): ("BTC-USD-220527",),
    }.items()
    with pytest.raises(BadRecording, match="no session of mexc"):
        build(recordings, ("mexc",), 0, 15)


def test_every_real_session_parses_to_the_counts_of_its_description(recordings: Path) -> None:
    counted = {
        name: [(len(connection.sent), len(connection.received)) for connection in reader.read(name, at).connections]
        for name, at in reader.sessions(recordings).items()
    }
    assert counted == {
        "BINANCE": [(0, 265)],
        "BINANCE_FUTURES": [(0, 1535)],
        "OKX": [(3, 410)],
        "DERIBIT": [(1, 136)],
        "GATEIO": [(22, 239)],
        "GATEIO_FUTURES": [(22, 450)],
        "BYBIT": [(16, 3342), (4, 1098)],
    }
