"""The generator: invented but plausible markets in the exchanges' own wire formats.

Everything is a pure function of (seed, asset or symbol, market time), so two processes agree, a run may start in the
past, and REST answers about moments before the run. `events_per_s` is spread over all markets, two thirds to
perpetuals, and counts the mix of the recorded futures session: 50% book changes, 40% quotes, 6% aggregate trades, 4%
candles of one minute. Candles of other intervals, single fills, tickers, mark prices, liquidations come on top.

Binance streams: `aggTrade`, `trade` (spot), `depth@100ms`, `bookTicker`, `kline_<1m..1d>`, `ticker`, `miniTicker`; on
futures also `markPrice`, `markPrice@1s`, `forceOrder`, `!forceOrder@arr`, `!markPrice@arr`, `!markPrice@arr@1s`. Other
streams are acknowledged and stay silent. Book changes of a busy symbol come more often than every 100 ms when the rate
asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import SettingsError
from services.exchange_simulator.generator.ledger import Ledger
from services.exchange_simulator.generator.market import Market, PriceProcess
from services.exchange_simulator.generator.names import assets, listings
from services.exchange_simulator.generator.venue import Clock, GeneratedVenue
from services.exchange_simulator.settings import SimulatorSettings
from services.exchange_simulator.venue import Venue

EXCHANGES = ("binance",)
"""What can be generated so far."""


def build(settings: SimulatorSettings) -> Sequence[Venue]:
    """Return the generated markets, spot and perpetual of each exchange. Raises SettingsError for a wrong setting."""
    exchanges = settings.exchanges or EXCHANGES
    if unknown := [name for name in exchanges if name not in EXCHANGES]:
        raise SettingsError(f"exchanges={','.join(unknown)}: cannot be generated; allowed: {', '.join(EXCHANGES)}")
    try:
        chosen = assets(settings.seed, _wanted(settings.symbols))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    processes = {asset.name: PriceProcess(asset, settings.seed) for asset in chosen}
    clock = Clock(settings.start_us, settings.duration_s)
    venues: list[Venue] = []
    for exchange in exchanges:
        listed = listings(exchange, chosen, settings.seed, settings.events_per_s / len(exchanges))
        for market in ("spot", "perp"):
            own = [listing for listing in listed if listing.market == market]
            markets = [Market(listing, settings.seed, processes[listing.asset.name]) for listing in own]
            ledger = Ledger(settings.data_dir / "ledger" if settings.ledger else None, own)
            venues.append(GeneratedVenue(market, markets, clock, ledger))
    return venues


def _wanted(symbols: tuple[str, ...]) -> int | tuple[str, ...]:
    """Read the setting: one number is how many assets, anything else names them."""
    if len(symbols) == 1 and symbols[0].isdecimal():
        return int(symbols[0])
    return symbols
