CREATE TABLE IF NOT EXISTS tapeline.book_audits
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    verdict          LowCardinality(String) CODEC(ZSTD(1)),
    sequence         Int64 CODEC(Delta, ZSTD(1)),
    book_sequence    Nullable(Int64) CODEC(Delta, ZSTD(1)),
    levels           Int64 CODEC(Delta, ZSTD(1)),
    mismatches       Int64 CODEC(Delta, ZSTD(1)),
    reason           Nullable(String) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Local books compared with fresh snapshots at the same update id.';
