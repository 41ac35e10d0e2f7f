CREATE TABLE IF NOT EXISTS tapeline.volatility_indices
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    open             Decimal(38, 18) CODEC(ZSTD(1)),
    high             Decimal(38, 18) CODEC(ZSTD(1)),
    low              Decimal(38, 18) CODEC(ZSTD(1)),
    close            Decimal(38, 18) CODEC(ZSTD(1)),
    resolution       LowCardinality(String) CODEC(ZSTD(1)),
    sent_at          Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, resolution, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Volatility indices, percent a year.';
