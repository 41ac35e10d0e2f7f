CREATE TABLE IF NOT EXISTS tapeline.instruments
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    stream_sequence  Nullable(Int64) CODEC(Delta, ZSTD(1)),
    exchange_symbol  String CODEC(ZSTD(1)),
    base             LowCardinality(String) CODEC(ZSTD(1)),
    quote            LowCardinality(String) CODEC(ZSTD(1)),
    asset            LowCardinality(String) CODEC(ZSTD(1)),
    multiplier       Decimal(38, 18) CODEC(ZSTD(1)),
    status           LowCardinality(String) CODEC(ZSTD(1)),
    settle           LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    tick_size        Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    quantity_step    Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    contract_size    Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    contract_kind    LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    listed_at        Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    delisted_at      Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    expires_at       Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every change of an instrument''s terms or status.';
