"""The recorded session of Bybit's withdrawn v2 through the core: every record equal to its frame, read here anew."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from schemas import frames as raw_frames
from schemas import subjects
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from services.normaliser.core import PartitionCore
from services.shared.exchanges.bybit_v2 import BYBIT_V2
from services.shared.exchanges.declaration import Listing, Pong, Reply, StreamName
from tests.extra_frames import NESTED
from tests.normaliser_rig import plain

KEY = ("bybit_v2", "perp")
LINEAR = ("BCHUSDT", "XTZUSDT", "UNIUSDT", "LTCUSDT", "DOTUSDT", "LINKUSDT", "ADAUSDT", "ETHUSDT")
INVERSE = ("EOSUSD", "BTCUSD")
CHANNELS = {"trade": "trades", "orderBookL2_25": "depth"}
EXACT = Context(prec=80)


def ours(name: str) -> str:
    quote = "USDT" if name in LINEAR else "USD"
    return f"{name.removesuffix(quote)}-{quote}-PERP"


@dataclass(frozen=True)
class Frame:
    path: str
    received_at: int
    body: bytes

    @cached_property
    def told(self) -> dict[str, Any]:
        """The JSON with every number as the text that was sent."""
        found: dict[str, Any] = json.loads(self.body, parse_float=str, parse_int=str)
        return found

    @property
    def topic(self) -> tuple[str, str]:
        channel, _, name = str(self.told.get("topic", "")).partition(".")
        return channel, name


def recorded(recordings: Path) -> list[Frame]:
    folder = recordings / "bybit" / "cryptofeed"
    found = []
    for path, text in (
        ("linear", gzip.decompress((folder / "BYBIT.ws.25.0.gz").read_bytes()).decode()),
        ("inverse", (folder / "BYBIT.ws.26.0").read_text()),
    ):
        for line in text.splitlines():
            stamp, _, body = line.partition(": ")
            if body and not line.startswith("wss"):
                found.append(Frame(path, round(float(stamp) * 1_000_000), body.encode()))
    return found


def symbols(recordings: Path) -> bytes:
    line = (recordings / "bybit" / "cryptofeed" / "BYBIT.0").read_text().splitlines()[0]
    return line.split(": ", 1)[1].encode()


def raw(channel: str, symbol: str, body: bytes, connection: str, number: int, received_at: int) -> RawFrame:
    origin = "rest" if channel == "instruments" else "ws"
    return RawFrame(*KEY, channel, symbol, "c1", connection, number, received_at, origin, body)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def session(recordings: Path) -> list[Frame]:
    return [frame for frame in recorded(recordings) if "topic" in frame.told]


@pytest.fixture(scope="module")
def told(recordings: Path, session: list[Frame]) -> dict[str, list[dict[str, Any]]]:
    """What sixteen cores make of the session, by kind; in order of the frames."""
    cores = [PartitionCore(part, {KEY: BYBIT_V2}) for part in range(subjects.PARTITIONS)]
    began = session[0].received_at
    filed = [(part, raw("instruments", "_all", symbols(recordings), "R", 1, began - 1)) for part in range(len(cores))]
    numbers: Counter[str] = Counter()
    for frame in session:
        numbers[frame.path] += 1
        channel, name = frame.topic
        filed.append(
            (
                subjects.partition(*KEY, ours(name)),
                raw(CHANNELS[channel], ours(name), frame.body, frame.path, numbers[frame.path], frame.received_at),
            )
        )
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for sequence, (part, item) in enumerate(filed, 1):
        for output in cores[part].process(sequence, *raw_frames.message(item, part)):
            record = plain(output)
            found[record.pop("_to").removeprefix("md.")].append(record)
    return found


def base(name: str, size: str, price: str) -> str:
    """A size in base currency: as it is where contracts are linear, worked out anew where they are US dollars."""
    if name in LINEAR:
        return size
    exact = EXACT.divide(Decimal(size), Decimal(price)).quantize(Decimal("1e-18"), ROUND_HALF_EVEN, EXACT)
    text = format(exact, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def test_as_many_records_as_the_session_holds(told: dict[str, list[dict[str, Any]]]) -> None:
    assert len(told["book_change"]) == 3252 + 1016
    assert len(told["trade"]) == 251, "fills in 142 frames"
    assert len(told["instrument"]) == 13
    assert all(item["in_step"] for item in told["book_change"])
    assert told["gap"] == told["dead.normaliser"] == []


def test_every_trade_equals_its_frame(session: list[Frame], told: dict[str, list[dict[str, Any]]]) -> None:
    expected = []
    for frame in session:
        for row in frame.told["data"] if frame.topic[0] == "trade" else ():
            name = frame.topic[1]
            item = {
                "exchange": "bybit_v2",
                "market": "perp",
                "symbol": ours(name),
                "timestamp": int(row["trade_time_ms"]) * 1000,
                "timestamp_source": "match",
                "received_at": frame.received_at,
                "source": "live",
                "price": row["price"],
                "quantity": base(name, row["size"], row["price"]),
                "side": row["side"].lower(),
                "trade_id": row["trade_id"],
            }
            expected.append(item if name in LINEAR else item | {"contracts": row["size"]})
    assert told["trade"] == expected


def levels(name: str, rows: list[dict[str, str]], side: str) -> list[list[str]]:
    found = []
    for row in rows:
        if row["side"] == side:
            size = row.get("size", "0")
            found.append([row["price"], base(name, size, row["price"]), *([] if name in LINEAR else [size])])
    return found


def test_every_book_change_equals_its_frame(session: list[Frame], told: dict[str, list[dict[str, Any]]]) -> None:
    expected = []
    for frame in session:
        if frame.told.get("type") != "delta":
            continue
        data, name, at = frame.told["data"], frame.topic[1], int(frame.told["timestamp_e6"])
        rows = [*data["delete"], *data["update"], *data["insert"]]
        expected.append(
            {
                "exchange": "bybit_v2",
                "market": "perp",
                "symbol": ours(name),
                "timestamp": at,
                "timestamp_source": "push",
                "received_at": frame.received_at,
                "source": "live",
                "first_sequence": int(frame.told["cross_seq"]),
                "last_sequence": int(frame.told["cross_seq"]),
                "bids": levels(name, rows, "Buy"),
                "asks": levels(name, rows, "Sell"),
                "in_step": True,
                "sent_at": at,
            }
        )
    assert told["book_change"] == expected


def test_every_published_book_is_the_recorded_one(session: list[Frame], told: dict[str, list[dict[str, Any]]]) -> None:
    books: dict[str, dict[str, dict[Decimal, list[str]]]] = {}
    states: dict[tuple[str, int], tuple[list[list[str]], list[list[str]]]] = {}
    for frame in session:
        channel, name = frame.topic
        if channel == "trade":
            continue
        data = frame.told["data"]
        if frame.told["type"] == "snapshot":
            books[name] = {"Buy": {}, "Sell": {}}
            rows = data if name in INVERSE else data["order_book"]
        else:
            rows = [*data["delete"], *data["update"], *data["insert"]]
        for side, book in books[name].items():
            for level in levels(name, rows, side):
                book.pop(Decimal(level[0]), None)
                if Decimal(level[-1]):
                    book[Decimal(level[0])] = level
            assert len(book) <= 25
        best = [sorted(book, reverse=side == "Buy")[:20] for side, book in books[name].items()]
        bids, asks = ([book[price] for price in side] for side, book in zip(best, books[name].values(), strict=True))
        assert Decimal(bids[0][0]) < Decimal(asks[0][0])
        states[ours(name), int(frame.told["cross_seq"])] = (bids, asks)
    assert {item["symbol"] for item in told["orderbook"]} == {ours(name) for name in (*LINEAR, *INVERSE)}
    for item in told["orderbook"]:
        assert (item["bids"], item["asks"]) == states[item["symbol"], item["sequence"]]


def test_the_list_names_perpetuals_and_leaves_out_what_is_dated(
    recordings: Path, told: dict[str, list[dict[str, Any]]]
) -> None:
    rows = {row["name"]: row for row in json.loads(symbols(recordings), parse_float=str, parse_int=str)["result"]}
    assert rows.keys() - {item["exchange_symbol"] for item in told["instrument"]} == {"BTCUSDU21", "BTCUSDM21"}
    for item in told["instrument"]:
        row, linear = rows[item["exchange_symbol"]], item["quote"] == "USDT"
        assert item["symbol"] == f"{row['base_currency']}-{row['quote_currency']}-PERP"
        assert item["tick_size"] == row["price_filter"]["tick_size"]
        assert item.get("quantity_step") == (row["lot_size_filter"]["qty_step"] if linear else None)
        assert (item["contract_kind"], item["contract_size"]) == ("linear" if linear else "inverse", "1")
        assert (item["settle"], item["status"]) == ("USDT" if linear else item["base"], "trading")


def test_answers_to_requests_name_their_streams(recordings: Path) -> None:
    acks = [BYBIT_V2.sort(frame.body) for frame in recorded(recordings) if "topic" not in frame.told]
    names = [f"{channel}.{name}" for names in (LINEAR, INVERSE) for channel in CHANNELS for name in names]
    assert Counter(acks) == Counter(Reply(None, None, (name,)) for name in names)
    data = [BYBIT_V2.sort(frame.body) for frame in recorded(recordings) if "topic" in frame.told]
    assert {found.name for found in data if isinstance(found, StreamName)} == set(names)


def test_each_instrument_has_the_path_that_it_was_recorded_on() -> None:
    for channel in BYBIT_V2.channels.values():
        assert {channel.route_of(name) for name in LINEAR} == {"linear"}
        assert {channel.route_of(name) for name in INVERSE} == {"inverse"}


def listing() -> Listing:
    body = {
        "ret_code": 0,
        "result": [
            {
                "name": name,
                "status": "Trading",
                "base_currency": name.removesuffix(quote),
                "quote_currency": quote,
                "price_filter": {"tick_size": "0.5"},
                "lot_size_filter": {"qty_step": 1},
            }
            for name, quote in (("BTCUSD", "USD"), ("ETHUSDT", "USDT"))
        ],
    }
    frame = raw("instruments", "_all", json.dumps(body).encode(), "R", 1, 1)
    return Listing(BYBIT_V2.instruments.parse(frame, Listing()))  # type: ignore[arg-type]


ROW = {"price": "100.5", "symbol": "ETHUSDT", "side": "Buy", "size": 1}
BOOK = {"topic": "orderBookL2_25.ETHUSDT", "cross_seq": "5", "timestamp_e6": "1618677786389362"}
DELTA = BOOK | {"type": "delta"}
BAD = [
    ("depth", BOOK | {"type": "snapshot", "data": {"delete": []}}, "a snapshot without its levels"),
    ("depth", DELTA | {"data": {"delete": [], "update": []}}, "a delta without its levels"),
    ("depth", DELTA | {"data": [ROW]}, "a delta without its levels"),
    ("depth", BOOK | {"type": "snapshot", "data": [ROW | {"symbol": "BTCUSD"}]}, "a level of another symbol"),
    (
        "depth",
        DELTA | {"data": {"delete": [], "insert": [], "update": [ROW | {"size": "NaN"}]}},
        "is 'NaN'; allowed is",
    ),
    ("depth", BOOK | {"type": "snapshot", "data": [{**ROW, "size": 1e-7}]}, "is '1e-07'; allowed is"),
    ("depth", BOOK | {"type": "patch", "data": [ROW]}, "Invalid enum value 'patch'"),
    ("depth", BOOK | {"type": "snapshot", "data": [ROW | {"side": "Both"}]}, "Invalid enum value 'Both'"),
    ("trades", {"topic": "trade.ETHUSDT", "data": [ROW]}, "missing required field"),
    ("trades", {"data": [ROW | {"trade_time_ms": 1, "trade_id": "x", "price": None}]}, "price is 'null'; allowed is"),
    ("instruments", {"ret_code": 0, "result": {}}, "no list in an answer of instruments"),
]


@pytest.mark.parametrize(("channel", "body", "reason"), BAD, ids=[reason for *_, reason in BAD])
def test_what_is_not_of_the_protocol_is_refused_with_a_reason(channel: str, body: Any, reason: str) -> None:
    parse = BYBIT_V2.instruments.parse if channel == "instruments" else BYBIT_V2.channels[channel].parse
    with pytest.raises(BadFrame) as caught:
        parse(raw(channel, "ETH-USDT-PERP", json.dumps(body).encode(), "A", 1, 1), listing())
    assert reason in str(caught.value)


def test_a_level_that_is_gone_has_no_quantity_and_one_without_a_size_is_refused() -> None:
    gone = {name: value for name, value in ROW.items() if name != "size"}
    parts: dict[str, list[dict[str, Any]]] = {"delete": [gone], "update": [], "insert": []}
    parse = BYBIT_V2.channels["depth"].parse
    [change] = parse(raw("depth", "_all", json.dumps(DELTA | {"data": parts}).encode(), "A", 1, 1), listing())
    assert bytes(change.bids) == b'[["100.5","0"]]'  # type: ignore[union-attr,arg-type]
    parts = {"delete": [], "update": [gone], "insert": []}
    with pytest.raises(BadFrame, match="quantity is ''"):
        parse(raw("depth", "_all", json.dumps(DELTA | {"data": parts}).encode(), "A", 1, 1), listing())


def test_unknown_symbols_and_endless_nesting_are_refused() -> None:
    parse = BYBIT_V2.channels["depth"].parse
    with pytest.raises(UnknownSymbol, match="'NOUSDT' is on no instrument list of bybit_v2 perp"):
        body = BOOK | {"topic": "orderBookL2_25.NOUSDT", "type": "snapshot", "data": []}
        parse(raw("depth", "_all", json.dumps(body).encode(), "A", 1, 1), listing())
    for body in NESTED:
        for work in (BYBIT_V2.sort, lambda nested: parse(raw("depth", "_all", nested, "A", 1, 1), listing())):
            with pytest.raises(BadFrame):
                work(body)  # type: ignore[no-untyped-call]


def test_what_is_asked_and_answered_is_in_the_exchanges_words() -> None:
    assert BYBIT_V2.subscribe(["trade.BTCUSD"], 7) == b'{"op":"subscribe","args":["trade.BTCUSD"]}'
    assert BYBIT_V2.unsubscribe(["trade.BTCUSD"], 8) == b'{"op":"unsubscribe","args":["trade.BTCUSD"]}'
    assert BYBIT_V2.keep_alive is not None and BYBIT_V2.keep_alive.message(9) == b'{"op":"ping"}'
    pong = b'{"success":true,"ret_msg":"pong","conn_id":"x","request":{"op":"ping","args":null}}'
    assert BYBIT_V2.sort(pong) == Pong()
    refused = b'{"success":false,"ret_msg":"error:topic","conn_id":"x","request":{"op":"subscribe","args":["x"]}}'
    assert BYBIT_V2.sort(refused) == Reply(None, "error:topic", ("x",))
    for neither in (b'{"success":true}', b"[]", b"\xff", b"{}"):
        with pytest.raises(BadFrame):
            BYBIT_V2.sort(neither)
