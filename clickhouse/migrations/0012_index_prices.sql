CREATE TABLE IF NOT EXISTS tapeline.index_prices
(
    exchange           LowCardinality(String) CODEC(ZSTD(1)),
    market             LowCardinality(String) CODEC(ZSTD(1)),
    symbol             LowCardinality(String) CODEC(ZSTD(1)),
    timestamp          DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source   LowCardinality(String) CODEC(ZSTD(1)),
    received_at        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source             LowCardinality(String) CODEC(ZSTD(1)),
    mark_price         Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    index_price        Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    mark_price_average Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    settlement_price   Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    sent_at            Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Mark and index prices of derivatives.';
