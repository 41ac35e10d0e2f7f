"""Generated MEXC frames: of the same form as recorded ones, and read by the parsers as the ledger has them."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from schemas.proto import mexc_pb2 as pb
from services.exchange_simulator.venue import Binary
from tests.extra_frames import extra_frames
from tests.generated_frames import Book, Played, assert_answered, assert_is_the_ledger, form, played_market
from tests.generated_market import NOW_US, SECOND_US, get, play

SECONDS = 55
"""Contracts cut who sends no ping for a minute."""
ASSETS = ("BTC", "PEPE", "ADA")
"""With eight streams each: a connection to spot takes thirty."""
KINDS = {
    "spot": {"trade", "book_change", "quote", "candle_update"},
    "perp": {"trade", "book_change", "quote", "candle_update", "ticker", "index_price", "funding_rate"}
    | {"open_interest"},
}


@pytest.fixture(scope="module", params=["spot", "perp"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A market heard for most of a minute, with its ledger."""
    folder = tmp_path_factory.mktemp(request.param)
    return played_market(folder, "mexc", request.param, SECONDS, symbols=ASSETS, events_per_s=200.0)


def test_records_equal_the_ledger_and_every_kind_is_of_every_symbol(played: Played) -> None:
    _, listener, _ = played
    assert_is_the_ledger(played, KINDS[listener.venue.market])


def test_every_declared_endpoint_is_answered_for_every_symbol(played: Played) -> None:
    _, listener, _ = played
    declared = listener.declared
    for place, poll in enumerate(one for one in declared.polls.values() if one is not declared.time):
        for symbol in listener.listing.by_symbol if poll.per_symbol else ["_all"]:
            # contracts answer `detail` once in five seconds
            assert_answered(listener, poll, symbol, NOW_US + (10 + 10 * place) * SECOND_US)


def test_a_book_from_rest_and_stream_is_the_exchanges_own(played: Played) -> None:
    """The snapshot of the beginning, carried on by the changes, is the snapshot that the end is answered with."""
    _, listener, heard = played
    poll = listener.declared.book_snapshot
    assert poll is not None
    for symbol, changes in heard.books.items():
        (snapshot,) = listener.ask(poll, symbol)
        book = Book(listener.declared, snapshot)
        for change in changes:
            book.take(change)
        # A frame tells when it was sent, which is some ms behind its step.
        (final,) = listener.ask(poll, symbol, changes[-1].timestamp - 2_000)
        assert final.sequence == book.sequence
        assert book.best(20) == Book(listener.declared, final).best(20)


def test_a_contracts_quote_is_the_best_of_its_book(played: Played) -> None:
    """The cut books, from which quotes are taken, stand at the version that they name."""
    _, listener, heard = played
    if listener.venue.market == "spot":
        return
    feed = listener.venue.feeds["BTC_USDT"]
    frames = [json.loads(body)["data"] for body in heard.frames["depth.full@BTC_USDT"]]
    assert len(frames) > 100
    for frame in frames[::25]:
        book = feed.book.snapshot(frame["version"], 5)
        assert [[Decimal(str(price)), size] for price, size, _ in frame["bids"]] == [
            [ticks * Decimal("0.1"), steps] for ticks, steps in book.bids
        ]
        assert len(frame["asks"]) == 5


def shape(message: Message) -> Any:
    """Which fields a message has, and of what kind their texts are; lists by their first item."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        item = value if isinstance(value, str | int | Message) else value[0]
        found[field.name] = shape(item) if isinstance(item, Message) else form(item)
    return found


SPOT_SESSIONS = {
    "spot aggre.bookTicker 10ms": "spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT",
    "spot aggre.deals 100ms": "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT",
    "spot kline Min1": "spot@public.kline.v3.api.pb@BTCUSDT@Min1",
}


def digits(text: str) -> str:
    return re.sub(r"\d+", "9", text)


def test_binary_frames_are_those_of_2026(played: Played, recordings: Path) -> None:
    """Same fields, in the order of their numbers, and the same kinds of texts."""
    _, listener, heard = played
    if listener.venue.market == "perp":
        return
    recorded = {extra.session: extra.body for extra in extra_frames(recordings, "mexc") if extra.body[:1] == b"\n"}
    for session, stream in SPOT_SESSIONS.items():
        theirs = pb.PushDataV3ApiWrapper.FromString(recorded[session])
        body = heard.frames[stream][0]
        assert isinstance(body, Binary)
        ours = pb.PushDataV3ApiWrapper.FromString(body)
        assert shape(ours) == shape(theirs), session
        assert ours.channel == theirs.channel
        assert ours.symbol == theirs.symbol
        assert ours.SerializeToString() == body
        assert theirs.SerializeToString() == recorded[session]  # in the order that the exchange writes them
    deals = "spot@public.aggre.deals.v3.api.pb@100ms"
    our, their = (
        pb.PushDataV3ApiWrapper.FromString(body).publicAggreDeals
        for body in (heard.frames[f"{deals}@BTCUSDT"][0], recorded["spot aggre.deals 100ms"])
    )
    assert our.eventType == their.eventType == deals
    assert digits(our.deals[0].tradeId) == digits(their.deals[0].tradeId)


def test_levels_have_all_their_digits_as_live_books_have(played: Played, recordings: Path) -> None:
    _, listener, heard = played
    if listener.venue.market == "perp":
        return
    body = next(extra.body for extra in extra_frames(recordings, "mexc") if extra.session == "spot limit.depth 5")
    theirs = pb.PushDataV3ApiWrapper.FromString(body).publicLimitDepths
    frames = heard.frames["spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT"]
    ours = [pb.PushDataV3ApiWrapper.FromString(body).publicAggreDepths for body in frames]
    levels = [level for depth in ours for level in (*depth.bids, *depth.asks)]
    assert {(len(one.price.partition(".")[2]), len(one.quantity.partition(".")[2])) for one in levels} == {(2, 8)}
    assert {(len(one.price.partition(".")[2]), len(one.quantity.partition(".")[2])) for one in theirs.bids} == {(2, 8)}
    assert any(level.quantity == "0.00000000" for level in levels)


PERP_SESSIONS = {
    "contract sub.deal": "deal@BTC_USDT",
    "contract push.depth.full (levels trimmed to two a side)": "depth.full@BTC_USDT",
}


def test_text_frames_are_those_of_2026(played: Played, recordings: Path) -> None:
    """Same keys in the same order, the same kinds of values."""
    _, listener, heard = played
    if listener.venue.market == "spot":
        return
    recorded = [extra for extra in extra_frames(recordings, "mexc") if extra.body[:1] == b"{" and not extra.sent]
    for session, stream in PERP_SESSIONS.items():
        (their,) = [one.data for one in recorded if one.session == session and "symbol" in one.data]
        assert form(json.loads(heard.frames[stream][0])) == form(their), session


def test_a_merged_change_is_written_as_the_recorded_one(played: Played, recordings: Path) -> None:
    """With exponents and long tails of zeros; and what was declined is the same without its ends."""
    _, listener, heard = played
    if listener.venue.market == "spot":
        return
    (body,) = [one.body for one in extra_frames(recordings, "mexc") if one.session.startswith("contract push.depth m")]
    session = listener.venue.connect("/edge", "", NOW_US)
    session.receive(b'{"method":"sub.depth","param":{"symbol":"BTC_USDT"}}', NOW_US)
    merged = [frame for _, frame in play(session, NOW_US, 20)]
    assert form(json.loads(merged[0])) == form(json.loads(body))
    odd = re.compile(rb"\[\d(\.\d+)?E\+\d,\d+\.0{30},\d+\]")
    assert odd.search(body)
    assert any(odd.search(frame) for frame in merged)
    plain = {json.loads(frame)["data"]["version"]: frame for frame in heard.frames["depth@BTC_USDT"]}
    for frame in merged:
        version = json.loads(frame)["data"]["version"]
        assert frame.replace(b'"end":%d,"begin":%d,' % (version, version), b"") == plain[version]


def test_candles_trades_and_history_agree(played: Played) -> None:
    """Trades told on the stream are those of REST; a closed minute is their sum there."""
    _, listener, heard = played
    minute_us = NOW_US // (60 * SECOND_US) * 60 * SECOND_US + 60 * SECOND_US
    minute_s, end_us = minute_us // SECOND_US, NOW_US + 300 * SECOND_US
    for one in listener.listing.by_symbol.values():
        told: list[Any] = [item for item in heard.records["trade"] if item.symbol == one.symbol]
        inside = [item for item in told if minute_us <= item.timestamp < NOW_US + 50 * SECOND_US]
        if listener.venue.market == "spot":
            span = {"startTime": minute_us // 1_000, "endTime": minute_us // 1_000 + 59_999}
            rows = get(listener.venue, "/api/v3/aggTrades", end_us, symbol=one.exchange_symbol, limit=1000, **span)
            (candle,) = get(listener.venue, "/api/v3/klines", end_us, symbol=one.exchange_symbol, interval="1m", **span)
            found = {(row["T"], row["p"], row["q"], row["m"]) for row in rows}
            assert {(t.timestamp // 1_000, t.price, t.quantity, t.side == "sell") for t in inside} <= found
            prices = [Decimal(row["p"]) for row in reversed(rows)]
            assert [Decimal(text) for text in candle[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
            assert Decimal(candle[5]) == sum(Decimal(row["q"]) for row in rows)
            continue
        path = f"/api/v1/contract/kline/{one.exchange_symbol}"
        answer = get(listener.venue, path, end_us, interval="Min1", start=minute_s, end=minute_s)
        assert [len(column) for column in answer["data"].values()] == [1] * 7
        candles: list[Any] = [item for item in heard.records["candle_update"] if item.symbol == one.symbol]
        updates = [item for item in candles if (item.interval, item.timestamp) == ("1m", minute_us)]
        assert one.contract_size is not None
        assert answer["data"]["time"] == [minute_s]
        assert Decimal(str(answer["data"]["open"][0])) == Decimal(updates[0].open_price)
        assert answer["data"]["vol"][0] >= Decimal(updates[-1].volume) / Decimal(one.contract_size)
        path = f"/api/v1/contract/deals/{one.exchange_symbol}"
        deals = get(listener.venue, path, NOW_US + SECONDS * SECOND_US, limit=100)
        newest = deals["data"][:10]
        assert [(row["t"], row["v"]) for row in reversed(newest)] == [
            (t.timestamp // 1_000, int(t.contracts)) for t in told[-len(newest) :]
        ]
