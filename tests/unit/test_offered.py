"""Where each kind comes from, and whether every symbol that has it has rows: what a run is judged by."""

from __future__ import annotations

from collections import Counter

from benchmarks import kinds
from services.shared.exchanges import offered
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.binance_spot import BINANCE_SPOT
from services.shared.exchanges.deribit_perp import DERIBIT_PERP
from services.shared.exchanges.okx_perp import OKX_PERP


def names(found: offered.Sources) -> list[str]:
    return [channel.name for channel in found.channels] + [poll.name for poll in found.polls]


def test_a_kind_comes_from_streams_and_endpoints_and_a_book_from_its_changes() -> None:
    assert names(offered.sources(BINANCE_PERP, "funding_rate")) == ["mark_price", "funding"]
    assert names(offered.sources(BINANCE_PERP, "orderbook")) == ["depth"]
    assert names(offered.sources(BINANCE_PERP, "instrument")) == ["instruments"]
    assert offered.sources(BINANCE_SPOT, "funding_rate") == offered.NOWHERE


def test_what_is_off_by_default_is_offered_all_the_same() -> None:
    fills = offered.sources(BINANCE_SPOT, "fill")
    assert names(fills) == ["fills"]
    assert fills.by_default() == offered.NOWHERE


def test_a_stream_tells_of_the_symbols_that_have_it() -> None:
    volatility = offered.sources(DERIBIT_PERP, "volatility_index")
    told = [name for name in ("BTC-PERPETUAL", "BTC_USDC-PERPETUAL", "XRP_USDC-PERPETUAL") if volatility.tell_of(name)]
    assert told == ["BTC-PERPETUAL"]
    assert offered.sources(OKX_PERP, "liquidation").tell_of("XRP-USDT-SWAP"), "one stream tells of the whole market"
    assert offered.sources(BINANCE_PERP, "open_interest").tell_of("BTCUSDT"), "an endpoint is asked for every symbol"


def test_a_symbol_without_rows_of_a_kind_is_found() -> None:
    symbols = {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT"}
    rows = Counter(
        {
            ("binance", "spot", kind, symbol): 3
            for kind in offered.KINDS
            for symbol in (*symbols, "_all")
            if kind != "fill"
        }
    )
    whole = {line.kind: line for line in kinds.lines(BINANCE_SPOT, symbols, rows)}
    assert {kind for kind, line in whole.items() if line.without} == {"fill"}
    assert whole["fill"].reason, "it need not have any"
    assert whole["clock_offset"].symbols == ("_all",)
    del rows["binance", "spot", "quote", "ETH-USDT"]
    quotes = next(line for line in kinds.lines(BINANCE_SPOT, symbols, rows) if line.kind == "quote")
    assert (quotes.without, quotes.rows, quotes.reason) == (("ETH-USDT",), 3, "")
    assert not {"funding_rate", "open_interest"} & set(whole), "what is not offered is no line"
