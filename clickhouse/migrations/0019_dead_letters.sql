CREATE TABLE IF NOT EXISTS tapeline.dead_letters
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    service          LowCardinality(String) CODEC(ZSTD(1)),
    reason           String CODEC(ZSTD(1)),
    subject          String CODEC(ZSTD(1)),
    stream_sequence  Int64 CODEC(Delta, ZSTD(1)),
    body             String CODEC(ZSTD(1)),
    connection       Nullable(String) CODEC(ZSTD(1)),
    frame            Nullable(Int64) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, service, timestamp, stream_sequence)
TTL toDateTime(timestamp) + toIntervalDay(30)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Refused messages, with reason and bytes.';
