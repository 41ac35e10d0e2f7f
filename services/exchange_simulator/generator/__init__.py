"""The generator: invented but plausible markets in the exchanges' own wire formats.

Everything is a pure function of (seed, asset or symbol, market time), so two processes agree, a run may start in the
past, and REST answers about moments before the run. An asset has one price, on which every instrument of every exchange
hangs with a small basis of its own. `events_per_s` is spread over all exchanges and markets, most of it to perpetuals,
and counts the mix of a recorded futures session: 50% book changes, 40% quotes, 6% trades, 4% candles of one minute.
Candles of other intervals, single fills, tickers, mark prices, liquidations come on top. Book changes of a busy symbol
come more often than the exchange's own interval when the rate asks for it.

An exchange market is a `Dialect` (dialect.py) in `DIALECTS`; everything else here is common:

* `<exchange>_listings.py`: what is listed, from the assets (`names.Listing`); `usdt_listings.py` where that is alike.
* `<exchange>_frames.py`, `_rest.py`, `_info.py`: events and history in the exchange's own words.
* `<exchange>_rows.py`: what the tables must hold of each event, in base currency, times in us; no parser is asked.
* `<exchange>_voice.py`: the `Dialect` itself, and its `Voice`, which puts these together with the control protocol.

Topics that a stream may stand for: `trade`, `fill`, `quote`, `book`, `candle_<interval>`, `ticker`, `short_ticker`,
`full_ticker`, `changed_ticker`; on contract markets also `mark`, `mark_slow`, `index`, `funding`, `open_interest`,
`positions`, `liquidation`. Streams of other names are acknowledged, as the exchange does, and stay silent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from schemas.errors import SettingsError
from services.exchange_simulator.generator import (
    binance_voice,
    bybit_voice,
    deribit_voice,
    gateio_voice,
    mexc_voice,
    okx_voice,
)
from services.exchange_simulator.generator.clock import Clock
from services.exchange_simulator.generator.dialect import Dialect
from services.exchange_simulator.generator.ledger import Ledger
from services.exchange_simulator.generator.market import Market, PriceProcess
from services.exchange_simulator.generator.mispricing import Windows
from services.exchange_simulator.generator.names import MOST_ASSETS, assets
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.settings import SimulatorSettings
from services.exchange_simulator.venue import Venue

DIALECTS: tuple[Dialect, ...] = (
    binance_voice.SPOT,
    binance_voice.PERP,
    okx_voice.SPOT,
    okx_voice.PERP,
    okx_voice.FUTURE,
    deribit_voice.PERP,
    deribit_voice.FUTURE,
    deribit_voice.OPTION,
    gateio_voice.SPOT,
    gateio_voice.PERP,
    mexc_voice.SPOT,
    mexc_voice.PERP,
    bybit_voice.SPOT,
    bybit_voice.PERP,
)
"""Every exchange market that can be generated."""

_RESERVE = 3
"""How many assets can be listed while a market runs."""

EXCHANGES = tuple(dict.fromkeys(dialect.exchange for dialect in DIALECTS))


def build(settings: SimulatorSettings) -> Sequence[Venue]:
    """Return the generated markets of each exchange asked for. Raises SettingsError for a wrong setting."""
    exchanges = tuple(dict.fromkeys(settings.exchanges)) or EXCHANGES
    if unknown := [name for name in exchanges if name not in EXCHANGES]:
        raise SettingsError(f"exchanges={','.join(unknown)}: cannot be generated; allowed: {', '.join(EXCHANGES)}")
    offered = sorted({dialect.market for dialect in DIALECTS if dialect.exchange in exchanges})
    if unknown := [name for name in settings.markets if name not in offered]:
        raise SettingsError(f"markets={','.join(unknown)}: cannot be generated; allowed: {', '.join(offered)}")
    try:
        chosen = assets(settings.seed, _wanted(settings.symbols))
        named = set(chosen)
        later = [asset for asset in assets(settings.seed, MOST_ASSETS) if asset not in named][:_RESERVE]
    except ValueError as error:
        raise SettingsError(str(error)) from None
    process = {asset: PriceProcess(asset, settings.seed) for asset in (*chosen, *later)}
    clock = Clock(settings.start_us, settings.duration_s)
    start_us = time.time_ns() // 1000 if settings.start_us is None else settings.start_us
    rate = settings.events_per_s / len(exchanges)
    try:
        windows = Windows(settings.mispricings, start_us)
    except ValueError as error:
        raise SettingsError(f"mispricings: {error}") from None
    venues: list[GeneratedVenue] = []
    everything: list[Market] = []
    for dialect in DIALECTS:
        if dialect.exchange not in exchanges or (settings.markets and dialect.market not in settings.markets):
            continue
        listed = dialect.listings(chosen, rate, start_us)
        reserve = [one for one in dialect.listings((*chosen, *later), rate, start_us) if one.asset in later]
        ledger = Ledger(settings.data_dir / "ledger" if settings.ledger else None, (*listed, *reserve), dialect.rows)
        markets, more = (
            [
                Market(
                    one,
                    settings.seed,
                    windows.on(dialect.prices(one, process[one.asset]), one.asset.name, one.exchange, one.market),
                    settings.block_s,
                )
                for one in listings
            ]
            for listings in (listed, reserve)
        )
        if markets:
            venues.append(GeneratedVenue(dialect, markets, clock, ledger, more))
            everything += markets
    if settings.ledger:
        windows.write(settings.data_dir / "ledger", everything)
    return venues


def prepare(venues: Sequence[Venue], settings: SimulatorSettings) -> None:
    """Do what takes long before anybody is served."""
    start_us = time.time_ns() // 1000 if settings.start_us is None else settings.start_us
    for venue in venues:
        if isinstance(venue, GeneratedVenue):
            venue.prepare(start_us)


def _wanted(symbols: tuple[str, ...]) -> int | tuple[str, ...]:
    """Read the setting: one number is how many assets, anything else names them."""
    if len(symbols) == 1 and symbols[0].isdecimal():
        return int(symbols[0])
    return symbols
