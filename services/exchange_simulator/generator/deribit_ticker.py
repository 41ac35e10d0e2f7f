"""Deribit's ticker, which says all that is known of an instrument; options add volatilities and greeks."""

from __future__ import annotations

from math import sqrt

from services.exchange_simulator.generator.deribit_figures import (
    PERCENT_DIGITS,
    Figures,
    base_volume,
    change_units,
    index_digits,
    index_units,
    mark_digits,
    mark_units,
    number,
    turnover,
)
from services.exchange_simulator.generator.deribit_listings import VOLATILITY, OptionListing, reach
from services.exchange_simulator.generator.events import FullTickerEvent
from services.exchange_simulator.generator.figures import amount_units, rounded
from services.exchange_simulator.generator.statistics import FINE_DIGITS

_CENTS = 2
_BAND = 67
"""One part in so many is how far a price may go from the mark."""
_IV_SPREAD = 1.5
_YEAR_US = 365.0 * 86_400_000_000.0


def settlement(event: FullTickerEvent) -> int:
    """Return the price of the last settlement, in units of a mark price's last digit; an option's is in the coin."""
    of_option = event.listing.market == "option"
    return mark_units(event.listing, event.mark.mark_average if of_option else event.mark.settlement)


def ticker_data(event: FullTickerEvent, figures: Figures) -> str:
    """Write the ticker of an instrument, on the stream as in an answer."""
    return "{" + ticker_fields(event, figures) + "}"


def ticker_fields(event: FullTickerEvent, figures: Figures) -> str:
    """Write the ticker's fields without their braces, as answers about a book have them too."""
    listing, bar, mark, touch, price = event.listing, event.bar, event.mark, event.touch, figures.price
    digits = mark_digits(listing)
    fair = mark_units(listing, mark.mark)
    index = number(index_units(listing, mark.index), index_digits(listing))
    spent = number(*turnover(listing, bar))
    if isinstance(listing, OptionListing):
        units, own = turnover(listing, bar)
        dollars = rounded(units * index_units(listing, mark.index), own + index_digits(listing), _CENTS)
        turned = f'"volume_usd":{number(dollars, _CENTS)}'
    else:
        turned = f'"volume_usd":{spent},"volume_notional":{spent}'
    estimated = f'"estimated_delivery_price":{index},'
    percent = number(change_units(bar), PERCENT_DIGITS)
    return (
        f'"timestamp":{event.sent_us // 1_000},"state":"open",'
        f'"stats":{{"high":{price(bar.high)},"low":{price(bar.low)},"price_change":{percent},'
        f'"volume":{number(*base_volume(listing, bar))},{turned}}},'
        f'"index_price":{index},"instrument_name":"{listing.wire_symbol}","last_price":{price(bar.close)},'
        f'"settlement_price":{number(settlement(event), digits)},"min_price":{number(fair - fair // _BAND, digits)},'
        f'"max_price":{number(fair + fair // _BAND, digits)},'
        f'"open_interest":{number(*amount_units(listing, event.open_interest))},"mark_price":{number(fair, digits)},'
        f"{_of_perpetual(event, index) if listing.market == 'perp' else estimated}"
        f"{_of_option(listing, event, index) if isinstance(listing, OptionListing) else ''}"
        f'"best_ask_price":{price(touch.ask)},"best_bid_price":{price(touch.bid)},'
        f'"best_ask_amount":{figures.amount(touch.ask_steps)},"best_bid_amount":{figures.amount(touch.bid_steps)}'
    )


def _of_perpetual(event: FullTickerEvent, index: str) -> str:
    """Write what is said of funding; what settles next stands in its middle."""
    rate = number(event.mark.rate, FINE_DIGITS)
    return f'"interest_value":{rate},"current_funding":{rate},"estimated_delivery_price":{index},"funding_8h":{rate},'


def _of_option(listing: OptionListing, event: FullTickerEvent, index: str) -> str:
    """Write the figures of an option that follow from its price; no record of ours holds them."""
    assert listing.expires_us is not None
    name, left_us = listing.asset.name, listing.expires_us - event.sent_us
    spot = event.mark.index / 10**FINE_DIGITS
    move = reach(name, left_us)
    inner = 1.0 - listing.strike / spot if listing.call else listing.strike / spot - 1.0
    slope = inner / sqrt(inner * inner + move * move)
    delta = (1.0 + slope) / 2.0 if listing.call else -(1.0 + slope) / 2.0
    gamma = (1.0 - slope * slope) / (spot * max(move, 1.0e-9) * 4.0)
    vega = spot * sqrt(max(0, left_us) / _YEAR_US) * (1.0 - slope * slope) / 250.0
    theta = -vega * VOLATILITY[name] * 50.0 / max(1.0, left_us / 86_400_000_000)
    volatility = VOLATILITY[name] * 100.0
    return (
        f'"greeks":{{"vega":{vega:.5f},"theta":{theta:.5f},"rho":{spot * delta / 1_000.0:.5f},"gamma":{gamma:.5f},'
        f'"delta":{delta:.5f}}},"bid_iv":{volatility - _IV_SPREAD:.2f},"ask_iv":{volatility + _IV_SPREAD:.2f},'
        f'"mark_iv":{volatility:.2f},"interest_rate":0.0,"underlying_price":{index},'
        f'"underlying_index":"{listing.wire_symbol.rsplit("-", 2)[0]}",'
    )
