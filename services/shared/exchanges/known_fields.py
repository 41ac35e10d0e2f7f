"""The fields that frames had when their parsers were written, of every channel that is recorded.

Made by `python -m tests.known_fields` from the recordings; what a frame has beside them is new.
"""

from __future__ import annotations

from collections.abc import Mapping


def _fields(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN_FIELDS: Mapping[tuple[str, str, str], frozenset[str]] = {
    ("binance", "perp", "candles"): _fields(
        "data data.E data.e data.k data.k.B data.k.L data.k.Q data.k.T data.k.V data.k.c data.k.f data.k.h "
        "data.k.i data.k.l data.k.n data.k.o data.k.q data.k.s data.k.t data.k.v data.k.x data.s stream "
    ),
    ("binance", "perp", "depth"): _fields(
        "data data.E data.T data.U data.a data.b data.e data.ps data.pu data.s data.st data.u stream "
    ),
    ("binance", "perp", "trades"): _fields(
        "data data.E data.T data.a data.e data.f data.l data.m data.nq data.p data.q data.s data.st stream "
    ),
    ("binance", "spot", "candles"): _fields(
        "data data.E data.e data.k data.k.B data.k.L data.k.Q data.k.T data.k.V data.k.c data.k.f data.k.h "
        "data.k.i data.k.l data.k.n data.k.o data.k.q data.k.s data.k.t data.k.v data.k.x data.s stream "
    ),
    ("binance", "spot", "depth"): _fields(
        "data data.E data.T data.U data.a data.b data.e data.ps data.pu data.s data.st data.u stream "
    ),
    ("binance", "spot", "quotes"): _fields(
        "data data.A data.B data.E data.T data.a data.b data.e data.s data.u stream "
    ),
    ("binance", "spot", "trades"): _fields(
        "data data.E data.M data.T data.a data.e data.f data.l data.m data.nq data.p data.q data.s data.st stream "
    ),
    ("bybit", "perp", "candles"): _fields(
        "data data[].close data[].confirm data[].end data[].high data[].interval data[].low data[].open "
        "data[].start data[].timestamp data[].turnover data[].volume topic ts type "
    ),
    ("bybit", "perp", "liquidations"): _fields("data data[].S data[].T data[].p data[].s data[].v topic ts type "),
    ("bybit", "perp", "ticker"): _fields(
        "cs data data.ask1Price data.ask1Size data.bid1Price data.bid1Size data.curPreListingPhase "
        "data.fundingCap data.fundingIntervalHour data.fundingRate data.highPrice24h data.indexPrice "
        "data.lastPrice data.lowPrice24h data.markPrice data.nextFundingTime data.openInterest "
        "data.openInterestValue data.preOpenPrice data.preQty data.prevPrice1h data.prevPrice24h "
        "data.price24hPcnt data.singleOpenInterest data.singleOpenInterestValue data.symbol "
        "data.tickDirection data.turnover24h data.volume24h topic ts type "
    ),
    ("bybit", "perp", "trades"): _fields(
        "data data[].BT data[].L data[].RPI data[].S data[].T data[].i data[].p data[].s data[].seq data[].v "
        "topic ts type "
    ),
    ("bybit", "spot", "quotes"): _fields("cts data data.a data.b data.s data.seq data.u topic ts type "),
    ("bybit", "spot", "trades"): _fields(
        "data data[].BT data[].RPI data[].S data[].T data[].i data[].p data[].s data[].seq data[].v topic ts type "
    ),
    ("deribit", "future", "depth"): _fields(
        "jsonrpc method params params.channel params.data params.data.asks params.data.bids "
        "params.data.change_id params.data.instrument_name params.data.prev_change_id params.data.timestamp "
        "params.data.type "
    ),
    ("deribit", "future", "ticker"): _fields(
        "jsonrpc method params params.channel params.data params.data.ask_iv params.data.best_ask_amount "
        "params.data.best_ask_price params.data.best_bid_amount params.data.best_bid_price params.data.bid_iv "
        "params.data.current_funding params.data.estimated_delivery_price params.data.funding_8h "
        "params.data.greeks params.data.greeks.delta params.data.greeks.gamma params.data.greeks.rho "
        "params.data.greeks.theta params.data.greeks.vega params.data.index_price params.data.instrument_name "
        "params.data.interest_rate params.data.interest_value params.data.last_price params.data.mark_iv "
        "params.data.mark_price params.data.max_price params.data.min_price params.data.open_interest "
        "params.data.settlement_price params.data.state params.data.stats params.data.stats.high "
        "params.data.stats.low params.data.stats.price_change params.data.stats.volume "
        "params.data.stats.volume_notional params.data.stats.volume_usd params.data.timestamp "
        "params.data.underlying_index params.data.underlying_price "
    ),
    ("deribit", "future", "trades"): _fields(
        "jsonrpc method params params.channel params.data params.data[].amount params.data[].contracts "
        "params.data[].direction params.data[].index_price params.data[].instrument_name "
        "params.data[].liquidation params.data[].mark_price params.data[].price "
        "params.data[].starbase_match_id params.data[].starbase_timestamp params.data[].tick_direction "
        "params.data[].timestamp params.data[].trade_id params.data[].trade_seq "
    ),
    ("deribit", "option", "depth"): _fields(
        "jsonrpc method params params.channel params.data params.data.asks params.data.bids "
        "params.data.change_id params.data.instrument_name params.data.prev_change_id params.data.timestamp "
        "params.data.type "
    ),
    ("deribit", "option", "ticker"): _fields(
        "jsonrpc method params params.channel params.data params.data.ask_iv params.data.best_ask_amount "
        "params.data.best_ask_price params.data.best_bid_amount params.data.best_bid_price params.data.bid_iv "
        "params.data.current_funding params.data.estimated_delivery_price params.data.funding_8h "
        "params.data.greeks params.data.greeks.delta params.data.greeks.gamma params.data.greeks.rho "
        "params.data.greeks.theta params.data.greeks.vega params.data.index_price params.data.instrument_name "
        "params.data.interest_rate params.data.interest_value params.data.last_price params.data.mark_iv "
        "params.data.mark_price params.data.max_price params.data.min_price params.data.open_interest "
        "params.data.settlement_price params.data.state params.data.stats params.data.stats.high "
        "params.data.stats.low params.data.stats.price_change params.data.stats.volume "
        "params.data.stats.volume_notional params.data.stats.volume_usd params.data.timestamp "
        "params.data.underlying_index params.data.underlying_price "
    ),
    ("deribit", "option", "trades"): _fields(
        "jsonrpc method params params.channel params.data params.data[].amount params.data[].contracts "
        "params.data[].direction params.data[].index_price params.data[].instrument_name "
        "params.data[].liquidation params.data[].mark_price params.data[].price "
        "params.data[].starbase_match_id params.data[].starbase_timestamp params.data[].tick_direction "
        "params.data[].timestamp params.data[].trade_id params.data[].trade_seq "
    ),
    ("deribit", "perp", "depth"): _fields(
        "jsonrpc method params params.channel params.data params.data.asks params.data.bids "
        "params.data.change_id params.data.instrument_name params.data.prev_change_id params.data.timestamp "
        "params.data.type "
    ),
    ("deribit", "perp", "ticker"): _fields(
        "jsonrpc method params params.channel params.data params.data.ask_iv params.data.best_ask_amount "
        "params.data.best_ask_price params.data.best_bid_amount params.data.best_bid_price params.data.bid_iv "
        "params.data.current_funding params.data.estimated_delivery_price params.data.funding_8h "
        "params.data.greeks params.data.greeks.delta params.data.greeks.gamma params.data.greeks.rho "
        "params.data.greeks.theta params.data.greeks.vega params.data.index_price params.data.instrument_name "
        "params.data.interest_rate params.data.interest_value params.data.last_price params.data.mark_iv "
        "params.data.mark_price params.data.max_price params.data.min_price params.data.open_interest "
        "params.data.settlement_price params.data.state params.data.stats params.data.stats.high "
        "params.data.stats.low params.data.stats.price_change params.data.stats.volume "
        "params.data.stats.volume_notional params.data.stats.volume_usd params.data.timestamp "
        "params.data.underlying_index params.data.underlying_price "
    ),
    ("deribit", "perp", "trades"): _fields(
        "jsonrpc method params params.channel params.data params.data[].amount params.data[].contracts "
        "params.data[].direction params.data[].index_price params.data[].instrument_name "
        "params.data[].liquidation params.data[].mark_price params.data[].price "
        "params.data[].starbase_match_id params.data[].starbase_timestamp params.data[].tick_direction "
        "params.data[].timestamp params.data[].trade_id params.data[].trade_seq "
    ),
    ("gateio", "perp", "candles"): _fields(
        "channel event result result[].a result[].c result[].h result[].l result[].n result[].o result[].t "
        "result[].v result[].w time time_ms "
    ),
    ("gateio", "perp", "depth"): _fields(
        "channel event result result.U result.a result.a[].p result.a[].s result.b result.b[].p result.b[].s "
        "result.full result.l result.s result.t result.u time time_ms "
    ),
    ("gateio", "perp", "quotes"): _fields(
        "channel event result result.A result.B result.a result.b result.s result.t result.u time time_ms "
    ),
    ("gateio", "perp", "ticker"): _fields(
        "channel event result result[].change_from result[].change_percentage result[].change_price "
        "result[].contract result[].funding_interval result[].funding_next_apply result[].funding_offset "
        "result[].funding_rate result[].funding_rate_indicative result[].high_24h result[].index_price "
        "result[].last result[].low_24h result[].mark_price result[].price_type result[].quanto_base_rate "
        "result[].t result[].total_size result[].volume_24h result[].volume_24h_base "
        "result[].volume_24h_quote result[].volume_24h_settle time time_ms "
    ),
    ("gateio", "perp", "trades"): _fields(
        "channel event result result[].contract result[].create_time result[].create_time_ms result[].id "
        "result[].is_internal result[].price result[].size time time_ms "
    ),
    ("gateio", "spot", "candles"): _fields(
        "channel event result result.a result.c result.h result.l result.n result.o result.t result.v "
        "result.w time time_ms "
    ),
    ("gateio", "spot", "depth"): _fields(
        "channel event result result.E result.U result.a result.b result.e result.l result.s result.t "
        "result.u time time_ms "
    ),
    ("gateio", "spot", "ticker"): _fields(
        "channel event result result.base_volume result.change_percentage result.currency_pair "
        "result.high_24h result.highest_bid result.last result.low_24h result.lowest_ask result.quote_volume "
        "time time_ms "
    ),
    ("gateio", "spot", "trades"): _fields(
        "channel event result result.amount result.create_time result.create_time_ms result.currency_pair "
        "result.id result.id_market result.price result.range result.side time time_ms "
    ),
    ("mexc", "perp", "depth"): _fields("channel data data.asks data.begin data.bids data.end data.version symbol ts "),
    ("mexc", "perp", "quotes"): _fields("channel data data.asks data.bids data.cts data.version symbol ts "),
    ("mexc", "perp", "trades"): _fields(
        "channel data data[].M data[].O data[].T data[].cts data[].i data[].p data[].t data[].v symbol ts "
    ),
    ("okx", "future", "books"): _fields(
        "action arg arg.channel arg.instId data data[].asks data[].bids data[].checksum data[].prevSeqId "
        "data[].seqId data[].ts "
    ),
    ("okx", "future", "candles"): _fields("arg arg.channel arg.instId data "),
    ("okx", "future", "ticker"): _fields(
        "arg arg.channel arg.instId data data[].askPx data[].askSz data[].bidPx data[].bidSz data[].high24h "
        "data[].instId data[].instType data[].last data[].lastSz data[].low24h data[].open24h data[].sodUtc0 "
        "data[].sodUtc8 data[].ts data[].vol24h data[].volCcy24h "
    ),
    ("okx", "future", "trades"): _fields(
        "arg arg.channel arg.instId data data[].count data[].instId data[].px data[].seqId data[].side "
        "data[].source data[].sz data[].tradeId data[].ts "
    ),
    ("okx", "perp", "books"): _fields(
        "action arg arg.channel arg.instId data data[].asks data[].bids data[].checksum data[].prevSeqId "
        "data[].seqId data[].ts "
    ),
    ("okx", "perp", "candles"): _fields("arg arg.channel arg.instId data "),
    ("okx", "perp", "liquidations"): _fields(
        "arg arg.channel arg.instType data data[].details data[].details[].bkLoss data[].details[].bkPx "
        "data[].details[].ccy data[].details[].posSide data[].details[].side data[].details[].sz "
        "data[].details[].ts data[].instFamily data[].instId data[].instType data[].uly "
    ),
    ("okx", "perp", "ticker"): _fields(
        "arg arg.channel arg.instId data data[].askPx data[].askSz data[].bidPx data[].bidSz data[].high24h "
        "data[].instId data[].instType data[].last data[].lastSz data[].low24h data[].open24h data[].sodUtc0 "
        "data[].sodUtc8 data[].ts data[].vol24h data[].volCcy24h "
    ),
    ("okx", "perp", "trades"): _fields(
        "arg arg.channel arg.instId data data[].count data[].instId data[].px data[].seqId data[].side "
        "data[].source data[].sz data[].tradeId data[].ts "
    ),
    ("okx", "spot", "books"): _fields(
        "action arg arg.channel arg.instId data data[].asks data[].bids data[].checksum data[].prevSeqId "
        "data[].seqId data[].ts "
    ),
    ("okx", "spot", "candles"): _fields("arg arg.channel arg.instId data "),
    ("okx", "spot", "ticker"): _fields(
        "arg arg.channel arg.instId data data[].askPx data[].askSz data[].bidPx data[].bidSz data[].high24h "
        "data[].instId data[].instType data[].last data[].lastSz data[].low24h data[].open24h data[].sodUtc0 "
        "data[].sodUtc8 data[].ts data[].vol24h data[].volCcy24h "
    ),
    ("okx", "spot", "trades"): _fields(
        "arg arg.channel arg.instId data data[].count data[].instId data[].px data[].seqId data[].side "
        "data[].source data[].sz data[].tradeId data[].ts "
    ),
}
