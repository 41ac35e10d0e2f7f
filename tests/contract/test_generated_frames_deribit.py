"""Generated Deribit frames: of the same form as recorded ones, and read by the parsers as the ledger has them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.shared.exchanges.declaration import AUDIT, BookSnapshot
from tests.extra_frames import extra_frames
from tests.generated_frames import Book, Listener, Played, assert_answered, assert_is_the_ledger, form
from tests.generated_market import NOW_US, SECOND_US, build, get
from tests.recorded_deribit import session

SECONDS = 65
ASSETS = ("BTC", "ETH", "XRP", "PEPE")
COMMON = {"trade", "liquidation", "book_change", "quote", "candle_update", "ticker", "index_price", "open_interest"}
KINDS = {"perp": COMMON | {"funding_rate", "volatility_index"}, "future": COMMON, "option": COMMON}
PUBLIC = "/api/v2/public"
PERPETUAL = "BTC-PERPETUAL"
MARKETS = ("perp", "future", "option")


@pytest.fixture(scope="module")
def markets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    """Each market heard for a minute, with its ledger."""
    folder = tmp_path_factory.mktemp("deribit")
    found: dict[str, Played] = {}
    for name, venue in build(folder, "deribit", ledger=True, symbols=ASSETS, events_per_s=60.0).items():
        listener = Listener(venue)
        found[name] = (folder / "ledger", listener, listener.listen(SECONDS))
    return found


@pytest.fixture(params=MARKETS)
def played(request: pytest.FixtureRequest, markets: dict[str, Played]) -> Played:
    """One of the markets."""
    return markets[request.param]


def test_records_equal_the_ledger_and_every_kind_is_of_every_symbol(played: Played) -> None:
    _, listener, _ = played
    assert_is_the_ledger(played, KINDS[listener.venue.market], {"volatility_index": {"BTC-USD-PERP", "ETH-USD-PERP"}})


def test_every_declared_endpoint_is_answered_for_every_symbol(played: Played) -> None:
    _, listener, _ = played
    for place, symbol in enumerate(listener.listing.by_symbol):
        for poll in listener.declared.polls.values():
            assert_answered(listener, poll, symbol, NOW_US + (place + 1) * 20 * SECOND_US)


def test_a_book_is_chained_from_its_snapshot_and_is_the_one_that_rest_answers_with(played: Played) -> None:
    _, listener, heard = played
    poll = listener.declared.polls[AUDIT]
    for symbol, (snapshot, *changes) in heard.books.items():
        assert isinstance(snapshot, BookSnapshot)
        book = Book(listener.declared, snapshot)
        for change in changes:
            assert book.take(change)
        (audit,) = listener.ask(poll, symbol, NOW_US + SECONDS * SECOND_US)
        assert audit.sequence == book.sequence
        assert book.best(10_000) == Book(listener.declared, audit).best(10_000)


def test_levels_are_new_changed_or_deleted_as_a_strict_client_has_it(played: Played) -> None:
    _, _, heard = played
    seen = set()
    for stream, frames in heard.frames.items():
        if not stream.startswith("book."):
            continue
        sides: dict[str, set[float]] = {"bids": set(), "asks": set()}
        for body in frames:
            data = json.loads(body)["params"]["data"]
            for side, known in sides.items():
                for action, price, amount in data[side]:
                    seen.add(action)
                    assert (price in known) == (action != "new"), (stream, data["change_id"], action, price)
                    assert (amount == 0) == (action == "delete")
                    (known.discard if action == "delete" else known.add)(price)
    assert seen == {"new", "change", "delete"}


def test_trades_are_numbered_without_a_hole_and_history_has_the_same(played: Played) -> None:
    _, listener, heard = played
    ids: list[str] = []
    for one in listener.listing.by_symbol.values():
        bodies = heard.frames[f"trades.{one.exchange_symbol}.100ms"]
        told = [row for body in bodies for row in json.loads(body)["params"]["data"]]
        for before, after in pairwise(told):
            assert after["trade_seq"] == before["trade_seq"] + 1
            assert after["tick_direction"] in (
                (0,) if after["price"] > before["price"] else (2,) if after["price"] < before["price"] else (1, 3)
            )
        query = {"start_seq": told[0]["trade_seq"], "end_seq": told[-1]["trade_seq"], "count": 1000, "sorting": "asc"}
        answer = get(
            listener.venue,
            f"{PUBLIC}/get_last_trades_by_instrument",
            NOW_US + 300 * SECOND_US,
            instrument_name=one.exchange_symbol,
            **query,
        )["result"]
        assert answer == {"trades": told, "has_more": False}
        seconds = [
            row
            for body in heard.frames[f"trades.{one.exchange_symbol}.agg2"]
            for row in json.loads(body)["params"]["data"]
        ]
        assert seconds == told[: len(seconds)] and len(told) - len(seconds) < 10
        ids += [row["trade_id"] for row in told]
    assert len(set(ids)) == len(ids)


def recorded_2026(recordings: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for extra in extra_frames(recordings, "deribit"):
        if not extra.sent and "params" in extra.data:
            found.setdefault(extra.session.partition(" ")[0], []).append(extra.data)
    return found


def test_frames_are_those_of_2026(markets: dict[str, Played], recordings: Path) -> None:
    """Same keys in the same order, the same kinds of values."""
    _, _, heard = markets["perp"]
    recorded = recorded_2026(recordings)
    frames = {name: [json.loads(body) for body in bodies] for name, bodies in heard.frames.items()}
    assert form(frames[f"ticker.{PERPETUAL}.100ms"][0]) == form(recorded["ticker"][0])
    plain = next(one for one in frames[f"trades.{PERPETUAL}.100ms"] if "liquidation" not in one["params"]["data"][0])
    assert form(plain) == form(recorded["trades"][0])
    snapshot, change = recorded["book"]
    ours = frames[f"book.{PERPETUAL}.100ms"]
    assert form(ours[0]) == form(snapshot)
    assert any(form(one) == form(change) for one in ours[1:])
    bar = json.loads((recordings / "deribit" / "nautilus_trader" / "ws_chart.json").read_text())
    assert form(frames[f"chart.trades.{PERPETUAL}.1"][0]) == form(bar)


def test_options_have_the_keys_of_2021(markets: dict[str, Played], recordings: Path) -> None:
    _, _, heard = markets["option"]
    kinds = {"ticker": lambda data: data["stats"]["high"] is not None, "book": lambda data: data["bids"]}
    for kind, telling in kinds.items():
        theirs = next(
            data
            for data in (json.loads(body).get("params", {}) for _, body in session(recordings))
            if data.get("channel", "").startswith(f"{kind}.") and telling(data["data"])
        )["data"]
        stream = next(name for name in heard.frames if name.startswith(f"{kind}."))
        ours = json.loads(heard.frames[stream][0])["params"]["data"]
        if kind == "ticker":
            assert ours["stats"].keys() - theirs["stats"].keys() == {"volume_usd"}
            assert ours["greeks"].keys() == theirs["greeks"].keys()
        assert ours.keys() == theirs.keys()
        assert {key: type(ours[key]) for key in ours} == {key: type(theirs[key]) for key in ours}


def test_answers_are_those_of_2025(markets: dict[str, Played], recordings: Path) -> None:
    _, listener, _ = markets["perp"]
    folder = recordings / "deribit" / "nautilus_trader"
    asked = {
        "get_instrument": ("http_get_instrument.json", {}),
        "get_order_book": ("http_get_order_book.json", {"depth": 20}),
        "get_last_trades_by_instrument": ("http_get_last_trades.json", {}),
    }
    at_us = NOW_US + 300 * SECOND_US
    for method, (name, query) in asked.items():
        theirs = json.loads((folder / name).read_text())["result"]
        ours = get(listener.venue, f"{PUBLIC}/{method}", at_us, instrument_name=PERPETUAL, **query)["result"]
        if method == "get_last_trades_by_instrument":
            theirs, ours = theirs["trades"][0], next(row for row in ours["trades"] if "liquidation" not in row)
            assert ours.keys() - theirs.keys() == {"starbase_match_id", "starbase_timestamp"}  # since 2026
            ours = {key: ours[key] for key in theirs} | {"trade_id": theirs["trade_id"]}  # theirs is of ETH
        assert dict(form(ours)) | {"stats": None} == dict(form(theirs)) | {"stats": None}, method


def test_no_candle_is_told_twice_the_same(played: Played) -> None:
    """The exchange speaks of a candle when something traded, and never says that it is final."""
    _, _, heard = played
    charts = [bodies for stream, bodies in heard.frames.items() if stream.startswith("chart.")]
    assert any(len(bodies) > 10 for bodies in charts)
    for bodies in charts:
        assert len(set(bodies)) == len(bodies)
