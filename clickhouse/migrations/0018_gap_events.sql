CREATE TABLE IF NOT EXISTS tapeline.gap_events
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    stream_sequence  Nullable(Int64) CODEC(Delta, ZSTD(1)),
    gap_id           String CODEC(ZSTD(1)),
    kind             LowCardinality(String) CODEC(ZSTD(1)),
    gap_type         LowCardinality(String) CODEC(ZSTD(1)),
    status           LowCardinality(String) CODEC(ZSTD(1)),
    evidence         String CODEC(ZSTD(1)),
    interval         LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    priority         LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    first_missing    Nullable(Int64) CODEC(Delta, ZSTD(1)),
    last_missing     Nullable(Int64) CODEC(Delta, ZSTD(1)),
    after_timestamp  Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    before_timestamp Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    lost_from        Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    lost_to          Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    attempts         Int64 CODEC(Delta, ZSTD(1)),
    records_filled   Int64 CODEC(Delta, ZSTD(1)),
    detection_time   DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, kind, gap_id, received_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every change of state of every gap; the view gap_detection_log has each gap''s latest.';
