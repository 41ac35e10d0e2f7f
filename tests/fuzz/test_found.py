"""What the runs found once, each by itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from schemas import frames
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges.bybit_v2 import BYBIT_V2
from services.shared.exchanges.declaration import Listing, Market
from services.shared.exchanges.numbers import contract_levels, inverse_levels
from services.shared.exchanges.registry import MARKETS
from tests.extra_frames import NESTED, instrument

EVERY = pytest.mark.parametrize("market", MARKETS.values(), ids=[".".join(key) for key in MARKETS])


@EVERY
@pytest.mark.parametrize("body", NESTED, ids=["list", "object", "bare"])
def test_a_frame_that_nests_without_end_is_refused_where_it_is_sorted(market: Market, body: bytes) -> None:
    with pytest.raises(BadFrame):
        market.sort(body)


@pytest.mark.parametrize("header", [frames.NUMBER, frames.RECEIVED, frames.REQUESTED])
@pytest.mark.parametrize("value", ["9" * 30, "-1", "x", ""])
def test_a_number_of_a_message_that_cannot_be_saved_is_refused(header: str, value: str) -> None:
    own = ("bybit_v2", "perp", "time", "_all", "c1", "R", 1, 2, "rest", b"{}", "/time", 1)
    subject, headers, body = frames.message(RawFrame(*own), 0)  # type: ignore[arg-type]
    with pytest.raises(BadFrame, match="not a raw frame"):
        frames.unpack(subject, {**(headers or {}), header: value}, body)


@pytest.mark.parametrize("told", [10**16 // 1000 + 1, 10**30, -1])
def test_a_time_of_day_that_cannot_be_is_refused(told: int) -> None:
    frame = RawFrame("binance", "spot", "time", "_all", "c1", "R", 1, 20, "rest", b'{"serverTime":%d}' % told, "/", 10)
    time = MARKETS["binance", "spot"].time
    assert time is not None
    with pytest.raises(BadFrame, match=r"not an answer of time: a time of -?[0-9]+ us is none of this age"):
        time.parse(frame, Listing())


@pytest.mark.parametrize("make", [contract_levels, inverse_levels])
def test_two_numbers_in_one_text_are_no_number(make: Callable[..., object]) -> None:
    with pytest.raises(BadFrame, match=r"asks\[1\] price is '30 236\.8'"):
        make([["30226.8", "1"], ["30 236.8", "0"]], "0.01", "asks")


def test_a_price_that_is_no_text_is_refused() -> None:
    row = {"price": "1.5", "symbol": "BTCUSD", "side": "Buy", "size": 1, "trade_time_ms": 1, "trade_id": "x"}
    body = json.dumps({"topic": "trade.BTCUSD", "data": [row]}).encode().replace(b"1.5", b"1\xeb5")
    frame = RawFrame("bybit_v2", "perp", "trades", "BTC-USD-PERP", "c1", "A", 1, 2, "ws", body)
    listing = Listing([instrument("bybit_v2", "perp", "BTC-USD-PERP", "BTCUSD", contract_kind="inverse")])
    with pytest.raises(BadFrame, match="price is '1\ufffd5'; allowed is"):
        BYBIT_V2.channels["trades"].parse(frame, listing)
