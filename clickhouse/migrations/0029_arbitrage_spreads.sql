CREATE TABLE IF NOT EXISTS tapeline.arbitrage_spreads
(
    exchange            LowCardinality(String) CODEC(ZSTD(1)),
    market              LowCardinality(String) CODEC(ZSTD(1)),
    symbol              LowCardinality(String) CODEC(ZSTD(1)),
    timestamp           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    timestamp_source    LowCardinality(String) CODEC(ZSTD(1)),
    received_at         DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source              LowCardinality(String) CODEC(ZSTD(1)),
    asset               LowCardinality(String) CODEC(ZSTD(1)),
    quote               LowCardinality(String) CODEC(ZSTD(1)),
    other_exchange      LowCardinality(String) CODEC(ZSTD(1)),
    other_market        LowCardinality(String) CODEC(ZSTD(1)),
    other_symbol        LowCardinality(String) CODEC(ZSTD(1)),
    other_quote         LowCardinality(String) CODEC(ZSTD(1)),
    bid_price           Decimal(38, 18) CODEC(ZSTD(1)),
    ask_price           Decimal(38, 18) CODEC(ZSTD(1)),
    other_bid_price     Decimal(38, 18) CODEC(ZSTD(1)),
    other_ask_price     Decimal(38, 18) CODEC(ZSTD(1)),
    percent             Decimal(38, 18) CODEC(ZSTD(1)),
    net_percent         Decimal(38, 18) CODEC(ZSTD(1)),
    reverse_percent     Decimal(38, 18) CODEC(ZSTD(1)),
    reverse_net_percent Decimal(38, 18) CODEC(ZSTD(1)),
    age_us              Int64 CODEC(Delta, ZSTD(1)),
    other_age_us        Int64 CODEC(Delta, ZSTD(1)),
    suspended           Bool CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market, symbol, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(7)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Spread of each pair of instruments of one asset, each second in which one of them changed.';
