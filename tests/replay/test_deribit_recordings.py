"""What was recorded of Deribit: every record equal to its frame or answer, read here from the JSON anew."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import frames, subjects
from schemas.errors import BadFrame, UnknownSymbol
from services.normaliser.core import PartitionCore
from services.shared.exchanges.declaration import Listing, Reply, StreamName
from services.shared.exchanges.registry import MARKETS
from tests import normaliser_rig
from tests.recorded_deribit import (
    DERIBIT,
    RECEIVED,
    all_rows,
    exact,
    frame,
    lines,
    listing,
    lists,
    our_name,
    parse,
    quotient,
    session,
    unwritten,
)

OPTION = DERIBIT["option"]
Told = dict[str, list[dict[str, Any]]]
Pushes = list[tuple[int, str, dict[str, Any]]]


@pytest.fixture(scope="module")
def pushes(recordings: Path) -> Pushes:
    """The recorded pushes: (receive time, channel, data)."""
    read = [(at, exact(text)) for at, text in session(recordings) if '"method":"subscription"' in text]
    return [(at, told["params"]["channel"], told["params"]["data"]) for at, told in read]


def of(pushes: Pushes, kind: str) -> Pushes:
    return [item for item in pushes if item[1].startswith(f"{kind}.")]


@pytest.fixture(scope="module")
def filed(recordings: Path) -> list[tuple[int, frames.RawFrame]]:
    """The session as a collector files it: (partition, frame), the instrument list in every partition first."""
    rows = b",".join(text.encode()[text.index("[") + 1 : text.rindex("]")] for text in lists(recordings))
    body = b'{"jsonrpc":"2.0","result":[' + rows + b"]}"
    known = listing("option", *lists(recordings))
    found = [(part, frame("instruments", body, "option", subjects.ALL, 1)) for part in range(subjects.PARTITIONS)]
    for number, (at, text) in enumerate(session(recordings), 2):
        meaning = OPTION.sort(text.encode())
        if isinstance(meaning, StreamName):
            kind, name, interval = meaning.name.split(".")
            assert interval == "100ms"
            channel = {"book": "depth"}.get(kind, kind)
            symbol = known.by_exchange_symbol[name].symbol
            assert OPTION.channels[channel].stream(name) == meaning.name
            raw = frames.RawFrame("deribit", "option", channel, symbol, "c", "A", number, at, "ws", text.encode())
            found.append((subjects.partition("deribit", "option", symbol), raw))
    return found


@pytest.fixture(scope="module")
def told(filed: list[tuple[int, frames.RawFrame]]) -> Told:
    by_kind: Told = defaultdict(list)
    for item in normaliser_rig.replay(filed):
        by_kind[item.pop("_to").removeprefix("md.")].append(item)
    return by_kind


def head(at: int, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "exchange": "deribit",
        "market": "option",
        "symbol": our_name(data["instrument_name"]),
        "timestamp": int(data["timestamp"]) * 1000,
        "timestamp_source": "push",
        "received_at": at,
        "source": "live",
        "sent_at": int(data["timestamp"]) * 1000,
    }


def ordered(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: (item["symbol"], item["received_at"], item.get("last_sequence", 0)))


def test_the_session_holds_what_its_description_says(recordings: Path, told: Told) -> None:
    sorts = Counter(type(OPTION.sort(text.encode())).__name__ for _, text in session(recordings))
    assert sorts == {"StreamName": 135, "Reply": 1}
    counted = {kind: len(items) for kind, items in told.items() if kind not in ("orderbook", "instrument")}
    assert counted == {"ticker": 89, "index_price": 89, "open_interest": 89, "book_change": 36}
    assert all(item["in_step"] for item in told["book_change"])


def test_the_acknowledgement_names_every_channel_of_the_request(recordings: Path) -> None:
    asked = json.loads(lines(recordings, "DERIBIT.ws.1.0")[1].partition(" <- ")[2].partition(": ")[2])
    text = next(text for _, text in session(recordings))
    reply = OPTION.sort(text.encode())
    assert isinstance(reply, Reply)
    assert (reply.request_id, reply.error) == (asked["id"], None)
    assert set(reply.names) == {name.replace(".raw", ".100ms") for name in asked["params"]["channels"]}


def test_every_instrument_equals_its_row(recordings: Path) -> None:
    rows = all_rows(recordings)
    found = {market: listing(market, *lists(recordings)).by_exchange_symbol for market in ("perp", "future", "option")}
    assert {market: len(items) for market, items in found.items()} == {"perp": 19, "future": 18, "option": 980}
    for row in rows:
        name = row["instrument_name"]
        perpetual = row["settlement_period"] == "perpetual"
        market = "perp" if perpetual else row["kind"]
        item = json.loads(
            json.dumps({f: getattr(found[market][name], f) for f in found[market][name].__struct_fields__})
        )
        inverse = "_" not in name
        dollars = inverse and market != "option"
        assert item == {
            "exchange": "deribit",
            "market": market,
            "symbol": our_name(name),
            "timestamp": RECEIVED,
            "timestamp_source": "received",
            "received_at": RECEIVED,
            "source": "live",
            "stream_sequence": None,
            "exchange_symbol": name,
            "base": row["base_currency"],
            "quote": "USD" if inverse else row["quote_currency"],
            "asset": row["base_currency"],
            "multiplier": "1",
            "status": "trading",
            "settle": row.get("settlement_currency", row["base_currency"]),
            "tick_size": unwritten(row["tick_size"]),
            "quantity_step": None if dollars else unwritten(row["min_trade_amount"]),
            "contract_size": unwritten(row["contract_size"]),
            "contract_kind": "inverse" if inverse else "linear",
            "listed_at": int(row["creation_timestamp"]) * 1000,
            "delisted_at": None,
            "expires_at": None if perpetual else int(row["expiration_timestamp"]) * 1000,
        }


def test_every_ticker_equals_its_frame(pushes: Pushes, told: Told) -> None:
    tickers = of(pushes, "ticker")
    prices = [
        head(at, data) | {name: unwritten(data[name]) for name in ("mark_price", "index_price", "settlement_price")}
        for at, _, data in tickers
    ]
    assert ordered(told["index_price"]) == ordered(prices)
    interests = [
        head(at, data) | {"open_interest": data["open_interest"], "contracts": data["open_interest"]}
        for at, _, data in tickers
    ]
    assert ordered(told["open_interest"]) == ordered(interests)


def present(values: dict[str, str | None]) -> dict[str, str]:
    return {name: unwritten(value) for name, value in values.items() if value is not None}


def side_of(data: dict[str, Any], side: str) -> dict[str, str | None]:
    if not Decimal(data[f"best_{side}_price"]):
        return {}
    return {f"{side}_price": data[f"best_{side}_price"], f"{side}_quantity": data[f"best_{side}_amount"]}


def test_every_24_h_ticker_equals_its_frame(pushes: Pushes, told: Told) -> None:
    expected = []
    for at, _, data in of(pushes, "ticker"):
        stats = data["stats"]
        day = {
            "last_price": data["last_price"],
            "high_price": stats["high"],
            "low_price": stats["low"],
            "price_change_percent": stats["price_change"],
            "volume": stats["volume"],
        }
        expected.append(head(at, data) | present(day | side_of(data, "bid") | side_of(data, "ask")))
    assert ordered(told["ticker"]) == ordered(expected)


def level(item: list[str]) -> list[str]:
    """A level of an option: its amount is base currency and contracts alike."""
    action, price, amount = item
    return [unwritten(price), *(["0", "0"] if action == "delete" else [amount, amount])]


def test_every_book_change_equals_its_frame_and_continues_the_one_before(pushes: Pushes, told: Told) -> None:
    expected, last, actions = [], {}, Counter[str]()
    for at, channel, data in of(pushes, "book"):
        if data["type"] == "change":
            assert data["prev_change_id"] == last[channel]
            expected.append(
                head(at, data)
                | {
                    "first_sequence": int(data["prev_change_id"]) + 1,
                    "last_sequence": int(data["change_id"]),
                    "previous_sequence": int(data["prev_change_id"]),
                    "bids": [level(item) for item in data["bids"]],
                    "asks": [level(item) for item in data["asks"]],
                    "in_step": True,
                }
            )
            actions.update(item[0] for side in ("bids", "asks") for item in data[side])
        last[channel] = data["change_id"]
    assert ordered(told["book_change"]) == ordered(expected)
    assert actions["delete"] == 19
    assert actions["change"] == 5


def test_every_book_is_what_the_frames_up_to_it_make(pushes: Pushes, told: Told) -> None:
    states: dict[tuple[str, int], list[list[list[str]]]] = {}
    books: dict[str, tuple[dict[Decimal, list[str]], dict[Decimal, list[str]]]] = {}
    for _, _, data in of(pushes, "book"):
        symbol = our_name(data["instrument_name"])
        if data["type"] == "snapshot":
            books[symbol] = ({}, {})
        for side, name in zip(books[symbol], ("bids", "asks"), strict=True):
            for item in data[name]:
                if item[0] == "delete":
                    del side[Decimal(item[1])]  # nothing is deleted that was not there
                else:
                    side[Decimal(item[1])] = level(item)
        bids, asks = books[symbol]
        best = [[bids[price] for price in sorted(bids, reverse=True)], [asks[price] for price in sorted(asks)]]
        states[symbol, int(data["change_id"])] = [side[:20] for side in best]
    assert {item["symbol"] for item in told["orderbook"]} == set(books)
    for item in told["orderbook"]:
        assert [item["bids"], item["asks"]] == states[item["symbol"], item["sequence"]]


def test_a_missing_change_is_a_gap_and_the_book_is_asked_for_anew(filed: Any, pushes: Pushes) -> None:
    changes = [index for index, (_, raw) in enumerate(filed) if b'"type":"change"' in raw.body]
    counts = Counter(filed[index][1].symbol for index in changes)
    symbol = counts.most_common(1)[0][0]
    mine = [index for index in changes if filed[index][1].symbol == symbol]
    gone = mine[1]
    part = filed[gone][0]
    core = PartitionCore(part, MARKETS)
    found = []
    for sequence, (where, raw) in enumerate(filed[:gone] + filed[gone + 1 :], 1):
        if where == part:
            found += [normaliser_rig.plain(out) for out in core.process(sequence, *frames.message(raw, part))]
    lost = exact(filed[gone][1].body)["params"]["data"]
    [gap] = [item for item in found if item["_to"] == "gap"]
    assert (gap["symbol"], gap["kind"], gap["gap_type"]) == (symbol, "book_change", "sequence")
    assert gap["first_missing"] == int(lost["prev_change_id"]) + 1
    assert gap["last_missing"] == int(lost["change_id"])
    assert [item.symbol for item in core.take_resyncs()] == [symbol]
    steps = [item["in_step"] for item in found if item["_to"] == "md.book_change" and item["symbol"] == symbol]
    assert steps[0]
    assert not any(steps[1:])


# -- single frames and answers of 2025 and 2026 --------------------------------------------------------------------


@pytest.fixture(scope="module")
def perps(recordings: Path) -> Listing:
    return listing("perp", *lists(recordings))


def single(recordings: Path, name: str) -> bytes:
    return (recordings / "deribit" / "nautilus_trader" / name).read_bytes()


def inverse_level(item: list[str]) -> list[str]:
    price, amount = item[-2:]
    gone = Decimal(amount) == 0
    contracts = "0" if gone else format(Decimal(amount) / 10, "f")
    return [price, "0" if gone else quotient(amount, price), contracts]


def same_numbers(found: list[list[str]], expected: list[list[str]]) -> bool:
    return [[Decimal(part) for part in item] for item in found] == [
        [Decimal(part) for part in item] for item in expected
    ]


def check_trade(item: dict[str, Any], sent: dict[str, Any], size: int = 10) -> None:
    assert item["_kind"] == "trade"
    assert (item["trade_id"], item["sequence"]) == (sent["trade_id"], int(sent["trade_seq"]))
    assert (item["price"], item["side"]) == (sent["price"], sent["direction"])
    assert (item["timestamp"], item["timestamp_source"]) == (int(sent["timestamp"]) * 1000, "match")
    assert item["quantity"] == quotient(sent["amount"], sent["price"])
    assert item["contracts"] == sent["contracts"]
    assert Decimal(item["contracts"]) == Decimal(sent["amount"]) / size


def check_ticker(items: list[dict[str, Any]], sent: dict[str, Any]) -> None:
    day, index, interest, funding = items
    names = {"last_price": sent["last_price"], **{f"{name}_price": sent["stats"][name] for name in ("high", "low")}}
    names |= {"volume": sent["stats"]["volume"], "quote_volume": sent["stats"]["volume_notional"]}
    names |= {"price_change_percent": sent["stats"]["price_change"]}
    names |= {f"{side}_price": sent[f"best_{side}_price"] for side in ("bid", "ask")}
    sizes = {f"{s}_quantity": quotient(sent[f"best_{s}_amount"], sent[f"best_{s}_price"]) for s in ("bid", "ask")}
    assert {name: day[name] for name in (*names, *sizes)} == names | sizes
    assert "open_price" not in day
    for name in ("mark_price", "index_price", "settlement_price"):
        assert index[name] == sent[name]
    assert interest["open_interest_value"] == sent["open_interest"]
    assert interest["open_interest"] == quotient(sent["open_interest"], sent["mark_price"])
    assert Decimal(interest["contracts"]) == Decimal(sent["open_interest"]) / 10
    assert (funding["rate"], funding["rate_kind"]) == (unwritten(sent["current_funding"]), "estimated")
    assert {item["timestamp"] for item in items} == {int(sent["timestamp"]) * 1000}


def test_frames_of_today_are_read_by_value(recordings: Path, perps: Listing) -> None:
    text = (recordings / "deribit" / "extra_frames" / "frames.jsonl").read_text()
    seen: Counter[str] = Counter()
    for line in [json.loads(line) for line in text.splitlines() if line]:
        if line["dir"] == "sent":
            continue
        body = line["frame"].encode()
        told = exact(body)
        meaning = DERIBIT["perp"].sort(body)
        if "result" in told:
            assert meaning == Reply(1, None, tuple(told["result"]))
            continue
        assert meaning == StreamName(told["params"]["channel"])
        kind, sent = told["params"]["channel"].split(".")[0], told["params"]["data"]
        found = parse("perp", {"book": "depth"}.get(kind, kind), body, perps, "BTC-USD-PERP")
        seen[kind] += 1
        if kind == "trades":
            assert len(found) == len(sent)
            for item, trade in zip(found, sent, strict=True):
                check_trade(item, trade)
        elif kind == "ticker":
            check_ticker(found, sent)
        else:
            [item] = found
            assert item.get("last_sequence", item.get("sequence")) == int(sent["change_id"])
            assert item.get("previous_sequence") == (int(sent["prev_change_id"]) if "prev_change_id" in sent else None)
            for name in ("bids", "asks"):
                assert same_numbers(item[name], [inverse_level(level) for level in sent[name]])
    assert seen == {"ticker": 2, "trades": 2, "book": 2}


def test_single_frames_are_read_by_value(recordings: Path, perps: Listing) -> None:
    body = single(recordings, "ws_ticker.json")
    check_ticker(parse("perp", "ticker", body, perps, "BTC-USD-PERP"), exact(body)["params"]["data"])
    body = single(recordings, "ws_trades.json")
    sent = exact(body)["params"]["data"]
    for item, trade in zip(parse("perp", "trades", body, perps, "BTC-USD-PERP"), sent, strict=True):
        check_trade(item, trade)
    body = single(recordings, "ws_chart.json")
    bar = exact(body)["params"]["data"]
    [candle] = parse("perp", "candles_1m", body, perps, "BTC-USD-PERP")
    assert [candle[f"{name}_price"] for name in ("open", "high", "low", "close")] == [
        bar[name] for name in ("open", "high", "low", "close")
    ]
    assert (candle["volume"], candle["quote_volume"], candle["closed"]) == (bar["volume"], bar["cost"], False)
    assert (candle["timestamp"], candle["interval"]) == (int(bar["tick"]) * 1000, "1m")
    # A grouped book is not subscribed to: it is known by name, and is not taken for a book's change.
    body = single(recordings, "ws_book_grouped_snapshot.json")
    assert DERIBIT["perp"].sort(body) == StreamName("book.BTC-PERPETUAL.none.10.100ms")
    with pytest.raises(BadFrame):
        parse("perp", "depth", body, perps, "BTC-USD-PERP")


@pytest.mark.parametrize(
    ("name", "symbol", "size"),
    [
        ("http_get_last_trades.json", "ETH-USD-PERP", 1),
        ("http_get_last_trades_perpetual_with_combo_tags.json", "BTC-USD-PERP", 10),
    ],
)
def test_trades_by_rest_are_read_by_value(name: str, symbol: str, size: int, recordings: Path, perps: Listing) -> None:
    body = single(recordings, name)
    sent = exact(body)["result"]["trades"]
    found = parse("perp", "recent_trades", body, perps, symbol)
    assert len(found) == len(sent) > 5
    for item, trade in zip(found, sent, strict=True):
        check_trade(item, trade, size)


def test_a_book_by_rest_is_read_by_value(recordings: Path, perps: Listing) -> None:
    body = single(recordings, "http_get_order_book.json")
    sent = exact(body)["result"]
    [found] = parse("perp", "depth_audit", body, perps, "BTC-USD-PERP")
    assert (found["symbol"], found["sequence"]) == ("BTC-USD-PERP", int(sent["change_id"]))
    for name in ("bids", "asks"):
        assert len(found[name]) == 20
        assert same_numbers(found[name], [inverse_level(level) for level in sent[name]])


def test_a_single_instrument_is_read_by_value(recordings: Path) -> None:
    found = listing("perp", single(recordings, "http_get_instrument.json").decode()).by_symbol["BTC-USD-PERP"]
    assert (found.exchange_symbol, found.status, found.settle) == ("BTC-PERPETUAL", "trading", "BTC")
    assert (found.tick_size, found.contract_size, found.contract_kind) == ("0.5", "10.0", "inverse")
    assert (found.listed_at, found.expires_at) == (1_534_167_754_000_000, None)


def test_combos_are_left_out(recordings: Path, perps: Listing) -> None:
    # http_get_combos and http_get_expirations_any are of endpoints that are not asked: they name no instrument of ours.
    body = single(recordings, "http_get_instruments_future_combo.json")
    assert len(exact(body)["result"]) > 1
    for market in DERIBIT:
        assert listing(market, body.decode()).by_symbol == {}
    with pytest.raises(UnknownSymbol, match="BTC-FS-25DEC26_PERP"):
        parse("perp", "recent_trades", single(recordings, "http_get_last_trades_future_combo.json"), perps, "_all")


# -- damage --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def options(recordings: Path) -> Listing:
    return listing("option", *lists(recordings))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_frames_of_the_session_raise_nothing_but_bad_frame(
    data: st.DataObject, filed: list[tuple[int, frames.RawFrame]], options: Listing
) -> None:
    raw = filed[data.draw(st.integers(16, len(filed) - 1))][1]
    body = bytearray(raw.body)
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(b'0159-.eE"[]{},: x\x00\xff'))
    cut = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(body), bytes(body[:cut]), bytes(body[cut:])):
        for read in (lambda sent: parse("option", raw.channel, sent, options, raw.symbol), OPTION.sort):
            try:
                read(damaged)
            except BadFrame:
                pass
