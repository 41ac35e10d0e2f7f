CREATE TABLE IF NOT EXISTS tapeline.trades
(
    exchange             LowCardinality(String) CODEC(ZSTD(1)),
    market               LowCardinality(String) CODEC(ZSTD(1)),
    symbol               LowCardinality(String) CODEC(ZSTD(1)),
    timestamp            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source     LowCardinality(String) CODEC(ZSTD(1)),
    received_at          DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source               LowCardinality(String) CODEC(ZSTD(1)),
    price                Decimal(38, 18) CODEC(ZSTD(1)),
    quantity             Decimal(38, 18) CODEC(ZSTD(1)),
    side                 LowCardinality(String) CODEC(ZSTD(1)),
    trade_id             Nullable(String) CODEC(ZSTD(1)),
    sequence             Nullable(Int64) CODEC(Delta, ZSTD(1)),
    contracts            Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    first_trade_id       Nullable(Int64) CODEC(Delta, ZSTD(1)),
    last_trade_id        Nullable(Int64) CODEC(Delta, ZSTD(1)),
    trade_count          Nullable(Int64) CODEC(Delta, ZSTD(1)),
    quantity_without_rpi Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    sent_at              Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, timestamp, sequence, trade_id)
TTL toDateTime(timestamp) + toIntervalDay(7)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1
COMMENT 'Every trade; on Binance, aggregates of one taker order''s fills at one price.';
