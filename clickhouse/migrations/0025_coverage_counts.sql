CREATE TABLE IF NOT EXISTS tapeline.coverage_counts
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    kind             LowCardinality(String) CODEC(ZSTD(1)),
    frames           Int64 CODEC(Delta, ZSTD(1)),
    records          Int64 CODEC(Delta, ZSTD(1)),
    first_id         Nullable(Int64) CODEC(Delta, ZSTD(1)),
    last_id          Nullable(Int64) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, kind, timestamp)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Frames received and records made by kind and minute of our receive clock; rows add up.';
