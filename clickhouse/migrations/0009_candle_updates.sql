CREATE TABLE IF NOT EXISTS tapeline.candle_updates
(
    exchange               LowCardinality(String) CODEC(ZSTD(1)),
    market                 LowCardinality(String) CODEC(ZSTD(1)),
    symbol                 LowCardinality(String) CODEC(ZSTD(1)),
    timestamp              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source       LowCardinality(String) CODEC(ZSTD(1)),
    received_at            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source                 LowCardinality(String) CODEC(ZSTD(1)),
    interval               LowCardinality(String) CODEC(ZSTD(1)),
    open_price             Decimal(38, 18) CODEC(ZSTD(1)),
    high_price             Decimal(38, 18) CODEC(ZSTD(1)),
    low_price              Decimal(38, 18) CODEC(ZSTD(1)),
    close_price            Decimal(38, 18) CODEC(ZSTD(1)),
    volume                 Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    closed                 Bool CODEC(ZSTD(1)),
    quote_volume           Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    trade_count            Nullable(Int64) CODEC(Delta, ZSTD(1)),
    taker_buy_volume       Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    taker_buy_quote_volume Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    first_trade_id         Nullable(Int64) CODEC(Delta, ZSTD(1)),
    last_trade_id          Nullable(Int64) CODEC(Delta, ZSTD(1)),
    sent_at                Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, interval, timestamp, sent_at)
TTL toDateTime(timestamp) + toIntervalDay(1)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1
COMMENT 'Every candle update as sent.';
