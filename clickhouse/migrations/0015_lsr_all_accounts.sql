CREATE TABLE IF NOT EXISTS tapeline.lsr_all_accounts
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    long_short_ratio Decimal(38, 18) CODEC(ZSTD(1)),
    period           LowCardinality(String) CODEC(ZSTD(1)),
    long_ratio       Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    short_ratio      Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    sent_at          Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, period, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Long/short ratio of all accounts.';
