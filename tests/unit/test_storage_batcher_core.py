"""When a batch is due, what is in it, and how far everything has come; no clock, no server."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Broken, SettingsError
from schemas.tables import BY_NAME, Batch
from services.storage_batcher import entry as entries
from services.storage_batcher.core import ROW_OVERHEAD, Batcher, Slice
from services.storage_batcher.entry import Entry, StreamState
from services.storage_batcher.isolation import Isolation, suspicious, unfit
from services.storage_batcher.settings import StorageBatcherSettings
from tests.storage_batcher_bench import message, trade


class Row(NamedTuple):
    sequence: int
    subject: str = "md.trade.binance.spot.BTC-USDT"
    body: bytes = b"{}"


POLICY = Batch(rows=3, age_s=1.0, max_rows=5, max_bytes=10_000)
STORED = Entry(table="trades", slice="all", owner="a", stream=7, state="stored", first=0, last=10)
WRITING = Entry(table="trades", slice="all", owner="a", stream=7, state="writing", first=11, last=14, rows=3)


def trades(policy: Batch = POLICY, entry: Entry = STORED, spacing_s: float = 0.5) -> Slice:
    one = Slice(BY_NAME["trades"], policy, spacing_s)
    one.own(entry)
    return one


def test_a_batch_is_due_by_rows() -> None:
    one = trades()
    for sequence in (11, 13):
        one.add(Row(sequence), 0.0)
    assert not one.due(0.9)
    one.add(Row(17), 0.9)
    assert one.due(0.9)
    batch = one.take(0.9)
    assert (batch.first, batch.last, [row.sequence for row in batch.rows]) == (11, 17, [11, 13, 17])


def test_a_batch_is_due_by_the_age_of_its_oldest_row() -> None:
    one = trades()
    one.add(Row(11), 5.0)
    one.add(Row(12), 5.9)
    assert not one.due(5.99)
    assert one.due(6.0)


def test_a_batch_is_due_by_bytes_and_is_cut_there() -> None:
    one = trades(Batch(rows=100, age_s=10, max_rows=100, max_bytes=3 * (1_000 + ROW_OVERHEAD)))
    for sequence in range(11, 15):
        assert not one.due(0.0)
        one.add(Row(sequence, body=b"x" * 1_000), 0.0)
        if sequence == 13:
            assert one.due(0.0)
            break
    one.add(Row(14, body=b"x" * 1_000), 0.0)
    assert [row.sequence for row in one.take(0.0).rows] == [11, 12, 13]
    assert one.waiting_bytes == 1_000 + ROW_OVERHEAD


def test_a_row_larger_than_a_batch_goes_alone() -> None:
    one = trades(Batch(rows=1, age_s=1, max_rows=10, max_bytes=500))
    one.add(Row(11, body=b"x" * 1_000), 0.0)
    one.add(Row(12, body=b"x" * 1_000), 0.0)
    assert [row.sequence for row in one.take(0.0).rows] == [11]


def test_at_a_high_rate_batches_grow_instead_of_becoming_many() -> None:
    one = trades(Batch(rows=3, age_s=1, max_rows=50, max_bytes=1 << 20))
    for sequence in range(11, 14):
        one.add(Row(sequence), 0.0)
    one.take(0.0)
    one.stored()
    for sequence in range(14, 34):
        one.add(Row(sequence), 0.1)
    assert not one.due(0.4)
    assert one.due(0.5)
    assert len(one.take(0.5).rows) == 20


def test_one_batch_at_a_time_and_rows_of_the_next_one_keep_their_age() -> None:
    one = trades()
    for sequence in range(11, 18):
        one.add(Row(sequence), float(sequence))
    assert len(one.take(18.0).rows) == POLICY.max_rows
    assert not one.due(100.0)
    one.stored()
    assert one.oldest() == 16.0
    assert not one.due(16.9)
    assert one.due(17.0)


def test_the_position_is_behind_what_is_stored_and_never_beyond() -> None:
    one = trades()
    assert one.position == 10
    one.add(Row(15), 0.0)
    assert one.position == 14
    one.caught_up(20)
    assert one.position == 14
    one.take(2.0)
    assert one.position == 14
    one.stored()
    assert one.position == 20
    assert one.idle


def test_a_batch_that_was_begun_is_taken_again_with_its_bounds() -> None:
    one = trades(entry=WRITING)
    assert one.position == 10
    for sequence in (11, 12):
        one.add(Row(sequence), 0.0)
    assert not one.due(100.0, pressed=True)
    one.add(Row(14), 0.0)
    one.add(Row(15), 0.0)
    assert one.due(0.0)
    batch = one.take(0.0)
    assert (batch.first, batch.last, [row.sequence for row in batch.rows]) == (11, 14, [11, 12, 14])
    assert batch.repeats == WRITING
    one.stored()
    assert one.position == 14
    assert not one.due(0.0)


def test_a_batch_that_was_begun_ends_although_the_ring_took_its_rows() -> None:
    one = trades(entry=WRITING)
    one.caught_up(14)
    assert one.due(0.0)
    assert one.take(0.0).rows == []


def test_messages_that_were_handed_in_before_are_passed_over() -> None:
    one = trades()
    for sequence in (9, 10, 11, 12, 11, 12, 13):
        one.add(Row(sequence), 0.0)
    assert [row.sequence for row in one.waiting] == [11, 12, 13]


def test_a_slice_of_another_owner_takes_nothing_and_knows_only_what_the_owner_recorded() -> None:
    one = trades()
    one.add(Row(11), 0.0)
    one.lose(10)
    batcher = Batcher([one], 100, 1 << 20)
    batcher.add([Row(12)], 0.0)
    assert (one.rows, one.bytes, one.position, one.due(9.0, pressed=True)) == (0, 0, 10, False)


def test_messages_go_to_the_table_of_their_kind() -> None:
    slices = {
        name: Slice(BY_NAME[name], POLICY, 0)
        for name in ("trades", "candles", "candle_updates", "gap_events", "dead_letters")
    }
    for one in slices.values():
        one.own(STORED)
    batcher = Batcher(list(slices.values()), 100, 1 << 20)
    batcher.add(
        [
            Row(11, "md.trade.binance.spot.BTC-USDT"),
            Row(12, "md.candle.binance.spot.BTC-USDT"),
            Row(13, "md.candle_update.binance.spot.BTC-USDT"),
            Row(14, "gap.binance.spot.BTC-USDT"),
            Row(15, "dead.normaliser"),
            Row(16, "md.weather.binance.spot.BTC-USDT"),
            Row(17, "md.weather.okx.spot.BTC-USDT"),
            Row(18, "md.trade.okx.spot.BTC-USDT"),
            Row(19, "checkpoint.03"),
        ],
        0.0,
    )
    assert {name: [row.sequence for row in one.waiting] for name, one in slices.items()} == {
        "trades": [11, 18],
        "candles": [12],
        "candle_updates": [13],
        "gap_events": [14],
        "dead_letters": [15],
    }
    assert dict(batcher.unknown) == {"md.weather": 2}
    assert batcher.position == 10
    assert slices["candles"].received == 19


def test_full_memory_makes_everything_due_and_stops_reading() -> None:
    big, small = trades(Batch(rows=100, age_s=100, max_rows=100, max_bytes=1 << 20)), trades()
    batcher = Batcher([big, small], 4, 1 << 20)
    for sequence in range(11, 14):
        big.add(Row(sequence), 0.0)
    assert not batcher.full()
    assert batcher.due(1.0) == []
    small.add(Row(14), 0.5)
    assert batcher.full()
    assert batcher.due(1.0) == [big, small]
    big.take(1.0)
    assert batcher.full()
    big.stored()
    assert not batcher.full()


def test_full_memory_does_not_stop_a_batch_that_still_needs_rows() -> None:
    one = trades(entry=WRITING)
    batcher = Batcher([one], 2, 1 << 20)
    batcher.add([Row(11), Row(12)], 0.0)
    assert batcher.pressed()
    assert not batcher.full()
    batcher.add([Row(14)], 0.0)
    assert batcher.full()


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=200),
    steps=st.lists(st.sampled_from(["take", "stored", "add"]), max_size=400),
)
def test_whatever_happens_every_row_is_in_exactly_one_batch_in_order(sizes: list[int], steps: list[str]) -> None:
    one = trades(Batch(rows=3, age_s=1, max_rows=5, max_bytes=1_500))
    rows = [Row(11 + number, body=b"x" * size) for number, size in enumerate(sizes)]
    written: list[int] = []
    coming = iter(rows)
    now = 0.0
    for step in [*steps, *["add"] * len(rows), *["take", "stored"] * len(rows)]:
        now += 1.1
        if step == "add" and (row := next(coming, None)) is not None:
            one.add(row, now)
        elif step == "take" and one.due(now):
            batch = one.take(now)
            assert len(batch.rows) <= 5
            written += [row.sequence for row in batch.rows]
        elif step == "stored":
            one.stored()
        assert one.bytes == sum(len(row.body) + ROW_OVERHEAD for row in one.waiting) + (
            sum(len(row.body) + ROW_OVERHEAD for row in one.flying.rows) if one.flying else 0
        )
    assert written == [row.sequence for row in rows]


@given(
    bad=st.sets(st.integers(0, 63)),
    suspected=st.sets(st.integers(0, 63)),
    count=st.integers(1, 64),
)
def test_isolation_finds_the_bad_rows_and_stores_the_others_once(
    bad: set[int], suspected: set[int], count: int
) -> None:
    def run() -> tuple[list[tuple[str, list[int]]], list[int]]:
        search = Isolation([Row(number) for number in range(count)], suspected)
        stored: list[tuple[str, list[int]]] = []
        refused: list[int] = []
        while (part := search.next()) is not None:
            numbers = [row.sequence for row in part.rows]
            if bad.isdisjoint(numbers):
                stored.append((part.token("t"), numbers))
                search.stored()
            elif (row := search.refused()) is not None:
                refused.append(row.sequence)
        return stored, refused

    stored, refused = run()
    assert sorted(number for _, numbers in stored for number in numbers) == sorted(set(range(count)) - bad)
    assert sorted(refused) == sorted(bad & set(range(count)))
    assert len({token for token, _ in stored}) == len(stored)
    assert run() == (stored, refused)


def test_good_suspicions_cost_one_attempt_each() -> None:
    search = Isolation([Row(number) for number in range(1_000)], {17, 500})
    attempts = 0
    while (part := search.next()) is not None:
        attempts += 1
        if len(part.rows) == 1:
            search.refused()
        else:
            search.stored()
    assert attempts == 3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a":1}', None),
        (b'{"a":"\\n"}', None),
        (b'{"a":1}{"a":2}', "not JSON"),
        (b'{"a":1}\n{"a":2}', "a line end inside"),
        (b'{"a":1}\n', "a line end inside"),
        (b'{"a":1', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b"", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"hello", "not a JSON object"),
    ],
)
def test_a_body_that_is_not_one_line_of_json_is_unfit(body: bytes, reason: str | None) -> None:
    found = unfit(body)
    assert found is None if reason is None else (found or "").startswith(reason)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"price":"60001.01"', b'"price":"NaN"'),
        (b'"price":"60001.01"', b'"price":""'),
        (b'"price":"60001.01"', b'"price":null'),
        (b'"price":"60001.01",', b""),
        (b'"price":"60001.01"', b'"price":"123456789012345678901"'),
        (b'"sequence":1', b'"sequence":"x"'),
        (b'"sequence":1', b'"sequence":9223372036854775808'),
        (b'"side":"buy"', b'"side":1'),
    ],
)
def test_what_a_table_would_refuse_looks_wrong(before: bytes, after: bytes) -> None:
    looks_wrong = suspicious(BY_NAME["trades"])
    body = message(trade(1))[1]
    assert not looks_wrong(body)
    assert before in body
    assert looks_wrong(body.replace(before, after))


def test_books_are_looked_at_too() -> None:
    looks_wrong = suspicious(BY_NAME["book_deltas"])
    good = (
        b'{"exchange":"b","market":"spot","symbol":"A-B","timestamp":1,"timestamp_source":"push","received_at":1,'
        b'"source":"live","first_sequence":1,"last_sequence":2,"bids":[["1.5","2"]],"asks":[],"in_step":true}'
    )
    assert not looks_wrong(good)
    assert looks_wrong(good.replace(b'["1.5","2"]', b'["1.5",2]'))
    assert looks_wrong(good.replace(b'[["1.5","2"]]', b'["1.5","2"]'))
    assert looks_wrong(good.replace(b"true", b'"yes"'))


def test_an_entry_survives_its_json_and_names_its_token() -> None:
    assert entries.decode("trades.all", entries.encode(WRITING)) == WRITING
    assert WRITING.token == "trades/all/7.0/11-14"
    assert (WRITING.position, STORED.position) == (10, 10)
    with pytest.raises(Broken, match=r"the entry 'trades\.all' .* cannot be read"):
        entries.decode("trades.all", b"{}")


def test_a_new_owner_goes_on_where_the_entry_stands() -> None:
    wanted = ("trades", "all", "b")
    assert entries.succeed(None, wanted, StreamState(7, 1, 99)).position == 0
    assert entries.succeed(None, wanted, StreamState(7, 0, 0)).position == 0
    assert entries.succeed(None, wanted, StreamState(7, 51, 99)).position == 50
    assert entries.succeed(WRITING, wanted, StreamState(7, 1, 14)) == Entry(
        table="trades", slice="all", owner="b", stream=7, state="writing", first=11, last=14, rows=3
    )


def test_a_stream_made_anew_or_cut_short_never_meets_an_old_token() -> None:
    wanted = ("trades", "all", "b")
    anew = entries.succeed(WRITING, wanted, StreamState(8, 1, 99))
    assert (anew.position, anew.token.split("/")[2]) == (0, "8.0")
    short = entries.succeed(STORED, wanted, StreamState(7, 1, 6))
    assert (short.position, short.state, short.token.split("/")[2]) == (6, "stored", "7.1")
    torn = entries.succeed(WRITING, wanted, StreamState(7, 1, 12))
    assert (torn.position, torn.state, torn.rewinds) == (10, "stored", 1)


def test_settings_name_a_table_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELINE_STORAGE_BATCHER_TABLES", "trades,weather")
    with pytest.raises(SettingsError, match="no such tables: weather; there are trades, fills"):
        StorageBatcherSettings.load()
    monkeypatch.setenv("TAPELINE_STORAGE_BATCHER_TABLES", "trades,quotes")
    monkeypatch.setenv("TAPELINE_STORAGE_BATCHER_BATCH_ROWS", "7")
    settings = StorageBatcherSettings.load()
    assert [table.name for table in settings.owned()] == ["trades", "quotes"]
    assert settings.policy(BY_NAME["trades"]) == Batch(rows=7, age_s=1)
