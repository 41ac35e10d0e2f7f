"""What Deribit's markets have in common: address, limits, book rule; and the two that have nothing more than that."""

from __future__ import annotations

from collections.abc import Sequence

from services.shared.exchanges import deribit, deribit_control, deribit_limits, deribit_rest
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    BookRule,
    Channel,
    Limits,
    Market,
    Poll,
    Verdict,
)
from services.shared.exchanges.deribit import stream
from services.shared.exchanges.deribit_control import INTERVAL
from services.shared.exchanges.deribit_prices import RESOLUTIONS, candle_parser, parse_ticker
from services.shared.exchanges.server_time import time_poll

LIMITS = Limits(
    streams_per_connection=500,
    streams_per_message=300,
    messages_per_s=3,
    connects_per_5_min=300,
    lifetime_s=24 * 3_600,
    connections=32,
)
"""A request holds 32 kB, 300 names of 60 letters; 3.3 subscribe calls a second; 32 connections an address
at the same time. Lifetime and connects are our own choice: the exchange names no limit."""


def first_change(snapshot: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge the first change after a snapshot: it follows the snapshot's id, or begins in what the snapshot holds."""
    if last <= snapshot:
        return IGNORE
    return APPLY if previous is not None and previous <= snapshot else BROKEN


def later_change(book: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge a later change: `prev_change_id` is the last change's `change_id`, or something is missing."""
    if previous == book:
        return APPLY
    return IGNORE if last <= book else BROKEN


def common_channels() -> list[Channel]:
    """Return the channels that every market has.

    Liquidations are taken from the same trades, told once a second (`agg2`): a stream of their own, so that what is
    known and what is missing of them is known apart from the numbered trades.
    """
    return [
        Channel("trades", ("trade",), stream(f"trades.{{}}.{INTERVAL}"), deribit.parse_trades),
        Channel("liquidations", ("liquidation",), stream("trades.{}.agg2"), deribit.parse_liquidations),
        Channel("depth", ("book_change",), stream(f"book.{{}}.{INTERVAL}"), deribit.parse_book),
        Channel("quotes", ("quote",), stream("quote.{}"), deribit.parse_quotes),
        *(
            Channel(
                f"candles_{interval}",
                ("candle_update", "candle"),
                stream(f"chart.trades.{{}}.{resolution}"),
                candle_parser(interval),
                interval=interval,
                closes_itself=False,
            )
            for interval, resolution in RESOLUTIONS.items()
        ),
    ]


_TIME = time_poll("/api/v2/public/get_time", deribit_limits.read_time)


def market(
    name: str, kind: str, channels: Sequence[Channel], polls: Sequence[Poll] = (), starter: Sequence[str] = ()
) -> Market:
    """Return one market: its name in our words, its kind in the exchange's, and what it offers."""
    instruments = deribit_rest.instruments(kind)
    return Market(
        exchange=deribit.EXCHANGE,
        market=name,
        ws_url="wss://www.deribit.com",
        rest_url="https://www.deribit.com",
        routes={"": "/ws/api/v2"},
        limits=LIMITS,
        channels={channel.name: channel for channel in channels},
        polls={poll.name: poll for poll in (instruments, _TIME, *deribit_rest.common_polls(), *polls)},
        instruments=instruments,
        book_channel="depth",
        book_snapshot=None,
        book_rule=BookRule(first_change, later_change),
        subscribe=deribit_control.subscribe,
        unsubscribe=deribit_control.unsubscribe,
        sort=deribit_control.sort,
        rest=deribit_limits.RULES,
        time=_TIME,
        starter=starter,
        greeting=deribit_control.GREETING,
    )


_DATED = [
    *common_channels(),
    Channel("ticker", ("ticker", "index_price", "open_interest"), stream(f"ticker.{{}}.{INTERVAL}"), parse_ticker),
]

DERIBIT_FUTURE = market("future", "future", _DATED)
"""Dated futures, `BTC-25DEC26`: collected where they are named."""

DERIBIT_OPTION = market("option", "option", _DATED)
"""Options. An inverse one's price is in its coin, its amount too."""
