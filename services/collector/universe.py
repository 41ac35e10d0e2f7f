"""Which instruments are collected: the universes, the patterns that add to and take from them, and named symbols."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from schemas.records import Instrument
from services.shared.exchanges.declaration import Listing, Market
from services.shared.exchanges.lifecycle import ENDED, TRADING

UniverseName = Literal["none", "starter", "all-usdt-perpetuals", "arbitrage"]

MarketKey = tuple[str, str]
"""Exchange and market."""


COMPARED = ("spot", "perp")
"""The markets that decide whether two exchanges list an asset."""


class Pattern(NamedTuple):
    """`<exchange>.<market>:<symbol>`, either part with `*`, `?` and `[...]`; the symbol is ours or the exchange's."""

    text: str
    where: str
    symbol: str

    def of_market(self, key: MarketKey) -> bool:
        """Whether it is about this market."""
        return fnmatchcase(".".join(key), self.where)

    def matches(self, item: Instrument) -> bool:
        """Whether it names this instrument."""
        return self.of_market((item.exchange, item.market)) and (
            fnmatchcase(item.symbol, self.symbol) or fnmatchcase(item.exchange_symbol, self.symbol)
        )


def pattern(text: str, markets: Collection[MarketKey]) -> Pattern:
    """Read a pattern. Raises ValueError when it is not of the form, or about none of `markets`."""
    where, colon, symbol = text.partition(":")
    if not (where and colon and symbol):
        raise ValueError(f"{text!r} is not <exchange>.<market>:<symbol>, such as binance.perp:*-USDT-PERP or *:1000*")
    found = Pattern(text, where, symbol)
    if not any(found.of_market(key) for key in markets):
        raise ValueError(
            f"{text!r} is about no market; there are {', '.join(sorted('.'.join(key) for key in markets))}"
        )
    return found


class Chosen(NamedTuple):
    """The instruments to collect, and the symbols that cannot be, each with why."""

    instruments: tuple[Instrument, ...]
    left_out: tuple[tuple[str, str], ...]


def market_of(symbol: str) -> str:
    """Return the market that a symbol's form belongs to (`BTC-USDT-PERP`: perp). By the project's naming rule."""
    parts = symbol.split("-")
    if parts[-1] == "PERP":
        return "perp"
    if len(parts) == 5:
        return "option"
    return "future" if len(parts) == 3 and parts[-1].isdigit() else "spot"


class Universe:
    """What to collect of every market. `symbols`, where given, replaces universe and patterns.

    A symbol is one of ours (`BTC-USDT-PERP`), or an exchange's own behind its market (`binance.perp:BTCUSDT`).
    """

    def __init__(
        self,
        name: UniverseName,
        symbols: Sequence[str] = (),
        include: Sequence[Pattern] = (),
        exclude: Sequence[Pattern] = (),
    ) -> None:
        self._name = name
        self._symbols = symbols
        self._include = include
        self._exclude = exclude
        self._listings: dict[MarketKey, Listing] = {}
        self._common: frozenset[str] = frozenset()

    def learn(self, key: MarketKey, listing: Listing) -> bool:
        """Take a market's list; return whether what is chosen of other markets may be another now."""
        self._listings[key] = listing
        before, self._common = self._common, _in_common(self._listings) if self._name == "arbitrage" else self._common
        return before != self._common

    def choose(self, market: Market, collected: Collection[str] = ()) -> Chosen:
        """Return which instruments of a market are collected.

        What is `collected` already stays while it is listed: a halt of trading is no end, and the first trade after it
        is not to be missed.
        """
        listing = self._listings.get((market.exchange, market.market), Listing())
        chosen: list[Instrument] = []
        left_out: list[tuple[str, str]] = []
        for symbol in dict.fromkeys(self._wanted(market, listing)):
            item = listing.by_symbol.get(symbol)
            if item is None:
                left_out.append((symbol, f"{market.exchange} {market.market} lists no such symbol"))
            elif item.status == TRADING or (symbol in collected and item.status not in ENDED):
                chosen.append(item)
            elif self._symbols or self._name == "starter":
                left_out.append((symbol, f"its status is {item.status}"))
        return Chosen(tuple(chosen), tuple(left_out))

    def unmatched(self, markets: Iterable[MarketKey]) -> list[Pattern]:
        """Return the patterns about these markets that name nothing they list. Empty until every list is known."""
        keys = list(markets)
        if self._symbols or any(key not in self._listings for key in keys):
            return []
        listed = [item for key in keys for item in self._listings[key].by_symbol.values()]
        ours = [each for each in (*self._include, *self._exclude) if any(map(each.of_market, keys))]
        return [each for each in ours if not any(map(each.matches, listed))]

    def _wanted(self, market: Market, listing: Listing) -> Iterable[str]:
        if self._symbols:
            return (name for symbol in self._symbols if (name := _ours(market, listing, symbol)) is not None)
        items = listing.by_symbol.values()
        wanted = list(market.starter) if self._name == "starter" else []
        wanted += sorted(
            item.symbol for item in items if self._belongs(item) or any(each.matches(item) for each in self._include)
        )
        return (name for name in wanted if not self._excluded(listing.by_symbol.get(name)))

    def _belongs(self, item: Instrument) -> bool:
        if self._name not in ("all-usdt-perpetuals", "arbitrage"):
            return False
        if item.market == "perp" and item.quote == "USDT":
            return True
        return self._name == "arbitrage" and item.market in COMPARED and item.asset in self._common

    def _excluded(self, item: Instrument | None) -> bool:
        return item is not None and any(each.matches(item) for each in self._exclude)


def _in_common(listings: Mapping[MarketKey, Listing]) -> frozenset[str]:
    """Return the assets of which two exchanges list a spot pair or a perpetual that trades."""
    by_exchange: dict[str, set[str]] = {}
    for (exchange, market), listing in listings.items():
        if market in COMPARED:
            assets = by_exchange.setdefault(exchange, set())
            assets |= {item.asset for item in listing.by_symbol.values() if item.status == TRADING}
    seen: set[str] = set()
    common: set[str] = set()
    for assets in by_exchange.values():
        common |= seen & assets
        seen |= assets
    return frozenset(common)


def _ours(market: Market, listing: Listing, symbol: str) -> str | None:
    """Return the symbol in our words, or None when it is not of this market."""
    where, colon, own = symbol.partition(":")
    if not colon:
        return symbol if market_of(symbol) == market.market else None
    if where != f"{market.exchange}.{market.market}":
        return None
    item = listing.by_exchange_symbol.get(own)
    return item.symbol if item is not None else symbol


class Catalogue:
    """The list of one market as it is read again and again: what is missing once may be an incomplete answer."""

    def __init__(self) -> None:
        self.listing = Listing()
        """What is listed, with what was missing from the last list alone."""
        self._missing: set[str] = set()

    def take(self, found: Sequence[Instrument]) -> None:
        """Take a list as it was read."""
        named = {item.symbol for item in found}
        spared = [
            item
            for symbol, item in self.listing.by_symbol.items()
            if symbol not in named and symbol not in self._missing
        ]
        self._missing = {item.symbol for item in spared}
        self.listing = Listing([*found, *spared])
