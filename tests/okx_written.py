"""OKX's instruments, frames and answers as the tests of its parsers write them by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from schemas import records
from services.shared.exchanges.declaration import Listing, Parser
from tests.recorded_okx import MARKETS, raw

RECEIVED = 1_790_000_000_000_000
TS = 1_786_540_436_090
SYMBOLS = {"spot": "BTC-USDT", "perp": "BTC-USDT-PERP", "future": "BTC-USDT-261225"}
NAMES = {"spot": "BTC-USDT", "perp": "BTC-USDT-SWAP", "future": "BTC-USDT-261225"}


def instrument(market: str, symbol: str, name: str, quote: str = "USDT") -> records.Instrument:
    linear = quote == "USDT"
    return records.Instrument(
        exchange="okx",
        market=market,
        symbol=symbol,
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=name,
        base="BTC",
        quote=quote,
        asset="BTC",
        multiplier="1",
        status="trading",
        contract_size=None if market == "spot" else "0.01" if linear else "100",
        contract_kind=None if market == "spot" else "linear" if linear else "inverse",
    )


LISTINGS = {
    "spot": Listing([instrument("spot", "BTC-USDT", "BTC-USDT")]),
    "perp": Listing(
        [
            instrument("perp", "BTC-USDT-PERP", "BTC-USDT-SWAP"),
            instrument("perp", "BTC-USD-PERP", "BTC-USD-SWAP", "USD"),
        ]
    ),
    "future": Listing([instrument("future", "BTC-USDT-261225", "BTC-USDT-261225")]),
}


def parsed(channel: str, body: object, market: str = "perp", symbol: str | None = None) -> Sequence[Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    declared = MARKETS[market]
    parser: Parser = (declared.channels.get(channel) or declared.polls[channel]).parse
    frame = raw(market, channel, symbol or SYMBOLS[market], data, received_at=RECEIVED)
    return parser(frame, LISTINGS[market])


def parse(channel: str, body: object, market: str = "perp", symbol: str | None = None) -> list[dict[str, Any]]:
    """Everything that the exchange said; what every record of these tests has in common is checked here."""
    found = []
    for item in parsed(channel, body, market, symbol):
        told = json.loads(records.encode(item))
        assert (told.pop("exchange"), told.pop("market"), told.pop("source")) == ("okx", market, "live")
        assert told.pop("received_at") == RECEIVED
        found.append(told)
    return found


def push(channel: str, *rows: object, name: str = "BTC-USDT-SWAP", **more: object) -> dict[str, Any]:
    return {"arg": {"channel": channel, "instId": name}, **more, "data": list(rows)}


def answer(*rows: object) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": list(rows)}


TRADE = {
    "instId": "BTC-USDT-SWAP",
    "tradeId": "2832749645",
    "px": "63913.40",
    "sz": "34.95",
    "side": "sell",
    "ts": str(TS),
    "count": "10",
    "source": "0",
    "seqId": 333793118093,
}


BOOK = {
    "asks": [["62571.2", "0.605", "0", "6"], ["62571.30", "0", "0", "0"]],
    "bids": [],
    "ts": str(TS),
    "checksum": 0,
    "seqId": 110,
    "prevSeqId": 100,
}


TOP = {
    "asks": [["63921.5", "790.41", "0", "42"]],
    "bids": [["63921.4", "421.93", "0", "28"]],
    "ts": str(TS),
    "seqId": 7,
}


TICKER = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "last": "63921",
    "lastSz": "0.4",
    "askPx": "63921.1",
    "askSz": "1871.75",
    "bidPx": "63921",
    "bidSz": "779.3",
    "open24h": "64297.6",
    "high24h": "64466",
    "low24h": "63162.7",
    "sodUtc0": "63566",
    "sodUtc8": "63584.6",
    "volCcy24h": "73998.8786",
    "vol24h": "7399887.86",
    "ts": str(TS),
}


BAR = [str(TS), "63913.0", "63951.8", "63913.0", "63951.80", "1803.61", "18.0361", "1153203.99426000", "0"]


FUNDING = {
    "instId": "BTC-USDT-SWAP",
    "fundingRate": "-0.000012345678",
    "fundingTime": str(TS + 1),
    "nextFundingRate": "",
    "nextFundingTime": str(TS + 2),
    "settFundingRate": "0.0001",
    "settState": "settled",
    "ts": str(TS),
}


DETAIL = {"bkLoss": "0", "bkPx": "0.4162", "ccy": "", "posSide": "short", "side": "buy", "sz": "2137", "ts": str(TS)}


def liquidated(*details: object, name: str = "BTC-USDT-SWAP") -> dict[str, Any]:
    row = {"details": list(details), "instFamily": "BTC-USDT", "instId": name, "instType": "SWAP", "uly": "BTC-USDT"}
    return {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [row]}
