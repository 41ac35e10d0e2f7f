CREATE TABLE IF NOT EXISTS tapeline.tickers
(
    exchange               LowCardinality(String) CODEC(ZSTD(1)),
    market                 LowCardinality(String) CODEC(ZSTD(1)),
    symbol                 LowCardinality(String) CODEC(ZSTD(1)),
    timestamp              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source       LowCardinality(String) CODEC(ZSTD(1)),
    received_at            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source                 LowCardinality(String) CODEC(ZSTD(1)),
    last_price             Decimal(38, 18) CODEC(ZSTD(1)),
    open_price             Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    high_price             Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    low_price              Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    volume                 Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    quote_volume           Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    price_change           Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    price_change_percent   Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    weighted_average_price Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    last_quantity          Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    bid_price              Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    bid_quantity           Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    ask_price              Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    ask_quantity           Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    trade_count            Nullable(Int64) CODEC(Delta, ZSTD(1)),
    first_trade_id         Nullable(Int64) CODEC(Delta, ZSTD(1)),
    last_trade_id          Nullable(Int64) CODEC(Delta, ZSTD(1)),
    window_open_at         Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    window_close_at        Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    sent_at                Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(1)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Statistics of the last 24 hours.';
