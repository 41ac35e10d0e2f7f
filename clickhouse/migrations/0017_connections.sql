CREATE TABLE IF NOT EXISTS tapeline.connections
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    collector        LowCardinality(String) CODEC(ZSTD(1)),
    connection       String CODEC(ZSTD(1)),
    event            LowCardinality(String) CODEC(ZSTD(1)),
    url              String CODEC(ZSTD(1)),
    streams          Int64 CODEC(Delta, ZSTD(1)),
    frames           Int64 CODEC(Delta, ZSTD(1)),
    reason           Nullable(String) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Connections opened, subscribed, silent and closed.';
