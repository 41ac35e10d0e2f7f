"""What the tables are asked, against the real engine: rows deleted at random are found to the id, and nothing else."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from schemas import records, tables
from schemas.backfill import BackfillRequest
from schemas.records import Record
from schemas.spans import Spans
from services.gap_backfill.by_hand import ByHand
from services.gap_backfill.core import BackfillCore
from services.gap_backfill.findings import gaps_of
from services.gap_backfill.series import DAY_US, Series, places_of
from services.gap_backfill.stock import Listings, Stock
from services.shared.exchanges.history import INTERVAL_US, History
from services.shared.exchanges.known_history import history_of
from services.shared.runtime.clock import now_us
from services.shared.runtime.migrations import migrate
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import ClickhouseServer, run_clickhouse

BASE = now_us() // (1_440 * 60_000_000) * (1_440 * 60_000_000) - 2 * DAY_US
SPOT = ("binance", "spot")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
async def warehouse(server: ClickhouseServer) -> AsyncIterator[Warehouse]:
    async with Warehouse(server.url) as found:
        await migrate(found)
        for table in ("trades", "candles", "gap_events", "instruments"):
            await found.execute(f"TRUNCATE TABLE tapeline.{table}")
        yield found


def history(kind: str, interval: str | None = None, market: tuple[str, str] = SPOT) -> History:
    found = history_of(*market, kind, interval)
    assert found is not None
    return found


def trade(number: int, symbol: str = "BTC-USDT", exchange: str = "binance", count: int | None = None) -> records.Trade:
    return records.Trade(
        exchange=exchange,
        market="spot",
        symbol=symbol,
        timestamp=BASE + number * 1_000,
        timestamp_source="match",
        received_at=BASE,
        source="live",
        price="1.5",
        quantity="2",
        side="buy",
        trade_id=str(number),
        sequence=number,
        trade_count=count,
    )


def candle(interval: str, place: int) -> records.Candle:
    return records.Candle(
        exchange="binance",
        market="spot",
        symbol="BTC-USDT",
        timestamp=BASE + place * INTERVAL_US[interval],
        timestamp_source="open",
        received_at=BASE,
        source="live",
        interval=interval,
        open_price="1",
        high_price="1",
        low_price="1",
        close_price="1",
        volume="1",
        closed=True,
    )


async def store(warehouse: Warehouse, name: str, rows: list[Record], token: str) -> None:
    body = b"\n".join(records.encode(row) for row in rows)
    await warehouse.insert(tables.BY_NAME[name].insert_statement, body, f"{name}/{token}/{random.random()}")


async def test_deleted_trades_are_found_to_the_id(warehouse: Warehouse) -> None:
    source = random.Random(7)
    numbers = range(1_000, 21_000)
    lost = set(source.sample(range(1_001, 20_998), 300)) | set(range(5_000, 5_400)) | {20_998}
    await store(warehouse, "trades", [trade(n) for n in numbers if n not in lost], "a")
    await store(warehouse, "trades", [trade(n, "ETH-USDT") for n in range(10, 50)], "b")
    stock, of = Stock(warehouse), history("trade")
    holes = await stock.holes(SPOT, of, BASE)
    assert {hole.series.symbol for hole in holes} == {"BTC-USDT"}
    assert await stock.symbols(SPOT, of, BASE) == ["BTC-USDT", "ETH-USDT"]
    assert (
        await stock.holes(SPOT, of, BASE, "BTC-USDT") == holes and await stock.holes(SPOT, of, BASE, "ETH-USDT") == []
    )
    now = now_us()
    gaps = [gap for hole in holes for gap in gaps_of(hole, of, Spans(), now, now)]
    assert Spans((g.first_missing or 0, g.last_missing or 0) for g in gaps) == Spans.of(lost)
    assert {gap.gap_type for gap in gaps} == {"missing"}
    one = next(gap for gap in gaps if gap.first_missing == 20_998)
    assert (one.after_timestamp, one.before_timestamp) == (BASE + 20_997_000 - 1, BASE + 20_999_000 + 1)
    known = Spans.of(sorted(lost)[:100])
    rest = [gap for hole in holes for gap in gaps_of(hole, of, known, now, now)]
    assert Spans((g.first_missing or 0, g.last_missing or 0) for g in rest) == Spans.of(lost) - known
    series = Series(*SPOT, "BTC-USDT", "trade", None)
    assert await stock.there(series, of, 4_000, 6_000) == Spans([(4_000, 6_000)]) - Spans.of(lost)


async def test_a_hole_over_our_own_start_is_downtime(warehouse: Warehouse) -> None:
    await store(warehouse, "trades", [trade(1), trade(9)], "a")
    (hole,) = await Stock(warehouse).holes(SPOT, history("trade"), BASE)
    (gap,) = gaps_of(hole, history("trade"), Spans(), now_us(), BASE + 5_000)
    assert gap.gap_type == "downtime" and (gap.first_missing, gap.last_missing) == (2, 8)


async def test_a_trade_that_merges_several_ids_leaves_no_hole(warehouse: Warehouse) -> None:
    rows: list[Record] = [trade(10, exchange="okx", count=1), trade(15, exchange="okx", count=5)]
    rows += [trade(20, exchange="okx", count=3)]
    await store(warehouse, "trades", rows, "a")
    of = history("trade", None, ("okx", "spot"))
    (hole,) = await Stock(warehouse).holes(("okx", "spot"), of, BASE)
    (gap,) = gaps_of(hole, of, Spans(), now_us(), now_us())
    assert (gap.first_missing, gap.last_missing) == (16, 17)
    series = Series("okx", "spot", "BTC-USDT", "trade", None)
    assert await Stock(warehouse).there(series, of, 1, 99) == Spans([(10, 15), (18, 20)])


@pytest.mark.parametrize("interval", ["1m", "5m", "30m", "4h"])
async def test_deleted_candles_are_found_by_their_place(warehouse: Warehouse, interval: str) -> None:
    count = min(500, 2 * DAY_US // INTERVAL_US[interval])
    lost = {1, 2, 5, count - 2}
    await store(warehouse, "candles", [candle(interval, n) for n in range(count) if n not in lost], "a")
    of = history("candle", interval)
    holes = await Stock(warehouse).holes(SPOT, of, BASE)
    gaps = [gap for hole in holes for gap in gaps_of(hole, of, Spans(), now_us(), now_us())]
    found = [
        place
        for gap in gaps
        for first, last in places_of(Spans([(gap.after_timestamp or 0, gap.before_timestamp or 0)]), of)
        for place in range(first, last + 1)
    ]
    assert {place - BASE // INTERVAL_US[interval] for place in found} == lost
    assert {gap.interval for gap in gaps} == {interval}


async def test_a_window_asked_for_by_hand_is_looked_through_at_once(warehouse: Warehouse) -> None:
    await store(warehouse, "candles", [candle("1m", n) for n in (0, 1, 4, 9)], "a")
    await store(warehouse, "trades", [trade(n) for n in (1, 2, 7, 8, 20)], "b")
    item = records.Instrument(
        exchange="binance",
        market="spot",
        symbol="BTC-USDT",
        timestamp=BASE,
        timestamp_source="received",
        received_at=BASE,
        source="live",
        exchange_symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        asset="BTC",
        multiplier="1",
        status="trading",
        tick_size="0.010",
    )
    await store(warehouse, "instruments", [item], "c")
    stock, core, now = Stock(warehouse), BackfillCore(history_of), now_us()
    listings = Listings(stock)
    by_hand = ByHand(core, stock, listings, now)
    minute = INTERVAL_US["1m"]
    asked = BackfillRequest("binance", "BTC-USDT", "candle", BASE + minute, BASE + 8 * minute, interval="1m")
    answer = await by_hand.answer(asked, now)
    assert (answer.error, answer.missing, len(answer.gaps)) == (None, 5, 2)  # 2 and 3, 5 to 7
    assert (await by_hand.answer(asked, now + 1)).gaps == answer.gaps, "known ones are not found anew"
    trades = await by_hand.answer(BackfillRequest("binance", "BTC-USDT", "trade", BASE, BASE + 8_000), now)
    assert (trades.missing, len(trades.gaps)) == (4, 1)
    listing = await listings.of("binance", "spot", "BTC-USDT")
    assert listing.by_symbol["BTC-USDT"].tick_size == "0.01"
    refused = await by_hand.answer(BackfillRequest("binance", "BTC-USDT", "quote", 1, 2), now)
    assert refused.error is not None and "serves the history of candle, funding_rate" in refused.error
    unknown = await by_hand.answer(BackfillRequest("binance", "NO-SUCH", "trade", BASE, BASE + 1), now)
    assert unknown.error == "NO-SUCH is on no instrument list of binance"


async def test_the_log_is_read_back_as_it_was_written(warehouse: Warehouse) -> None:
    now = now_us()
    found = records.Gap(
        exchange="binance",
        market="spot",
        symbol="BTC-USDT",
        timestamp=BASE,
        timestamp_source="match",
        received_at=now,
        source="live",
        gap_id="g",
        kind="trade",
        gap_type="sequence",
        status="open",
        evidence="id 9 follows 7",
        first_missing=8,
        last_missing=8,
        detection_time=now,
    )
    ours = msgspec.structs.replace(found, source="backfill", status="filled", attempts=1, received_at=now + 5)
    filling = msgspec.structs.replace(ours, status="filling", received_at=now + 3)
    await store(warehouse, "gap_events", [found, filling, ours], "a")
    log = await Stock(warehouse).log(now)
    assert sorted(log, key=lambda gap: gap.received_at) == [found, ours]
    core = BackfillCore(history_of)
    core.load(log, now + 10)
    assert core.states["g"] == ours and core.take_events() == [] and not core.fillings
