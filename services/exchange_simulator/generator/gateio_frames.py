"""Gate.io's WebSocket frames of 2026, spot and USDT futures: events in, the exchange's own JSON out.

Key order and number forms are those of live frames of 2026 where one is recorded, else of the sessions of 2021 and 2023
with the keys that the exchange's pages have added; `tests/contract/test_generated_frames_gateio.py` holds each against
them. Sizes of futures are whole numbers, as in every recorded frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FullTickerEvent,
    LiquidationEvent,
    Message,
    PositionsEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import text_of, trimmed
from services.exchange_simulator.generator.gateio_figures import (
    ALL_ACCOUNTS,
    PERCENT_DIGITS,
    RATE_DIGITS,
    TOP_ACCOUNTS,
    TOP_POSITIONS,
    Figures,
    change_units,
    mark_units,
    rate_units,
)
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FUNDING_INTERVAL_US, RATIO_DIGITS


class Encoder:
    """Encodes the messages of one market."""

    def __init__(self, market: str) -> None:
        self._figures: dict[Listing, Figures] = {}
        self._writers = SPOT if market == "spot" else PERP

    def figures(self, listing: Listing) -> Figures:
        """Return the writer of a listing's numbers."""
        figures = self._figures.get(listing)
        if figures is None:
            figures = self._figures[listing] = Figures(listing)
        return figures

    def payload(self, message: Message) -> bytes:
        """Return a message's frame, the same on whatever stream."""
        assert isinstance(message, Event)
        channel, write = self._writers[type(message)]
        sent_us = message.sent_us
        return (
            f'{{"time":{sent_us // 1_000_000},"time_ms":{sent_us // 1_000},"channel":"{channel}",'
            f'"event":"update","result":{write(message, self.figures(message.listing))}}}'
        ).encode()


def _spot_trade(event: TradeEvent, figures: Figures) -> str:
    """Write an aggregate trade as one row that merges its fills' market ids, named by the last of them."""
    trade = event.trade
    millis, micros = divmod(trade.time_us, 1_000)
    return (
        f'{{"id":{trade.last_id},"id_market":{trade.last_id},"create_time":{trade.time_us // 1_000_000},'
        f'"create_time_ms":"{millis}.{micros:03d}000","side":"{"buy" if trade.buy else "sell"}",'
        f'"currency_pair":"{event.listing.wire_symbol}","amount":"{figures.amount(trade.steps)}",'
        f'"price":"{figures.price(trade.ticks)}","range":"{trade.first_id}-{trade.last_id}"}}'
    )


def _spot_depth(event: BookEvent, figures: Figures) -> str:
    return (
        f'{{"t":{event.time_us // 1_000},"e":"depthUpdate","E":{event.sent_us // 1_000_000},'
        f'"s":"{event.listing.wire_symbol}","U":{event.previous_id + 1},"u":{event.last_id},'
        f'"b":[{figures.levels(event.bids[::-1])}],"a":[{figures.levels(event.asks)}]}}'
    )


def _spot_quote(event: QuoteEvent, figures: Figures) -> str:
    touch = event.touch
    return (
        f'{{"t":{event.time_us // 1_000},"u":{event.update_id},"s":"{event.listing.wire_symbol}",'
        f'"b":"{figures.price(touch.bid)}","B":"{figures.amount(touch.bid_steps)}",'
        f'"a":"{figures.price(touch.ask)}","A":"{figures.amount(touch.ask_steps)}"}}'
    )


def _spot_candle(event: CandleEvent, figures: Figures) -> str:
    bar, price = event.bar, figures.price
    return (
        f'{{"t":"{event.open_us // 1_000_000}","v":"{figures.value(bar.value)}","c":"{price(bar.close)}",'
        f'"h":"{price(bar.high)}","l":"{price(bar.low)}","o":"{price(bar.open)}",'
        f'"n":"{event.interval}_{event.listing.wire_symbol}","a":"{figures.amount(bar.volume)}",'
        f'"w":{"true" if event.closed else "false"}}}'
    )


def spot_ticker(event: TickerEvent, figures: Figures) -> str:
    """Write the 24 hour statistics of a pair, on the stream as in an answer."""
    bar, touch, price = event.bar, event.touch, figures.price
    percent = text_of(change_units(bar), PERCENT_DIGITS)
    return (
        f'{{"currency_pair":"{event.listing.wire_symbol}","last":"{price(bar.close)}",'
        f'"lowest_ask":"{price(touch.ask)}","highest_bid":"{price(touch.bid)}","change_percentage":"{percent}",'
        f'"base_volume":"{figures.amount(bar.volume)}","quote_volume":"{figures.value(bar.value)}",'
        f'"high_24h":"{price(bar.high)}","low_24h":"{price(bar.low)}"}}'
    )


def _perp_trade(event: TradeEvent, figures: Figures) -> str:
    return f"[{perp_trade(event.trade, figures)}]"


def perp_trade(trade: Trade, figures: Figures) -> str:
    """Write one row of `futures.trades`; its ids are those of aggregate trades, which follow without a hole."""
    return (
        f'{{"id":{trade.aggregate_id},"size":{trade.steps if trade.buy else -trade.steps},'
        f'"create_time":{trade.time_us // 1_000_000},"create_time_ms":{trade.time_us // 1_000},'
        f'"price":"{figures.price(trade.ticks)}","contract":"{figures.listing.wire_symbol}"}}'
    )


def _perp_depth(event: BookEvent, figures: Figures) -> str:
    return (
        f'{{"t":{event.time_us // 1_000},"s":"{event.listing.wire_symbol}","U":{event.previous_id + 1},'
        f'"u":{event.last_id},"b":[{figures.levels(event.bids[::-1])}],"a":[{figures.levels(event.asks)}],"l":"100"}}'
    )


def _perp_quote(event: QuoteEvent, figures: Figures) -> str:
    touch = event.touch
    return (
        f'{{"t":{event.time_us // 1_000},"u":{event.update_id},"s":"{event.listing.wire_symbol}",'
        f'"b":"{figures.price(touch.bid)}","B":{touch.bid_steps},'
        f'"a":"{figures.price(touch.ask)}","A":{touch.ask_steps}}}'
    )


def _perp_candle(event: CandleEvent, figures: Figures) -> str:
    bar, price = event.bar, figures.price
    return (
        f'[{{"t":{event.open_us // 1_000_000},"c":"{price(bar.close)}","h":"{price(bar.high)}",'
        f'"l":"{price(bar.low)}","o":"{price(bar.open)}","a":"{figures.value(bar.value)}",'
        f'"n":"{event.interval}_{event.listing.wire_symbol}","w":{"true" if event.closed else "false"},'
        f'"v":{bar.volume}}}]'
    )


def _perp_ticker(event: FullTickerEvent, figures: Figures) -> str:
    return f"[{perp_ticker(event, figures)}]"


def perp_ticker(event: FullTickerEvent, figures: Figures) -> str:
    """Write all that is said of a contract: 24 hours, mark and index price, funding, open interest in contracts."""
    bar, mark, listing, price = event.bar, event.mark, event.listing, figures.price
    percent = text_of(change_units(bar), PERCENT_DIGITS)
    quote = figures.whole_value(bar.value)
    rate = trimmed(rate_units(mark.rate), RATE_DIGITS)
    next_s = mark.next_funding_us // 1_000_000
    return (
        f'{{"contract":"{listing.wire_symbol}","last":"{price(bar.close)}","change_percentage":"{percent}",'
        f'"total_size":"{event.open_interest}","volume_24h":"{bar.volume}","volume_24h_base":"{figures.amount(bar.volume)}",'
        f'"volume_24h_quote":"{quote}","volume_24h_settle":"{quote}","mark_price":"{mark_text(listing, mark.mark)}",'
        f'"funding_rate":"{rate}","funding_rate_indicative":"{rate}",'
        f'"funding_interval":{FUNDING_INTERVAL_US // 1_000_000},"funding_offset":0,"funding_next_apply":{next_s},'
        f'"index_price":"{mark_text(listing, mark.index)}","quanto_base_rate":"","low_24h":"{price(bar.low)}",'
        f'"high_24h":"{price(bar.high)}","price_type":"last","change_from":"24h",'
        f'"change_price":"{price(bar.close - bar.open)}","t":{event.close_us // 1_000}}}'
    )


def mark_text(listing: Listing, price: int) -> str:
    """Write a mark or index price, given in 10^-8, with the digits of the listing's prices."""
    return text_of(mark_units(listing, price), listing.price_digits)


def _perp_liquidation(event: LiquidationEvent, figures: Figures) -> str:
    order = event.order
    return (
        f'[{{"price":{trimmed(order.average_ticks * event.listing.tick_units, event.listing.price_digits)},'
        f'"size":{order.steps if order.buy else -order.steps},"time_ms":{order.time_us // 1_000},'
        f'"contract":"{event.listing.wire_symbol}"}}]'
    )


def _statistics(event: PositionsEvent, figures: Figures) -> str:
    """Write `contract_stats` as of the end of its last period; what it says of that period is not generated."""
    listing = event.listing
    ratios = {name: trimmed(ratio.quotient, RATIO_DIGITS) for name, ratio in event.ratios.items()}
    return (
        f'[{{"time":{event.time_us // 1_000_000},"contract":"{listing.wire_symbol}",'
        f'"lsr_account":{ratios[ALL_ACCOUNTS]},"open_interest":{event.steps},'
        f'"top_lsr_account":{ratios[TOP_ACCOUNTS]},"top_lsr_size":{ratios[TOP_POSITIONS]}}}]'
    )


_Writers = Mapping[type[Event], tuple[str, Callable[[Any, Figures], str]]]

SPOT: _Writers = {
    TradeEvent: ("spot.trades", _spot_trade),
    BookEvent: ("spot.order_book_update", _spot_depth),
    QuoteEvent: ("spot.book_ticker", _spot_quote),
    CandleEvent: ("spot.candlesticks", _spot_candle),
    TickerEvent: ("spot.tickers", spot_ticker),
}
PERP: _Writers = {
    TradeEvent: ("futures.trades", _perp_trade),
    BookEvent: ("futures.order_book_update", _perp_depth),
    QuoteEvent: ("futures.book_ticker", _perp_quote),
    CandleEvent: ("futures.candlesticks", _perp_candle),
    FullTickerEvent: ("futures.tickers", _perp_ticker),
    LiquidationEvent: ("futures.public_liquidates", _perp_liquidation),
    PositionsEvent: ("futures.contract_stats", _statistics),
}
