CREATE TABLE IF NOT EXISTS tapeline.quotes
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    stream_sequence  Nullable(Int64) CODEC(Delta, ZSTD(1)),
    bid_price        Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    bid_quantity     Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    ask_price        Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    ask_quantity     Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    sequence         Nullable(Int64) CODEC(Delta, ZSTD(1)),
    sent_at          Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, timestamp, sequence)
TTL toDateTime(timestamp) + toIntervalDay(1)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1
COMMENT 'Best bid and ask, every change.';
