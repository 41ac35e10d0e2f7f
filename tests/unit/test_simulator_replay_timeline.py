"""Which reader gets which recorded frame when."""

from __future__ import annotations

import pytest

from services.exchange_simulator.timeline import Entry, Timeline

SECOND = 1_000_000
FRAMES = [Entry(at * SECOND, stream, f"{stream}{at}".encode()) for at, stream in enumerate("abacbb", 101)]
T0 = 7_000_000_000


def timeline(pace: float) -> Timeline:
    """Frames a101 b102 a103 c104 b105 b106, the recorder having connected at 100 s."""
    return Timeline(FRAMES, 100 * SECOND, pace, 15 * SECOND)


def test_as_fast_as_possible_keeps_recorded_order_across_streams() -> None:
    reader = timeline(0).open()
    reader.subscribe(["c", "a", "b", "unrecorded"], T0)
    assert reader.take(T0, 4) == [b"a101", b"b102", b"a103", b"c104"]
    assert reader.next_due_us() == 0
    assert reader.take(T0, 4) == [b"b105", b"b106"]
    assert reader.next_due_us() is None


def test_as_fast_as_possible_each_stream_waits_for_its_reader_and_goes_on_after_a_reconnect() -> None:
    line = timeline(0)
    first = line.open()
    first.subscribe(["b"], T0)
    assert first.take(T0, 2) == [b"b102", b"b105"]
    first.close(T0)
    assert not line.finished(T0 + 3600 * SECOND)
    second = line.open()
    second.subscribe(["a", "b", "c"], T0)
    assert second.take(T0, 9) == [b"a101", b"a103", b"c104", b"b106"]
    assert line.finished(T0)
    assert line.missed == 0


def test_two_readers_of_a_stream_both_get_it_and_a_slow_one_holds_back_the_end() -> None:
    line = timeline(0)
    one, two = line.open(), line.open()
    one.subscribe("abc", T0)
    two.subscribe("abc", T0)
    assert len(one.take(T0, 9)) == 6
    assert not line.finished(T0)
    assert two.take(T0, 9) == [entry.payload for entry in FRAMES]
    assert line.finished(T0)


def test_streams_nobody_asks_for_are_given_up_only_after_the_rest_is_through_and_patience_is_over() -> None:
    line = timeline(0)
    reader = line.open()
    reader.subscribe("ab", T0)
    reader.take(T0, 4)
    assert not line.finished(T0 + 60 * SECOND), "one frame of b is still to come"
    reader.take(T0, 9)
    assert not line.finished(T0 + 15 * SECOND - 1)
    assert line.finished(T0 + 15 * SECOND)
    assert line.missed == 1


def test_a_stream_once_asked_for_is_never_given_up() -> None:
    line = timeline(0)
    gone, reader = line.open(), line.open()
    gone.subscribe("c", T0)
    gone.close(T0)
    reader.subscribe("ab", T0)
    reader.take(T0, 9)
    assert not line.finished(T0 + 3600 * SECOND)
    assert line.missed == 0


@pytest.mark.parametrize("pace", [1.0, 4.0, 0.5])
def test_frames_fall_due_relative_to_the_first_subscription(pace: float) -> None:
    line = timeline(pace)
    reader = line.open()
    assert reader.next_due_us() is None
    reader.subscribe("abc", T0)
    for number, entry in enumerate(FRAMES, 1):
        due_us = T0 + int(number * SECOND / pace)
        assert reader.next_due_us() == due_us
        assert reader.take(due_us - 1, 9) == []
        assert reader.take(due_us, 9) == [entry.payload]
    assert line.finished(due_us)
    assert line.missed == 0


def test_at_a_pace_what_falls_due_without_a_reader_is_missed() -> None:
    line = timeline(1.0)
    reader = line.open()
    reader.subscribe("a", T0)
    assert reader.take(T0 + SECOND, 9) == [b"a101"]
    reader.close(T0 + int(1.5 * SECOND))
    late = line.open()
    late.subscribe("b", T0 + int(3.5 * SECOND))
    assert line.missed == 2, "b102 and a103"
    assert late.take(T0 + 6 * SECOND, 9) == [b"b105", b"b106"]
    assert line.finished(T0 + 6 * SECOND)
    assert line.missed == 3, "and c104"
    assert line.passed("a", T0 + 6 * SECOND) == [b"a101", b"a103"]


def test_a_subscribed_reader_that_is_late_misses_nothing() -> None:
    line = timeline(1.0)
    reader = line.open()
    reader.subscribe("abc", T0)
    assert not line.finished(T0 + 60 * SECOND)
    assert reader.take(T0 + 60 * SECOND, 9) == [entry.payload for entry in FRAMES]
    assert line.finished(T0 + 60 * SECOND)
    assert line.missed == 0


def test_subscribing_twice_is_one_subscription() -> None:
    line = timeline(1.0)
    reader = line.open()
    reader.subscribe("a", T0)
    reader.subscribe("a", T0)
    reader.close(T0)
    assert line.finished(T0 + 60 * SECOND)
    assert line.missed == 6


@pytest.mark.parametrize("pace", [0.0, 1.0])
def test_subscribing_again_at_once_repeats_nothing(pace: float) -> None:
    reader = timeline(pace).open()
    reader.subscribe("ab", T0)
    reader.unsubscribe("ab", T0)
    reader.subscribe("ab", T0)
    assert reader.take(T0 + 6 * SECOND, 9) == [b"a101", b"b102", b"a103", b"b105", b"b106"]


def test_unsubscribing_and_subscribing_again_repeats_nothing() -> None:
    reader = timeline(0).open()
    reader.subscribe("ab", T0)
    assert reader.take(T0, 1) == [b"a101"]
    reader.unsubscribe("b", T0)
    assert reader.take(T0, 9) == [b"a103"]
    reader.subscribe("b", T0)
    reader.subscribe("b", T0)
    assert reader.take(T0, 9) == [b"b102", b"b105", b"b106"]


def test_a_negative_pace_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pace -1"):
        timeline(-1)


def test_the_clock_waits_for_every_stream_to_be_asked_for_but_not_longer_than_the_grace() -> None:
    line = Timeline(FRAMES, 100 * SECOND, 1.0, 15 * SECOND, grace_us=2 * SECOND)
    one, two = line.open(), line.open()
    one.subscribe("a", T0)
    assert one.next_due_us() == T0 + 3 * SECOND, "the grace, and a second of recording"
    two.subscribe("bc", T0 + SECOND)
    assert one.next_due_us() == T0 + 2 * SECOND, "all are there: the clock starts"
    three = line.open()
    three.subscribe("a", T0 + 3 * SECOND // 2)
    assert one.next_due_us() == T0 + 2 * SECOND, "it starts once"


def test_without_the_others_the_clock_starts_after_the_grace() -> None:
    line = Timeline(FRAMES, 100 * SECOND, 1.0, 15 * SECOND, grace_us=2 * SECOND)
    reader = line.open()
    reader.subscribe("a", T0)
    line.open().subscribe("bc", T0 + 10 * SECOND)
    assert reader.next_due_us() == T0 + 3 * SECOND
