CREATE TABLE IF NOT EXISTS tapeline.arbitrage_opportunities
(
    exchange         LowCardinality(String) CODEC(ZSTD(1)),
    market           LowCardinality(String) CODEC(ZSTD(1)),
    symbol           LowCardinality(String) CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source LowCardinality(String) CODEC(ZSTD(1)),
    received_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    opportunity_id   String CODEC(ZSTD(1)),
    event            LowCardinality(String) CODEC(ZSTD(1)),
    asset            LowCardinality(String) CODEC(ZSTD(1)),
    quote            LowCardinality(String) CODEC(ZSTD(1)),
    sell_exchange    LowCardinality(String) CODEC(ZSTD(1)),
    sell_market      LowCardinality(String) CODEC(ZSTD(1)),
    sell_symbol      LowCardinality(String) CODEC(ZSTD(1)),
    sell_quote       LowCardinality(String) CODEC(ZSTD(1)),
    input_sequence   Int64 CODEC(Delta, ZSTD(1)),
    opened_at        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    duration_us      Int64 CODEC(Delta, ZSTD(1)),
    buy_age_us       Int64 CODEC(Delta, ZSTD(1)),
    sell_age_us      Int64 CODEC(Delta, ZSTD(1)),
    size             Decimal(38, 18) CODEC(ZSTD(1)),
    quantity         Decimal(38, 18) CODEC(ZSTD(1)),
    cost             Decimal(38, 18) CODEC(ZSTD(1)),
    proceeds         Decimal(38, 18) CODEC(ZSTD(1)),
    gross            Decimal(38, 18) CODEC(ZSTD(1)),
    fees             Decimal(38, 18) CODEC(ZSTD(1)),
    slippage         Decimal(38, 18) CODEC(ZSTD(1)),
    net              Decimal(38, 18) CODEC(ZSTD(1)),
    gross_percent    Decimal(38, 18) CODEC(ZSTD(1)),
    net_percent      Decimal(38, 18) CODEC(ZSTD(1)),
    sizes            Array(Array(Decimal(38, 18))) CODEC(ZSTD(1)),
    peak_net         Decimal(38, 18) CODEC(ZSTD(1)),
    peak_net_percent Decimal(38, 18) CODEC(ZSTD(1)),
    peak_at          DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    confirmed_at     Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    net_after_100ms  Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    net_after_1s     Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    net_after_5s     Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    reason           LowCardinality(Nullable(String)) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market, symbol, timestamp, opportunity_id)
TTL toDateTime(timestamp) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What happened to each arbitrage opportunity: open, confirmed, update, closed.';
