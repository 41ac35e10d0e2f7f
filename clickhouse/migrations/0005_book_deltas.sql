CREATE TABLE IF NOT EXISTS tapeline.book_deltas
(
    exchange          LowCardinality(String) CODEC(ZSTD(1)),
    market            LowCardinality(String) CODEC(ZSTD(1)),
    symbol            LowCardinality(String) CODEC(ZSTD(1)),
    timestamp         DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source  LowCardinality(String) CODEC(ZSTD(1)),
    received_at       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source            LowCardinality(String) CODEC(ZSTD(1)),
    stream_sequence   Nullable(Int64) CODEC(Delta, ZSTD(1)),
    first_sequence    Int64 CODEC(Delta, ZSTD(1)),
    last_sequence     Int64 CODEC(Delta, ZSTD(1)),
    bids              Array(Array(Decimal(38, 18))) CODEC(ZSTD(1)),
    asks              Array(Array(Decimal(38, 18))) CODEC(ZSTD(1)),
    in_step           Bool CODEC(ZSTD(1)),
    previous_sequence Nullable(Int64) CODEC(Delta, ZSTD(1)),
    sent_at           Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    overlaps          Bool CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, timestamp, last_sequence)
TTL toDateTime(timestamp) + toIntervalDay(3)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every book change as sent; quantity 0 removes a level.';
