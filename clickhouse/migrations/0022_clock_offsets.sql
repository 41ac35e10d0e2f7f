CREATE TABLE IF NOT EXISTS tapeline.clock_offsets
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    stream_sequence  Nullable(Int64) CODEC(Delta, ZSTD(1)),
    collector        LowCardinality(String) CODEC(ZSTD(1)),
    offset_us        Int64 CODEC(Delta, ZSTD(1)),
    round_trip_us    Int64 CODEC(Delta, ZSTD(1)),
    measured_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    samples          Int64 CODEC(Delta, ZSTD(1)),
    server_time      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'How far each exchange''s clock is from ours.';
