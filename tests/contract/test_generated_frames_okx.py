"""OKX's generated frames: in the form of live ones, and read by the parsers as the ledger says."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Record
from services.exchange_simulator.generator.source import lag_us
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.registry import MARKETS
from tests.extra_frames import extra_frames
from tests.generated_market import NOW_US, SECOND_US, build, get
from tests.generated_parsed import Parsed, ask, assert_equals_ledger, listen, listing_of

SECONDS = 40
LEVELS = 400
COMMON = {"trade", "fill", "book_change", "quote", "candle_update", "candle", "ticker"}
KINDS = {
    "spot": COMMON,
    "perp": COMMON | {"index_price", "funding_rate", "open_interest", "liquidation"},
    "future": COMMON | {"index_price", "open_interest", "liquidation"},
}


def market_of(name: str) -> Market:
    return MARKETS["okx", name]


@pytest.mark.parametrize("name", KINDS)
def test_records_equal_the_ledger_and_books_follow(tmp_path: Path, name: str) -> None:
    settings = {"symbols": ("BTC", "PEPE"), "events_per_s": 60.0, "start_us": NOW_US}
    venue = build(tmp_path, "okx", ledger=True, **settings)[name]
    listing = listing_of(venue, market_of(name))
    assert {one.exchange_symbol for one in listing.by_symbol.values()} == set(venue.symbols())
    heard = list(listen(venue, market_of(name), listing, SECONDS))
    records = [record for frame in heard for record in frame.records if isinstance(record, Record)]
    assert assert_equals_ledger(tmp_path / "ledger", market_of(name), records) == KINDS[name]
    for symbol in venue.symbols():
        book, sequence = followed([frame for frame in heard if frame.stream == f"books:{symbol}"])
        market = venue.feeds[symbol].market
        step = market.step_at(NOW_US + SECONDS * SECOND_US - lag_us(market))
        assert sequence == market.last_update_id(step)
        asked = get(venue, "/api/v5/market/books", NOW_US + SECONDS * SECOND_US, instId=symbol, sz=LEVELS)["data"][0]
        assert asked["seqId"] == sequence
        for side in ("bids", "asks"):
            assert book[side] == {Decimal(level[0]): Decimal(level[1]) for level in asked[side]}
            assert len(book[side]) == LEVELS


def followed(frames: list[Parsed]) -> tuple[dict[str, dict[Decimal, Decimal]], int]:
    """Keep a book as the exchange's page says; return its sides and the sequence it stands at."""
    book: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    sequence = -1
    for number, frame in enumerate(frames):
        message = json.loads(frame.body)
        assert message["action"] == ("update" if number else "snapshot")
        (row,) = message["data"]
        assert (row["prevSeqId"], row["checksum"]) == (sequence, 0)
        sequence = row["seqId"]
        for side in ("bids", "asks"):
            for price, size, _, orders in row[side]:
                assert (orders == "0") == (size == "0")
                if size == "0":
                    del book[side][Decimal(price)]
                else:
                    book[side][Decimal(price)] = Decimal(size)
    assert len(frames) > 10
    return book, sequence


def test_every_declared_endpoint_is_answered_and_parsed(tmp_path: Path) -> None:
    for name in KINDS:
        venue = build(tmp_path, "okx", start_us=NOW_US)[name]
        market, listing = market_of(name), listing_of(venue, market_of(name))
        symbol = next(iter(listing.by_symbol))
        for poll in market.polls.values():
            records = ask(venue, market, poll, listing, symbol if poll.per_symbol else "")
            assert records, poll.path
            assert {type(one).KIND for one in records if isinstance(one, Record)} <= set(poll.kinds)


def form(value: Any) -> Any:
    """What a JSON value looks like: keys in order, types, whether a text is a number, empty or a word."""
    if isinstance(value, dict):
        return [(key, form(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return ["list", *([form(value[0])] if value and isinstance(value[0], dict | list) else map(form, value))]
    if isinstance(value, str):
        return "number" if value.replace(".", "", 1).lstrip("-").isdigit() else "text" if value else "empty"
    return type(value).__name__


def test_frames_have_the_form_of_live_ones(tmp_path: Path, recordings: Path) -> None:
    live: dict[tuple[str, str], Any] = {}
    for frame in extra_frames(recordings, "okx"):
        if not frame.sent and frame.body.startswith(b'{"arg"'):
            arg = frame.data["arg"]
            about = str(arg.get("instId", arg.get("instType")))
            live[arg["channel"], "perp" if about.endswith(("-SWAP", "SWAP")) else "spot"] = form(frame.data)
    compared = set()
    for name in ("spot", "perp"):
        venue = build(tmp_path, "okx", symbols=("BTC",), events_per_s=60.0, start_us=NOW_US)[name]
        for heard in listen(venue, market_of(name), listing_of(venue, market_of(name)), 40):
            key = (heard.stream.partition(":")[0], name)
            if key in live and key not in compared:
                assert form(json.loads(heard.body)) == live[key], key
                compared.add(key)
    assert compared == live.keys() - {("books5", "perp")}
