"""What waits to be published: order, packing, and exact bounds of what was lost."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.frames import RawFrame, SessionEvent, decode_session, unpack
from services.collector.outbox import MESSAGE_BYTES, OVERHEAD, PACK_BYTES, Lane, Origin, Outbox, session_frame

A = Origin("binance", "perp", "c", "a", "ws://x/a")
B = Origin("binance", "perp", "c", "b", "ws://x/b")


def frame(origin: Origin, number: int, body: bytes = b"{}", symbol: str = "X-USDT-PERP") -> RawFrame:
    return RawFrame("binance", "perp", "trades", symbol, "c", origin.connection, number, 1000 + number, "ws", body)


def event(origin: Origin, number: int, name: str) -> RawFrame:
    return session_frame(origin, number, 1000 + number, SessionEvent(event=name, url=origin.url))  # type: ignore[arg-type]


def outbox(limit: int = 10**9) -> Outbox:
    return Outbox(limit, lambda: None)


def published(box: Outbox) -> list[tuple[str, RawFrame]]:
    box.pack()
    batch = box.peek(10**6, 10**9)
    found = [
        (packed.message.subject, one)
        for packed in batch
        for one in unpack(packed.message.subject, packed.message.headers, packed.message.body)
    ]
    assert box.pop(len(batch)) == len(found)
    assert (box.bytes, box.waiting) == (0, 0)
    return found


def names(box: Outbox) -> list[str]:
    return [f"{one.connection}{one.number}" for _, one in published(box)]


def test_a_single_frame_is_a_message_of_its_own_subject() -> None:
    box = outbox()
    box.data(Lane(A, 3), frame(A, 1, b"body"))
    [(subject, one)] = published(box)
    assert subject == "raw.binance.perp.trades.X-USDT-PERP." + subject[-2:]
    assert one == frame(A, 1, b"body")


def test_frames_of_a_lane_are_packed_in_order_and_lanes_keep_apart() -> None:
    box = outbox()
    a, b, other = Lane(A, 3), Lane(B, 3), Lane(A, 4)
    for number in (1, 2, 3):
        box.data(a, frame(A, number))
        box.data(b, frame(B, number))
        box.data(other, frame(A, 10 + number))
    box.pack()
    batch = box.peek(100, 10**9)
    assert [packed.frames for packed in batch] == [3, 3, 3]
    assert {packed.message.subject for packed in batch} == {
        "raw.binance.perp._packed._all.03",
        "raw.binance.perp._packed._all.04",
    }
    assert names(box) == ["a1", "a2", "a3", "b1", "b2", "b3", "a11", "a12", "a13"]


def test_a_session_event_keeps_its_place_among_all_of_its_partition() -> None:
    box = outbox()
    old, new, elsewhere = Lane(A, 3), Lane(B, 3), Lane(A, 4)
    box.data(old, frame(A, 1))
    box.data(new, frame(B, 1))
    box.data(elsewhere, frame(A, 2))
    box.keep(new, event(B, 2, "subscribed"))
    box.data(old, frame(A, 3))
    box.keep(old, event(A, 4, "closed"))
    box.data(new, frame(B, 5))
    found = [(subject[-2:], f"{one.connection}{one.number}") for subject, one in published(box)]
    assert [name for part, name in found if part == "03"] == ["a1", "b1", "b2", "a3", "a4", "b5"]
    assert ("04", "a2") in found


def test_wake_is_called_once_per_filling() -> None:
    woken: list[int] = []
    box = Outbox(10**9, lambda: woken.append(1))
    lane = Lane(A, 3)
    box.data(lane, frame(A, 1))
    box.data(lane, frame(A, 2))
    assert len(woken) == 1
    published(box)
    box.data(lane, frame(A, 3))
    assert len(woken) == 2


def test_packs_are_cut_at_their_size_and_a_huge_frame_goes_alone() -> None:
    box = outbox()
    lane = Lane(A, 3)
    sizes = [PACK_BYTES // 2, PACK_BYTES // 2, 10, 10, 2 * MESSAGE_BYTES, 10]
    for number, size in enumerate(sizes, 1):
        box.data(lane, frame(A, number, b"x" * size))
    box.pack()
    batch = box.peek(100, 10**9)
    assert [packed.frames for packed in batch] == [2, 2, 1, 1]
    assert all(len(packed.message.body) <= MESSAGE_BYTES for packed in batch)
    assert [len(one.body) for _, one in published(box)] == sizes


def test_one_answer_for_every_partition_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    compress = zlib.compress

    def counted(body: bytes, level: int) -> bytes:
        calls.append(level)
        return compress(body, level)

    monkeypatch.setattr("schemas.frames.zlib.compress", counted)
    box = outbox()
    answer = RawFrame(
        *("binance", "perp", "instruments", "_all", "c", "rest", 1, 5, "rest", b"y" * 2_000_000, "/info", 4)
    )
    for part in range(subjects.PARTITIONS):
        box.keep(Lane(A, part), answer)
    found = published(box)
    assert len(calls) == 1
    assert [subject[-2:] for subject, _ in found] == [f"{part:02d}" for part in range(16)]
    assert all(one == answer for _, one in found)


def test_a_frame_that_no_message_can_hold_is_lost_with_a_record() -> None:
    box = outbox()
    body = b"".join(zlib.crc32(str(n).encode()).to_bytes(4, "big") for n in range(600_000))  # does not compress
    box.data(Lane(A, 3), frame(A, 7, body))
    [(_, one)] = published(box)
    lost = decode_session(one.body)
    assert (lost.event, lost.first_number, lost.last_number, one.number) == ("dropped", 7, 7, 7)
    assert lost.channels == {"X-USDT-PERP": ["trades"]}
    assert box.dropped == 1


def test_what_is_dropped_for_want_of_room_is_told_under_the_last_lost_number() -> None:
    room = 3 * (2 + OVERHEAD)
    box = outbox(room)
    a, b = Lane(A, 3), Lane(B, 4)
    for number in range(1, 6):
        box.data(a, frame(A, number, symbol="X-USDT-PERP" if number < 5 else "Y-USDT-PERP"))
    box.data(b, frame(B, 1))
    box.alive(b, event(B, 2, "alive"))
    box.keep(b, event(B, 3, "closed"))
    assert box.dropped == 3 and box.crowded
    box.pack()
    first = published(box)
    assert sorted((one.connection, one.number, one.channel) for _, one in first) == [
        ("a", 1, "trades"),
        ("a", 2, "trades"),
        ("a", 3, "trades"),
        ("b", 1, "_session"),  # the dropped event goes before what its lane says next
        ("b", 3, "_session"),
    ]
    assert not box.crowded
    box.data(a, frame(A, 6))
    found = published(box)
    assert [(one.connection, one.number, one.channel) for _, one in found] == [
        ("a", 5, "_session"),
        ("a", 6, "trades"),
    ]
    lost = decode_session(found[0][1].body)
    assert (lost.first_number, lost.last_number, lost.frames) == (4, 5, 2)
    assert lost.channels == {"X-USDT-PERP": ["trades"], "Y-USDT-PERP": ["trades"]}


def test_settling_waits_for_room_and_the_end_does_not() -> None:
    box = outbox(1)
    lane = Lane(A, 3)
    box.data(lane, frame(A, 1))
    box.data(lane, frame(A, 2))
    box.settle()
    assert box.waiting == 1
    box.settle_all()
    assert names(box) == ["a1", "a2"]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["data", "event", "alive", "publish"])), max_size=80),
    st.integers(0, 5_000),
)
def test_every_number_is_published_or_told_as_lost_and_order_holds(steps: list[tuple[int, str]], limit: int) -> None:
    box = outbox(limit)
    lanes = [Lane(origin, part) for origin in (A, B) for part in (1, 2, 3)]
    data: set[tuple[int, str, int]] = set()
    out: list[tuple[int, RawFrame]] = []

    def publish() -> None:
        out.extend((int(subject[-2:]), one) for subject, one in published(box))

    for number, (index, kind) in enumerate(steps, 1):
        lane = lanes[index]
        # A data frame is filed under its symbol's own partition.
        if kind == "data":
            symbol = next(s for s in SYMBOLS if subjects.partition("binance", "perp", s) == lane.part)
            data.add((lane.part, lane.origin.connection, number))
            box.data(lane, frame(lane.origin, number, symbol=symbol))
        elif kind == "event":
            box.keep(lane, event(lane.origin, number, "silent"))
        elif kind == "alive":
            box.alive(lane, event(lane.origin, number, "alive"))
        else:
            publish()
    box.settle_all()
    publish()

    last: dict[tuple[int, str], int] = {}
    got: set[tuple[int, str, int]] = set()
    for part, one in out:
        key = (part, one.connection)
        assert one.number > last.get(key, 0)
        last[key] = one.number
        if one.channel != subjects.SESSION:
            got.add((*key, one.number))
            continue
        told = decode_session(one.body)
        if told.event == "dropped":
            assert told.first_number is not None and told.last_number is not None
            lost = {item for item in data if item[:2] == key and told.first_number <= item[2] <= told.last_number}
            assert len(lost) == told.frames
            assert not lost & got
            got |= lost
    assert got == data


SYMBOLS = [f"S{n}-USDT-PERP" for n in range(200)]
