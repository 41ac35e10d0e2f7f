"""From subject to table through real servers: every value, every refusal, every figure of /status."""

from __future__ import annotations

import base64
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from schemas import records, streams, subjects
from services.shared.runtime.bus import Outgoing
from services.shared.runtime.provision import provision
from services.shared.runtime.reader import Incoming
from services.storage_batcher import entry as entries
from services.storage_batcher.letters import LONGEST_BODY, Letters, letter
from tests.storage_batcher_bench import Bench, message, run_bench, trade, trade_rows, trade_values

NOON = 1_700_000_000_000_000


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with run_bench(tmp_path) as running:
        yield running


async def test_every_trade_is_stored_once_and_as_it_was_sent(bench: Bench) -> None:
    trades = [trade(number) for number in range(3_000)]
    batcher = bench.start()
    last = await bench.publish([message(record) for record in trades])
    status: dict[str, Any] = await bench.stored(batcher, last)
    assert await trade_rows(bench) == [trade_values(record) for record in trades]
    assert status["tables"]["trades"] | {"lag": 0} == {
        "rows": 3_000,
        "position": status["position"],
        "lag": 0,
        "owned": True,
        "lost": 0,
    }
    assert (status["clickhouse"], status["refused"], status["lost_messages"]) == ("ok", 0, 0)
    assert batcher.end(signal.SIGTERM) == 0


def _of_every_kind() -> list[tuple[str, bytes]]:
    common: dict[str, Any] = {
        "exchange": "binance",
        "market": "spot",
        "symbol": "BTC-USDT",
        "timestamp": NOON + 123_456,
        "timestamp_source": "push",
        "received_at": NOON + 200_000,
        "source": "live",
    }
    book: dict[str, Any] = {"bids": [("1.50", "2"), ("1.4", "3.000000000000000001")], "asks": []}
    made: list[records.Record] = [
        trade(1),
        records.OrderBook(**common, sequence=5, **book),
        records.BookChange(**common, first_sequence=5, last_sequence=6, in_step=True, **book),
        records.Quote(**common, bid_price="1", bid_quantity="2", ask_price="3", ask_quantity="4"),
        records.CandleUpdate(
            **common,
            interval="1m",
            open_price="1",
            high_price="2",
            low_price="0.5",
            close_price="1.5",
            volume="0",
            closed=False,
        ),
        records.FundingRate(**common, rate="-0.000125", rate_kind="estimated"),
    ]
    gap = records.Gap(
        **common,
        gap_id="g1",
        kind="trade",
        gap_type="sequence",
        status="open",
        evidence="5 follows 3",
        first_missing=4,
        last_missing=4,
        detection_time=NOON,
    )
    dead = records.DeadLetter(
        **common, service="normaliser", reason="no", subject="raw.x", stream_sequence=3, body="aGVsbG8="
    )
    return [
        *map(message, made),
        (subjects.gap("binance", "spot", "BTC-USDT"), records.encode(gap)),
        (subjects.dead("normaliser"), records.encode(dead)),
    ]


async def test_each_kind_goes_to_its_table_and_what_has_none_is_counted(bench: Bench) -> None:
    batcher = bench.start(batch_age_s=0.2)
    await bench.publish(_of_every_kind())
    last = await bench.publish([("md.weather.binance.spot.BTC-USDT", b"{}"), (subjects.checkpoint(3), b"{}")])
    await bench.stored(batcher, last)
    (book,) = await bench.rows("SELECT toString(bids), toString(asks), in_step FROM tapeline.book_deltas")
    assert book == ["[[1.5,2],[1.4,3.000000000000000001]]", "[]", True]
    assert await bench.rows("SELECT toString(timestamp), sequence FROM tapeline.quotes") == [
        ["2023-11-14 22:13:20.123456", None]
    ]
    assert await bench.rows("SELECT toString(rate), rate_kind FROM tapeline.funding_rates") == [
        ["-0.000125", "estimated"]
    ]
    assert await bench.rows("SELECT gap_id, first_missing, attempts FROM tapeline.gap_detection_log") == [["g1", 4, 0]]
    assert await bench.rows("SELECT service, base64Decode(body) FROM tapeline.dead_letters") == [
        ["normaliser", "hello"]
    ]
    for table in ("trades", "orderbooks", "candle_updates"):
        assert await bench.rows(f"SELECT count() FROM tapeline.{table}") == [[1]], table
    unknown = [line for line in batcher.events() if line["event"] == "kind_without_table"]
    assert [line["kind"] for line in unknown] == ["md.weather"]


def _poisoned() -> list[tuple[str, bytes]]:
    """One row of each kind that a table refuses, from one good row."""
    subject, good = message(trade(9_000))
    changed = [
        (b'"60000.00"', b'"6O000.00"'),
        (b'"60000.00"', b"null"),
        (b'"price":"60000.00",', b""),
        (b'"60000.00"', b'"NaN"'),
        (b'"60000.00"', b'"123456789012345678901234"'),
        (b'"sequence":9000', b'"sequence":"x"'),
        (b'"received_at":', b'"received_at":"soon","other":'),
        (b'"sequence":9000', b'"sequence":\n9000'),
        (good, b"hello"),
        (good, good[:40]),
        (good, good + good),
        (good, b""),
    ]
    assert all(before in good for before, _ in changed)
    return [(subject, good.replace(before, after)) for before, after in changed]


async def test_poisoned_rows_alone_become_dead_letters(bench: Bench) -> None:
    trades = [trade(number) for number in range(1_000)]
    messages = [message(record) for record in trades]
    bad = _poisoned()
    for number, one in enumerate(bad):
        messages.insert(37 * (number + 1), one)
    last = await bench.publish(messages)
    batcher = bench.start()
    status = await bench.stored(batcher, last + len(bad))
    assert status["refused"] == len(bad)
    assert await trade_rows(bench) == [trade_values(record) for record in trades]
    letters = sorted(await bench.dead_letters(), key=lambda found: found.stream_sequence)
    assert [base64.b64decode(found.body) for found in letters] == [body for _, body in bad]
    assert [found.stream_sequence for found in letters] == [37 * (n + 1) + 1 for n in range(len(bad))]
    assert {(found.exchange, found.market, found.symbol) for found in letters} == {("binance", "perp", "BTC-USDT-PERP")}
    assert {(found.service, found.subject) for found in letters} == {("storage-batcher", bad[0][0])}
    expected = [
        "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
        "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
        "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        "ARGUMENT_OUT_OF_BOUND",
        "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        "a line end inside",
        "not a JSON object",
        "not JSON",
        "not JSON",
        "not a JSON object",
    ]
    for found, reason in zip(letters, expected, strict=True):
        assert reason in found.reason
    stored = await bench.rows(
        "SELECT stream_sequence, reason, body FROM tapeline.dead_letters ORDER BY stream_sequence"
    )
    assert stored == [[found.stream_sequence, found.reason, found.body] for found in letters]


async def test_a_table_that_refuses_everything_stops_the_service_and_keeps_the_stream(bench: Bench) -> None:
    subject, good = message(trade(1))
    await bench.publish([(subject, good.replace(b"60001.01", b"wrong"))] * 40)
    batcher = bench.start(refused_run=25)
    assert batcher.process.wait(timeout=60) == 1
    (line,) = [line for line in batcher.events() if line["event"] == "service_broken"]
    assert str(line["error"]).startswith("table trades refused 25 rows running, the last one because: ClickHouse: Code")
    assert len(await bench.dead_letters()) == 25
    assert (await bench.bus.fill(streams.MD))[0].messages == 65


async def test_a_missing_table_stops_the_service_and_nothing_is_thrown_away(bench: Bench) -> None:
    await bench.warehouse.execute("DROP TABLE tapeline.trades")
    await bench.publish([message(trade(1))])
    batcher = bench.start()
    assert batcher.process.wait(timeout=60) == 1
    assert "UNKNOWN_TABLE" in batcher.log.read_text()
    assert await bench.dead_letters() == []


async def test_a_stop_stores_what_was_read_and_records_it(bench: Bench) -> None:
    trades = [trade(number) for number in range(100)]
    batcher = bench.start(batch_rows=1_000, batch_age_s=3_600)
    last = await bench.publish([message(record) for record in trades])

    async def has_read() -> bool:
        return batcher.status().get("pending_rows") == 100

    await bench.until(has_read)
    assert batcher.status()["pending_messages"] != 0
    assert await bench.rows("SELECT count() FROM tapeline.trades") == [[0]]
    assert batcher.end(signal.SIGTERM) == 0
    assert await trade_rows(bench) == [trade_values(record) for record in trades]
    bucket = await bench.bus.bucket(streams.BATCHES)
    for table in ("trades", "quotes", "dead_letters"):
        found = entries.decode(table, (await bucket.get(entries.key(table, "all"))).value or b"")
        assert (found.state, found.last) == ("stored", last)


async def test_what_the_ring_discarded_before_it_was_read_is_counted(bench: Bench) -> None:
    trades = [trade(number) for number in range(60)]
    batcher = bench.start()
    await bench.stored(batcher, await bench.publish([message(record) for record in trades[:10]]))
    batcher.end(signal.SIGTERM)
    last = await bench.publish([message(record) for record in trades[10:]])
    await bench.bus.js.purge_stream(streams.MD.name, seq=41)
    batcher = bench.start()
    status = await bench.stored(batcher, last)
    assert status["lost_messages"] == 30
    (line,) = [line for line in batcher.events() if line["event"] == "ring_overtook"]
    assert (line["level"], line["missing"]) == ("error", 30)
    assert await trade_rows(bench) == [trade_values(record) for record in [*trades[:10], *trades[40:]]]


async def test_a_stream_made_anew_is_read_from_its_start_and_meets_no_old_token(bench: Bench) -> None:
    batcher = bench.start()
    await bench.stored(batcher, await bench.publish([message(trade(number)) for number in range(10)]))
    batcher.end(signal.SIGTERM)
    made = int((await bench.bus.js.stream_info(streams.MD.name)).created.timestamp())  # type: ignore[union-attr]
    await bench.bus.js.delete_stream(streams.MD.name)

    async def made_later() -> bool:  # the token tells streams apart by the second in which they were made
        await provision(bench.bus, {streams.RAW.name: 64 * 1024**2, streams.MD.name: 1024**3})
        found = await bench.bus.js.stream_info(streams.MD.name)
        if found.created is not None and int(found.created.timestamp()) > made:
            return True
        await bench.bus.js.delete_stream(streams.MD.name)
        return False

    await bench.until(made_later)
    last = await bench.publish([message(trade(number)) for number in range(10, 20)])
    await bench.stored(bench.start(), last)
    assert await trade_rows(bench) == [trade_values(trade(number)) for number in range(20)]


async def test_a_batch_over_midnight_that_is_repeated_is_stored_once(bench: Bench) -> None:
    midnight = 1_699_920_000_000_000
    trades = [trade(number, timestamp=midnight + (number - 50) * 1_000_000) for number in range(100)]
    last = await bench.publish([message(record) for record in trades])
    first = bench.start(tables="trades", record_every_s=3_600)

    async def is_in() -> bool:
        return await bench.rows("SELECT count() FROM tapeline.trades") == [[100]]

    await bench.until(is_in)
    first.end(signal.SIGKILL)
    bucket = await bench.bus.bucket(streams.BATCHES)
    found = entries.decode("trades", (await bucket.get("trades.all")).value or b"")
    assert (found.state, found.first, found.last, found.rows) == ("writing", 1, 100, 100)
    second = bench.start(tables="trades")
    await bench.stored(second, last)
    assert await trade_rows(bench) == [trade_values(record) for record in trades]
    parts = "SELECT uniqExact(partition) FROM system.parts WHERE database = 'tapeline' AND table = 'trades' AND active"
    assert await bench.rows(parts) == [[2]]


async def test_a_dead_letter_of_an_earlier_life_is_not_published_again(bench: Bench) -> None:
    subject, body = message(trade(1))
    last = await bench.publish([(subject, body)])
    row = _row(last, subject, body)
    # Without a message id, as if the server's window for duplicates had long passed.
    old = records.encode(letter(row, "an earlier reason", NOON))
    await bench.bus.publish_batch([Outgoing(subjects.dead("storage-batcher"), old)])
    letters = Letters(bench.bus)
    await letters.recall(last)
    await letters.publish(row, "a later reason")
    assert [found.reason for found in await bench.dead_letters()] == ["an earlier reason"]
    await letters.publish(_row(last + 7, subject, body), "another row")
    assert len(await bench.dead_letters()) == 2


async def test_a_dead_letter_fits_into_a_message(bench: Bench) -> None:
    row = _row(5, "dead.elsewhere", b"x" * 1_000_000)
    await Letters(bench.bus).publish(row, "too large")
    (found,) = await bench.dead_letters()
    assert len(base64.b64decode(found.body)) == LONGEST_BODY
    assert found.reason == "too large (the first 600000 of 1000000 bytes are kept)"
    assert (found.exchange, found.symbol) == ("_all", "_all")


def _row(sequence: int, subject: str, body: bytes) -> Incoming:
    return Incoming(sequence, subject, None, body)
