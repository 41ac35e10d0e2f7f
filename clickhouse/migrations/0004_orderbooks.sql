CREATE TABLE IF NOT EXISTS tapeline.orderbooks
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    stream_sequence  Nullable(Int64) CODEC(Delta, ZSTD(1)),
    sequence         Int64 CODEC(Delta, ZSTD(1)),
    bids             Array(Array(Decimal(38, 18))) CODEC(ZSTD(1)),
    asks             Array(Array(Decimal(38, 18))) CODEC(ZSTD(1)),
    sent_at          Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, timestamp, sequence)
TTL toDateTime(timestamp) + toIntervalDay(3)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The top of each book as it stood at the end of each second.';
