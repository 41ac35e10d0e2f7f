CREATE TABLE IF NOT EXISTS tapeline.liquidations
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    price            Decimal(38, 18) CODEC(ZSTD(1)),
    quantity         Decimal(38, 18) CODEC(ZSTD(1)),
    side             LowCardinality(String) CODEC(ZSTD(1)),
    order_price      Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    order_quantity   Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    last_quantity    Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    contracts        Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    status           LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    sent_at          Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(30)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Forced orders; on Binance a sample, at most one per symbol and second.';
