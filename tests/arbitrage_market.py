"""A market of several exchanges with known windows of mispricing, as the messages that MD would hold.

Prices are written from a schedule: an asset's instruments agree to within a few hundredths of a percent, but for the
windows, during which one instrument is off by a given percent. Books are small and whole: a far level on each side
stands for good, so that every size is filled or not by the same rule whoever looks.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from schemas import subjects

SECOND = 1_000_000
START = 1_750_000_000 * SECOND
LEVELS = 4
TICK = Decimal("0.001")
FAR = Decimal("0.6")
"""How far the standing level is from the price, as a share."""


class Listed(NamedTuple):
    """One instrument: `multiplier` units of the asset in one of base."""

    exchange: str
    market: str
    symbol: str
    asset: str
    quote: str
    multiplier: int = 1
    step: str = "0.001"

    @property
    def name(self) -> tuple[str, str, str]:
        return self.exchange, self.market, self.symbol


class Window(NamedTuple):
    """From `start` for `length` microseconds `where` is off by `percent`; `kind` says what is special about it."""

    kind: str
    where: Listed
    percent: Decimal
    start: int
    length: int


class Message(NamedTuple):
    """One message of MD; `at` is our clock."""

    at: int
    subject: str
    body: bytes
    listed: Listed


@dataclass
class Instrument:
    """One instrument's state while the market is written."""

    listed: Listed
    price: Decimal
    rng: random.Random
    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)
    sequence: int = 0
    told_second: int = -1
    in_step: bool = True

    def draw(self, percent: Decimal) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
        """Invent the book anew around the price."""
        rng, unit = self.rng, self.listed.multiplier
        noise = Decimal(rng.randint(-20, 20)) / 100_000
        middle = (self.price * unit * (1 + percent / 100 + noise)).quantize(TICK)
        bids, asks = {}, {}
        below, above = middle - TICK * rng.randint(1, 3), middle + TICK * rng.randint(1, 3)
        for _ in range(LEVELS):
            bids[below] = self._quantity(rng)
            asks[above] = self._quantity(rng)
            below -= TICK * rng.randint(1, 40)
            above += TICK * rng.randint(1, 40)
        bids[(self.price * unit * (1 - FAR)).quantize(TICK)] = Decimal(1_000_000) / unit
        asks[(self.price * unit * (1 + FAR)).quantize(TICK)] = Decimal(1_000_000) / unit
        return bids, asks

    def _quantity(self, rng: random.Random) -> Decimal:
        return (Decimal(rng.randint(1, 4_000)) / self.listed.multiplier / 10).quantize(Decimal("0.000001"))


def plain(value: Decimal) -> str:
    return format(value, "f")


def record(listed: Listed, at: int, **fields: Any) -> dict[str, Any]:
    """The fields that every record carries, and these."""
    return {
        "exchange": listed.exchange,
        "market": listed.market,
        "symbol": listed.symbol,
        "timestamp": at - 20_000,
        "timestamp_source": "push",
        "received_at": at,
        "source": "live",
        **fields,
    }


def message(kind: str, listed: Listed, at: int, **fields: Any) -> Message:
    body = json.dumps(record(listed, at, **fields)).encode()
    return Message(at, subjects.md(kind, *listed.name), body, listed)


def listing(listed: Listed, at: int = START, **changed: Any) -> Message:
    """The instrument's terms."""
    base, _, _ = listed.symbol.partition("-")
    fields = {
        "exchange_symbol": listed.symbol.replace("-", ""),
        "base": base,
        "quote": listed.quote,
        "asset": listed.asset,
        "multiplier": str(listed.multiplier),
        "status": "trading",
        "quantity_step": listed.step,
        **changed,
    }
    return message("instrument", listed, at, **fields)


def gap(listed: Listed, at: int, kind: str = "book_change") -> Message:
    """Something of the instrument is missing."""
    body = record(listed, at, gap_id=f"g{at}", kind=kind, gap_type="sequence", status="open", evidence="x")
    return Message(at, subjects.gap(*listed.name), json.dumps({**body, "detection_time": at}).encode(), listed)


def rows(side: dict[Decimal, Decimal], *, bids: bool, contracts: bool) -> list[list[str]]:
    found = [[plain(price), plain(side[price])] for price in sorted(side, reverse=bids)]
    return [[*level, "1"] for level in found] if contracts else found


def tell(instrument: Instrument, at: int, percent: Decimal) -> Iterator[Message]:
    """One step: the book changes, and what a normaliser would say of it."""
    listed = instrument.listed
    contracts = listed.market == "perp"
    second = at // SECOND
    if instrument.bids and second > instrument.told_second and instrument.in_step:
        instrument.told_second = second
        yield message(
            "orderbook",
            listed,
            at - 1,
            sequence=instrument.sequence,
            bids=rows(instrument.bids, bids=True, contracts=contracts),
            asks=rows(instrument.asks, bids=False, contracts=contracts),
        )
    bids, asks = instrument.draw(percent)
    changes = []
    for old, new in ((instrument.bids, bids), (instrument.asks, asks)):
        differs = {price: Decimal(0) for price in old if price not in new}
        changes.append(differs | {price: quantity for price, quantity in new.items() if old.get(price) != quantity})
    instrument.bids, instrument.asks = bids, asks
    instrument.sequence += 1
    best_bid, best_ask = max(bids), min(asks)
    quote = message(
        "quote",
        listed,
        at,
        bid_price=plain(best_bid),
        bid_quantity=plain(bids[best_bid]),
        ask_price=plain(best_ask),
        ask_quantity=plain(asks[best_ask]),
        sequence=instrument.sequence,
    )
    change = message(
        "book_change",
        listed,
        at,
        first_sequence=instrument.sequence,
        last_sequence=instrument.sequence,
        bids=rows(changes[0], bids=True, contracts=contracts),
        asks=rows(changes[1], bids=False, contracts=contracts),
        in_step=instrument.in_step,
    )
    yield from instrument.rng.choice(((quote, change), (change, quote), (change,), (change,)))


class Plan(NamedTuple):
    """A market and what is true of it."""

    listed: list[Listed]
    windows: list[Window]
    messages: list[Message]


KINDS = ("true", "true", "true", "below_cost", "short", "stale", "out_of_step", "other_coin", "far_coin")
"""Kinds of windows, in turn."""


def market(assets: int, windows: int, seed: int = 1) -> Plan:
    """Write a market of `assets` assets with `windows` windows each, one after the other."""
    rng = random.Random(seed)
    listed: list[Listed] = []
    found: list[Window] = []
    told: list[Message] = []
    for number in range(assets):
        own = listed_of(f"A{number}")
        listed += own
        planned = list(plan(own, windows, rng, number))
        found += planned
        told += play(own, planned, random.Random(f"{seed} {number}"))
    told.sort(key=lambda item: item.at)
    return Plan(listed, found, [*(listing(one) for one in listed), *told])


def listed_of(asset: str) -> list[Listed]:
    """The instruments of an asset: three of the same coin, and two that only share its name."""
    return [
        Listed("binance", "spot", f"{asset}-USDT", asset, "USDT"),
        Listed("okx", "spot", f"{asset}-USDC", asset, "USDC", step="0.01"),
        Listed("bybit", "perp", f"1000{asset}-USDT-PERP", asset, "USDT", 1000, "0.0001"),
        Listed("mexc", "spot", f"{asset}-USDT", asset, "USDT"),
        Listed("gateio", "spot", f"{asset}-USDT", asset, "USDT"),
    ]


def plan(own: list[Listed], count: int, rng: random.Random, number: int) -> Iterator[Window]:
    """Windows of an asset, a few seconds apart."""
    at = START + 3 * SECOND + rng.randrange(SECOND)
    for place in range(count):
        kind = KINDS[(place + number) % len(KINDS)]
        length = rng.randrange(1_200, 2_500) * 1000 if kind == "short" else rng.randrange(6_200, 7_000) * 1000
        percent = Decimal(rng.randint(10, 35)) / 100 if kind == "below_cost" else Decimal(rng.randint(120, 400)) / 100
        where = {"other_coin": own[3], "far_coin": own[4]}.get(kind, rng.choice(own[:3]))
        yield Window(kind, where, percent * rng.choice((1, -1)), at, length)
        at += length + rng.randrange(2_200, 2_800) * 1000


def play(own: list[Listed], windows: list[Window], rng: random.Random) -> Iterator[Message]:
    """Tell the market of one asset: each instrument every 600 to 900 ms, in its windows as they say."""
    price = Decimal(rng.randint(500, 50_000)) / 100
    end = windows[-1].start + windows[-1].length + 2 * SECOND
    for listed in own:
        # The coin of mexc is listed in the settings as another one; that of gateio costs twice as much.
        instrument = Instrument(listed, price * (2 if listed.exchange == "gateio" else 1), rng)
        mine = [window for window in windows if window.where is listed]
        at = START + rng.randrange(100, 600) * 1000
        while at < end:
            window = next((one for one in mine if one.start <= at < one.start + one.length), None)
            before = next((one for one in mine if one.start - 2 * SECOND <= at < one.start + one.length), None)
            if before is not None and before.kind == "out_of_step":
                if instrument.in_step:
                    yield gap(listed, at)
                    instrument.in_step = False
            elif not instrument.in_step:
                instrument.in_step = True
                instrument.told_second = -1
            # A stale side shows the wrong price once, with a time of long ago, and says nothing new until the end.
            if window is not None and window.kind == "stale":
                for item in tell(instrument, at, window.percent):
                    body = json.loads(item.body)
                    body["timestamp"] = at - 2_100_000 - rng.randrange(SECOND)
                    yield item._replace(body=json.dumps(body).encode())
            else:
                yield from tell(instrument, at, Decimal(0) if window is None else window.percent)
            at += rng.randrange(600, 900) * 1000
