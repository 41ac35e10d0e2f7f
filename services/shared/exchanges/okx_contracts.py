"""What OKX's contract markets have beside spot's channels: mark price, funding, open interest, liquidations, ratios."""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from services.shared.exchanges import okx_wire as wire
from services.shared.exchanges.declaration import Channel, Listing, Parser, Poll
from services.shared.exchanges.numbers import check
from services.shared.exchanges.okx import PUBLIC, US, answer_reader, instrument_of, reader
from services.shared.exchanges.okx_control import stream
from services.shared.exchanges.okx_levels import base_quantity

RATIO_PERIOD = "5m"
_RUBIK = "/api/v5/rubik/stat/contracts"

_read_mark_price = reader(wire.MarkPrice, "mark-price")
_read_index_price = reader(wire.IndexTicker, "index-tickers")
_read_funding = reader(wire.Funding, "funding-rate")
_read_open_interest = reader(wire.OpenInterest, "open-interest")
_read_liquidations = reader(wire.Liquidation, "liquidation-orders")


def parse_mark_price(frame: RawFrame, listing: Listing) -> tuple[records.IndexPrice, ...]:
    """Parse `mark-price`."""
    found = []
    for m in _read_mark_price(frame).data:
        check(markPx=m.markPx)
        found.append(
            records.IndexPrice(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument_of(m.instId, frame, listing).symbol,
                timestamp=m.ts * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                mark_price=m.markPx,
            )
        )
    return tuple(found)


def index_of(contract: str) -> str:
    """Return the index behind a perpetual, in the exchange's words: BTC-USD-SWAP follows BTC-USD."""
    return contract.removesuffix("-SWAP")


def parse_index_price(frame: RawFrame, listing: Listing) -> tuple[records.IndexPrice, ...]:
    """Parse `index-tickers` of a perpetual's index, which names the index alone."""
    instrument = listing.by_symbol.get(frame.symbol)
    if instrument is None:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    found = []
    for i in _read_index_price(frame).data:
        check(idxPx=i.idxPx)
        if i.instId != index_of(instrument.exchange_symbol):
            raise BadFrame(f"index {i.instId!r} filed under {frame.symbol}")
        found.append(
            records.IndexPrice(
                exchange=frame.exchange,
                market=frame.market,
                symbol=frame.symbol,
                timestamp=i.ts * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                index_price=i.idxPx,
            )
        )
    return tuple(found)


def parse_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse `funding-rate`: the rate of the running period, an estimate until `fundingTime`, when it is charged."""
    found = []
    for f in _read_funding(frame).data:
        symbol = instrument_of(f.instId, frame, listing).symbol
        if not f.fundingRate:
            continue
        check(fundingRate=f.fundingRate, signed=("fundingRate",))
        found.append(
            records.FundingRate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol,
                timestamp=frame.received_at if f.ts is None else f.ts * US,
                timestamp_source="received" if f.ts is None else "push",
                received_at=frame.received_at,
                source="live",
                rate=f.fundingRate,
                rate_kind="estimated",
                next_funding_time=f.fundingTime * US,
            )
        )
    return tuple(found)


def parse_open_interest(frame: RawFrame, listing: Listing) -> tuple[records.OpenInterest, ...]:
    """Parse `open-interest`: contracts, base currency, and US dollars, which are the quote currency of some."""
    found = []
    for o in _read_open_interest(frame).data:
        instrument = instrument_of(o.instId, frame, listing)
        value = (o.oiUsd or None) if instrument.quote == "USD" else None
        check(oi=o.oi, oiCcy=o.oiCcy, oiUsd=value)
        found.append(
            records.OpenInterest(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument.symbol,
                timestamp=o.ts * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                open_interest=o.oiCcy,
                open_interest_value=value,
                contracts=o.oi,
            )
        )
    return tuple(found)


def parse_liquidations(frame: RawFrame, listing: Listing) -> tuple[records.Liquidation, ...]:
    """Parse `liquidation-orders`, which carries every instrument of the market.

    `side` is the order's own: sell ends a long. What is called the price is the bankruptcy price of the position; at
    which price the order was filled is not told.
    """
    found = []
    for row in _read_liquidations(frame).data:
        instrument = instrument_of(row.instId, frame, listing)
        for d in row.details:
            check(bkPx=d.bkPx, sz=d.sz)
            if (d.posSide, d.side) in (("long", "buy"), ("short", "sell")):
                raise BadFrame(f"side {d.side} cannot end the {d.posSide} position of {row.instId}")
            found.append(
                records.Liquidation(
                    exchange=frame.exchange,
                    market=frame.market,
                    symbol=instrument.symbol,
                    timestamp=d.ts * US,
                    timestamp_source="match",
                    received_at=frame.received_at,
                    source="live",
                    price=d.bkPx,
                    quantity=base_quantity(instrument, d.sz, d.bkPx),
                    side=d.side,
                    contracts=d.sz,
                )
            )
    return tuple(found)


_read_settled = answer_reader(wire.SettledFunding)
_read_ratios = answer_reader(wire.Ratio)


def parse_settled_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse `funding-rate-history`: rates as they were charged, oldest first."""
    found = []
    for row in sorted(_read_settled(frame), key=lambda row: row.fundingTime):
        symbol = instrument_of(row.instId, frame, listing).symbol
        if not row.realizedRate:
            continue
        check(realizedRate=row.realizedRate, signed=("realizedRate",))
        found.append(
            records.FundingRate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol,
                timestamp=row.fundingTime * US,
                timestamp_source="stamp",
                received_at=frame.received_at,
                source="live",
                rate=row.realizedRate,
                rate_kind="settled",
            )
        )
    return tuple(found)


def _ratio_parser(kind: type[records.LongShortRatio]) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.LongShortRatio, ...]:
        """Parse a long/short ratio, oldest first; the shares are not given. The answer names no symbol: the frame is
        filed under the one it was asked for.
        """
        if frame.symbol not in listing.by_symbol:
            raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
        found = []
        for row in sorted(_read_ratios(frame), key=lambda row: row.ts):
            check(ratio=row.ratio)
            found.append(
                kind(
                    exchange=frame.exchange,
                    market=frame.market,
                    symbol=frame.symbol,
                    timestamp=row.ts * US,
                    timestamp_source="stamp",
                    received_at=frame.received_at,
                    source="live",
                    long_short_ratio=row.ratio,
                    period=RATIO_PERIOD,
                )
            )
        return tuple(found)

    return parse


def contract_channels(kind: str) -> list[Channel]:
    """Return the channels of every contract market; `kind` is the exchange's instrument type."""
    return [
        Channel("mark_price", ("index_price",), stream("mark-price"), parse_mark_price, PUBLIC),
        Channel("open_interest", ("open_interest",), stream("open-interest"), parse_open_interest, PUBLIC),
        Channel(
            "liquidations",
            ("liquidation",),
            lambda symbol: f"liquidation-orders:{kind}",
            parse_liquidations,
            PUBLIC,
            per_symbol=False,
        ),
    ]


INDEX_PRICE = Channel(
    "index_price", ("index_price",), lambda symbol: f"index-tickers:{index_of(symbol)}", parse_index_price, PUBLIC
)
"""Of perpetuals: each has an index of its own. (Dated futures share one, which is that of the perpetual, too.)"""

FUNDING = Channel("funding", ("funding_rate",), stream("funding-rate"), parse_funding, PUBLIC)
"""Of perpetuals."""

PERP_POLLS = (
    Poll(
        "settled_funding",
        ("funding_rate",),
        "/api/v5/public/funding-rate-history?instId={symbol}&limit=10",
        weight=2,
        parse=parse_settled_funding,
        every_s=300,
    ),
    Poll(
        "lsr_top_positions",
        ("lsr_top_position",),
        f"{_RUBIK}/long-short-position-ratio-contract-top-trader?instId={{symbol}}&period={RATIO_PERIOD}&limit=3",
        weight=1,
        parse=_ratio_parser(records.LsrTopPosition),
        every_s=300,
    ),
    Poll(
        "lsr_all_accounts",
        ("lsr_all_account",),
        f"{_RUBIK}/long-short-account-ratio-contract?instId={{symbol}}&period={RATIO_PERIOD}&limit=3",
        weight=1,
        parse=_ratio_parser(records.LsrAllAccount),
        every_s=300,
    ),
)
