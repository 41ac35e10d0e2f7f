"""How far an exchange's clock is from ours: each exchange's answer, the least round trip, and the records of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas import frames, subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import ClockOffset
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.registry import MARKETS
from services.shared.exchanges.server_time import MOST, RECENT_US, Sample, best, sample, with_recent
from tests.normaliser_rig import START, Rig

AT_US = 1_790_000_000_123_000

ANSWERS = {
    "binance": b'{"serverTime":1790000000123}',
    "okx": b'{"code":"0","data":[{"ts":"1790000000123"}],"msg":""}',
    "bybit": b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1790000000","timeNano":"1790000000123456789"}}',
    "bybit_v2": b'{"ret_code":0,"ret_msg":"OK","result":{},"time_now":"1790000000.123000"}',
    "gateio": b'{"server_time":1790000000123}',
    "mexc spot": b'{"serverTime":1790000000123}',
    "mexc perp": b'{"success":true,"code":0,"data":1790000000123}',
    "deribit": b'{"jsonrpc":"2.0","result":1790000000123,"usIn":1,"usOut":2,"usDiff":1,"testnet":false}',
}


def frame(exchange: str, market: str, body: bytes, requested_at: int | None, received_at: int) -> RawFrame:
    return RawFrame(
        exchange, market, "time", subjects.ALL, "c1", "R", 1, received_at, "rest", body, "/time", requested_at
    )


@pytest.mark.parametrize("key", MARKETS, ids=".".join)
def test_each_exchange_tells_its_time(key: tuple[str, str]) -> None:
    exchange, market = key
    body = ANSWERS.get(exchange, ANSWERS.get(f"{exchange} {market}", b""))
    declared = MARKETS[key].time
    assert declared is not None and declared.name == "time" and not declared.per_symbol
    # Asked 40 ms before its time and heard 20 ms after it, on a clock that is 500 ms slow.
    [told] = declared.parse(frame(exchange, market, body, AT_US - 540_000, AT_US - 480_000), Listing())
    assert isinstance(told, ClockOffset)
    us = 456 if exchange == "bybit" else 0
    assert (told.server_time, told.offset_us, told.round_trip_us) == (AT_US + us, 510_000 + us, 60_000)
    assert (told.timestamp, told.timestamp_source, told.symbol) == (AT_US - 480_000, "received", "_all")
    for wrong in (b"{}", b'{"serverTime":"x"}', b"[", b'{"data":[{"ts":"soon"}]}', b'{"result":{"timeNano":"1.5"}}'):
        with pytest.raises(BadFrame, match="not an answer of time"):
            declared.parse(frame(exchange, market, wrong, AT_US, AT_US), Listing())
    with pytest.raises(BadFrame, match="does not say when it was asked for"):
        declared.parse(frame(exchange, market, body, None, AT_US), Listing())
    with pytest.raises(BadFrame, match="heard 5 us before it was asked for"):
        declared.parse(frame(exchange, market, body, AT_US, AT_US - 5), Listing())


def test_the_least_round_trip_of_the_recent_answers_is_believed() -> None:
    # The exchange is 1 s ahead; the road back is slow now and then, which an average would take for an offset.
    recent: list[Sample] = []
    for number, back_ms in enumerate((300, 40, 10, 900, 10, 700)):
        asked = number * 60_000_000
        told = asked + 5_000 + 1_000_000
        recent = with_recent(recent, sample(told, asked, asked + 5_000 + back_ms * 1_000))
    assert best(recent) == Sample(4 * 60_000_000 + 15_000, 1_000_000 - 2_500, 15_000), "of two equal ones the newest"
    later = with_recent(recent, Sample(4 * 60_000_000 + 15_000 + RECENT_US, 7, 800_000))
    assert [item.round_trip_us for item in later] == [705_000, 800_000], "what is old says nothing of now"
    back = with_recent(recent, Sample(100_000_000, 9, 900_000))
    assert [item.received_at for item in back] == [305_000, 60_045_000, 100_000_000], "our own clock was set back"
    many = recent
    for number in range(100):
        many = with_recent(many, Sample(400_000_000 + number, 0, 1))
    assert len(many) == MOST


class Restarting(Rig):
    restarts = True


@pytest.mark.parametrize("kind", [Rig, Restarting])
def test_records_say_what_is_believed_after_each_answer_also_across_restarts(kind: type[Rig]) -> None:
    rig = kind(symbol=subjects.ALL)

    def answer(at_ms: int, round_trip_ms: int, offset_ms: int, collector: str = "c1") -> list[dict[str, Any]]:
        received_at = START + at_ms * 1_000
        requested_at = received_at - round_trip_ms * 1_000
        server_ms = (requested_at + received_at) // 2_000 + offset_ms
        rig.numbers[collector] += 1
        body = json.dumps({"serverTime": server_ms}).encode()
        made = RawFrame(
            "binance",
            "perp",
            "time",
            subjects.ALL,
            collector,
            f"R-{collector}",
            rig.numbers[collector],
            received_at,
            "rest",
            body,
            "/fapi/v1/time",
            requested_at,
        )
        return rig.feed(frames.message(made, rig.part))

    def said(found: list[dict[str, Any]]) -> tuple[int, int, int, int]:
        [row] = found
        assert row["_to"] == "md.clock_offset"
        return row["offset_us"], row["round_trip_us"], row["samples"], row["measured_at"] - START

    assert said(answer(1_000, 100, 250)) == (250_000, 100_000, 1, 1_000_000)
    assert said(answer(61_000, 20, 210)) == (210_000, 20_000, 2, 61_000_000)
    assert said(answer(121_000, 400, 390)) == (210_000, 20_000, 3, 61_000_000)
    assert rig.again() == [], "published twice"
    assert said(answer(122_000, 30, -5, "c2")) == (-5_000, 30_000, 1, 122_000_000), "its clock is another"
    assert said(answer(662_000, 50, 205)) == (205_000, 50_000, 2, 662_000_000), "what is ten minutes old is forgotten"
