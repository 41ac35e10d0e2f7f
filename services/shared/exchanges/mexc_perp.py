"""MEXC's linear perpetual contracts: REST, and the declaration of the market."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import mexc_limits, mexc_perp_control, mexc_perp_streams
from services.shared.exchanges import mexc_perp_wire as wire
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.declaration import BookSnapshot, Limits, Listing, Market, Poll
from services.shared.exchanges.mexc_numbers import is_missing, signed, unsigned
from services.shared.exchanges.mexc_perp_streams import US, side
from services.shared.exchanges.mexc_spot import EXCHANGE
from services.shared.exchanges.mexc_spot_streams import BOOK_RULE
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.numbers import product
from services.shared.exchanges.server_time import time_poll
from services.shared.exchanges.shared_answers import UNREADABLE, audit_poll, read_once

MARKET = "perp"
SNAPSHOT_LIMIT = 1_000

_STATES = {0: "trading", 1: "delivery", 2: "delivered", 3: "delisted", 4: "paused"}

T = TypeVar("T")
_decode_answer = msgspec.json.Decoder(wire.Answer).decode


def answer_reader(data: type[T]) -> Callable[[RawFrame], T]:
    """Return a function that reads one REST answer, with or without its envelope.

    It raises BadFrame when the bytes are not that answer, or when the exchange says in it what went wrong (its HTTP
    status is 200 all the same).
    """
    decode = msgspec.json.Decoder(data).decode

    def read(frame: RawFrame) -> T:
        try:
            # Only an object can be an envelope.
            answer = _decode_answer(frame.body)
            if answer.success is False or answer.code:
                raise BadFrame(f"code {answer.code} in an answer of {frame.channel}: {answer.message}")
            return decode(frame.body if is_missing(answer.data) else answer.data)
        except UNREADABLE as error:
            raise BadFrame(f"not an answer of {frame.channel}: {error}") from None

    return read


_read_details = answer_reader(list[wire.Detail])
_read_depth = answer_reader(wire.Depth)
_read_settled = answer_reader(wire.SettledPage)


def _instruments(frame: RawFrame) -> tuple[Instrument, ...]:
    """Read `detail`. Contracts settled in their own base currency (inverse ones) are left out."""
    found = []
    for row in _read_details(frame):
        name = f"{row.baseCoin}-{row.quoteCoin}-PERP"
        if row.settleCoin != row.quoteCoin or not is_token(name):
            continue
        state = _STATES.get(row.state)
        if state is None:
            raise BadFrame(f"state of {row.symbol} is {row.state}; allowed are 0 to 4")
        asset, multiplier = asset_of(row.baseCoin)
        size = unsigned(row.contractSize, "contractSize")
        step = None if is_missing(row.volUnit) else product(unsigned(row.volUnit, "volUnit"), size)
        found.append(
            Instrument(
                exchange=frame.exchange,
                market=frame.market,
                symbol=name,
                timestamp=frame.received_at,
                timestamp_source="received",
                received_at=frame.received_at,
                source="live",
                exchange_symbol=row.symbol,
                base=row.baseCoin,
                quote=row.quoteCoin,
                asset=asset,
                multiplier=multiplier,
                status="hidden" if row.isHidden and state == "trading" else state,
                settle=row.settleCoin,
                tick_size=None if is_missing(row.priceUnit) else unsigned(row.priceUnit, "priceUnit"),
                quantity_step=step,
                contract_size=size,
                contract_kind="linear",
            )
        )
    return tuple(found)


def parse_snapshot(frame: RawFrame, listing: Listing) -> tuple[BookSnapshot, ...]:
    """Parse REST `depth`. The answer names no symbol: the frame is filed under the one it was asked for."""
    item = listing.by_symbol.get(frame.symbol)
    if item is None:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    answer = _read_depth(frame)
    bids, asks = side(answer.bids, "bids", item), side(answer.asks, "asks", item)
    return (BookSnapshot(item.symbol, answer.version, bids, asks, SNAPSHOT_LIMIT),)


def parse_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse `funding_rate/history`: rates as they were settled; the newest comes first and is told last."""
    return tuple(
        records.FundingRate(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol_of(row.symbol, frame, listing),
            timestamp=row.settleTime * US,
            timestamp_source="stamp",
            received_at=frame.received_at,
            source="live",
            rate=signed(row.fundingRate, "fundingRate"),
            rate_kind="settled",
        )
        for row in reversed(_read_settled(frame).resultList)
    )


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/api/v1/contract/detail",
    weight=1,
    parse=read_once(_instruments),
    every_s=300,
)
_SNAPSHOT = Poll(
    "depth_snapshot",
    (),
    f"/api/v1/contract/depth/{{symbol}}?limit={SNAPSHOT_LIMIT}",
    weight=1,
    parse=parse_snapshot,
)
_AUDIT = audit_poll(_SNAPSHOT.path, _SNAPSHOT.weight, parse_snapshot)
_FUNDING = Poll(
    "funding",
    ("funding_rate",),
    "/api/v1/contract/funding_rate/history?symbol={symbol}&page_num=1&page_size=10",
    weight=1,
    parse=parse_funding,
    every_s=300,
)
_TIME = time_poll("/api/v1/contract/ping", mexc_limits.read_contract_time)

MEXC_PERP = Market(
    exchange=EXCHANGE,
    market=MARKET,
    ws_url="wss://contract.mexc.com",
    rest_url="https://contract.mexc.com",
    routes={"": "/edge"},
    limits=Limits(
        streams_per_connection=200,
        streams_per_message=1,
        messages_per_s=20,  # nothing is documented: what spot's share is
        connects_per_5_min=300,
        lifetime_s=24 * 3_600,
    ),
    channels={channel.name: channel for channel in mexc_perp_streams.CHANNELS},
    polls={poll.name: poll for poll in (_INSTRUMENTS, _TIME, _SNAPSHOT, _AUDIT, _FUNDING)},
    instruments=_INSTRUMENTS,
    book_channel="depth",
    book_snapshot=_SNAPSHOT,
    book_rule=BOOK_RULE,
    subscribe=mexc_perp_control.subscribe,
    unsubscribe=mexc_perp_control.unsubscribe,
    sort=mexc_perp_control.sort,
    rest=mexc_limits.CONTRACT,
    time=_TIME,
    starter=("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP", "DOGE-USDT-PERP", "ADA-USDT-PERP"),
    keep_alive=mexc_perp_control.KEEP_ALIVE,
)
