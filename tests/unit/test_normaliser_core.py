"""What one partition's core makes of frames: records once each, gaps exactly, dead letters, and the same once more."""

from __future__ import annotations

import base64
import json

import pytest

from schemas import frames
from tests.normaliser_rig import SECOND, START, Rig, kinds, millis, trade


@pytest.fixture(autouse=True, params=[False, True], ids=["straight", "restarted"])
def restarts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds as well when the core is saved and restored after every message."""
    monkeypatch.setattr(Rig, "restarts", request.param)


def test_a_trade_comes_out_with_every_value_of_its_frame() -> None:
    rig = Rig()
    (found,) = rig.trade(7, at=1.0, price="64000.10")
    assert found == {
        "_to": "md.trade",
        "exchange": "binance",
        "market": "perp",
        "symbol": "BTC-USDT-PERP",
        "timestamp": millis(1.0) * 1000,
        "timestamp_source": "match",
        "received_at": START + SECOND,
        "source": "live",
        "price": "64000.10",
        "quantity": "0.5",
        "side": "buy",
        "trade_id": "7",
        "sequence": 7,
        "first_trade_id": 70,
        "last_trade_id": 72,
        "trade_count": 3,
        "sent_at": millis(1.0) * 1000,
    }


@pytest.mark.parametrize("restarts", [False, True])
def test_a_trade_that_comes_behind_the_first_one_is_told_once(restarts: bool) -> None:
    """Nothing was jumped over, since nothing came before: what lies before the first was never told."""
    rig = Rig()
    rig.restarts = restarts  # type: ignore[misc]
    rig.session("subscribed", "trades", at=1)
    told = [rig.trade(number, at=2) for number in (12, 11, 10, 11, 13, 10)]
    assert [[item["sequence"] for item in found] for found in told] == [[12], [11], [10], [], [13], []]


def test_a_message_published_twice_is_told_once() -> None:
    rig = Rig()
    assert kinds(rig.trade(7, at=1)) == ["md.trade"]
    assert rig.again() == []
    assert kinds(rig.ws("ticker", b"{", at=2)) == ["dead.normaliser"]
    assert rig.again() == []
    assert rig.count("duplicates") == 2


def test_trades_that_share_a_millisecond_are_different_trades() -> None:
    rig = Rig()
    found = rig.trade(1, at=1) + rig.trade(2, at=1)
    assert [item["trade_id"] for item in found] == ["1", "2"]


def test_a_jump_of_trade_ids_is_a_gap_of_exactly_those_ids() -> None:
    rig = Rig()
    rig.trade(10, at=1)
    gap, _ = rig.trade(12, at=1.5)
    assert (gap["first_missing"], gap["last_missing"]) == (11, 11)
    rig = Rig()
    rig.trade(10, at=1)
    gap, after = rig.trade(14, at=2)
    assert (after["_to"], after["sequence"]) == ("md.trade", 14)
    assert (gap["_to"], gap["gap_type"], gap["status"], gap["kind"]) == ("gap", "sequence", "open", "trade")
    assert (gap["first_missing"], gap["last_missing"]) == (11, 13)
    assert (gap["lost_from"], gap["lost_to"]) == (START + SECOND, START + 2 * SECOND)
    assert gap["after_timestamp"] < millis(1) * 1000 < millis(2) * 1000 < gap["before_timestamp"]


def test_a_packed_message_gives_the_records_of_each_of_its_frames() -> None:
    rig = Rig()
    bodies = [json.dumps(trade(1, 1)).encode(), b"{}", json.dumps(trade(2, 1)).encode()]
    packed = [rig.frame("trades", body, at=1, on="A", symbol=None, origin="ws") for body in bodies]
    found = rig.feed(frames.pack(packed, rig.part))
    assert kinds(found) == ["md.trade", "dead.normaliser", "md.trade"]


@pytest.mark.parametrize(
    ("channel", "body", "reason"),
    [
        ("trades", json.dumps(trade(1, 1)).encode()[:-9], "not a frame of channel trades"),
        ("quotes", json.dumps(trade(1, 1)).encode(), "not a frame of channel quotes"),
        ("trades", json.dumps(trade(1, 1) | {"p": "NaN"}).encode(), "p is 'NaN'"),
        ("trades", json.dumps(trade(1, 1) | {"s": "NOUSDT"}).encode(), "'NOUSDT' is on no instrument list"),
        ("trades", json.dumps(trade(1, 1) | {"s": "ETHUSDT"}).encode(), "filed under BTC-USDT-PERP"),
        ("weather", b"{}", "has no channel 'weather'"),
    ],
)
def test_a_frame_that_does_not_parse_is_a_dead_letter_and_nothing_else_stops(
    channel: str, body: bytes, reason: str
) -> None:
    rig = Rig()
    rig.trade(1, at=1)
    (letter,) = rig.ws(channel, body, at=2)
    assert letter["_to"] == "dead.normaliser"
    assert reason in letter["reason"]
    assert base64.b64decode(letter["body"]) == body
    assert letter["subject"] == f"raw.binance.perp.{channel}.BTC-USDT-PERP.{rig.part:02d}"
    assert (letter["stream_sequence"], letter["connection"], letter["frame"]) == (3, "A", 2)
    assert letter["received_at"] == START + 2 * SECOND
    assert kinds(rig.trade(2, at=3)) == ["md.trade"]


def test_a_message_without_headers_is_a_dead_letter() -> None:
    rig = Rig()
    (output,) = rig.core.process(2, f"raw.binance.perp.trades.BTC-USDT-PERP.{rig.part:02d}", None, b"x")
    assert output.subject == "dead.normaliser"
    assert b"without headers" in output.body


def test_instruments_come_out_when_new_or_changed_and_in_their_own_partition_only() -> None:
    rig = Rig(bases=())
    listed = json.dumps(
        {
            "symbols": [
                {
                    "symbol": f"{base}USDT",
                    "status": "TRADING",
                    "baseAsset": base,
                    "quoteAsset": "USDT",
                    "contractType": contract,
                    "filters": [],
                }
                for base, contract in (("BTC", "PERPETUAL"), ("ETH", "PERPETUAL"), ("SOL", "CURRENT_QUARTER"))
            ]
        }
    )
    (found,) = rig.rest("instruments", listed.encode(), at=1, symbol="_all")
    assert (found["_to"], found["symbol"], found["status"]) == ("md.instrument", "BTC-USDT-PERP", "trading")
    assert rig.rest("instruments", listed.encode(), at=2, symbol="_all") == []
    (found,) = rig.rest("instruments", listed.replace("TRADING", "SETTLING").encode(), at=3, symbol="_all")
    assert (found["status"], found["timestamp"]) == ("settling", START + 3 * SECOND)
    assert kinds(rig.trade(1, at=4)) == ["md.trade"]


def test_polled_rows_come_out_once_by_the_exchanges_stamp() -> None:
    rig = Rig()

    def row(stamp: int) -> dict[str, object]:
        return {
            "symbol": "BTCUSDT",
            "longShortRatio": "1.5",
            "longAccount": "0.6",
            "shortAccount": "0.4",
            "timestamp": stamp,
        }

    first = rig.rest("lsr_all_accounts", json.dumps([row(1000), row(2000)]).encode(), at=1)
    second = rig.rest("lsr_all_accounts", json.dumps([row(1000), row(2000), row(3000)]).encode(), at=2)
    assert [(item["_to"], item["timestamp"]) for item in first + second] == [
        ("md.lsr_all_account", 1_000_000),
        ("md.lsr_all_account", 2_000_000),
        ("md.lsr_all_account", 3_000_000),
    ]


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"stream":"btcusdt@aggTrade","data":' + b'{"a":' * 100_000])
def test_a_frame_that_nests_without_end_is_refused_and_the_next_is_read(body: bytes) -> None:
    rig = Rig()
    found = rig.ws("trades", body, at=1)
    assert [item["_to"] for item in found] == ["dead.normaliser"]
    assert kinds(rig.trade(1, at=2)) == ["md.trade"]
