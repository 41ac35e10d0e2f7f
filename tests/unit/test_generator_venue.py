"""A generated venue behaves as the exchange's connections do: routes, subscriptions, all-market streams, time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from services.exchange_simulator.generator import candles as candles_module
from services.exchange_simulator.generator import session as session_module
from services.exchange_simulator.venue import Closing, Refused
from tests.generated_market import NOW_US, SECOND_US, WIRE_SYMBOLS, build, decode, get, messages, play, streams


def test_subscriptions_by_message_are_answered_and_heard(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    session = venue.connect("/market/ws", "", NOW_US)
    assert list(play(session, NOW_US, 5)) == []
    asked = b'{"method":"SUBSCRIBE","params":["btcusdt@aggTrade","nosuch@aggTrade","btcusdt@depth@100ms"],"id":7}'
    assert session.receive(asked, NOW_US + 5 * SECOND_US) == (b'{"result":null,"id":7}',)
    heard = [decode(frame) for _, frame in play(session, NOW_US + 5 * SECOND_US, 20)]
    assert {(data["e"], data["s"]) for data in heard} == {("aggTrade", "BTCUSDT")}
    assert all(data["E"] * 1000 > NOW_US + 5 * SECOND_US - 1000 for data in heard)
    session.receive(b'{"method":"UNSUBSCRIBE","params":["btcusdt@aggTrade"],"id":8}', NOW_US + 25 * SECOND_US)
    assert list(play(session, NOW_US + 25 * SECOND_US, 5)) == []
    assert session.next_due_us() is None


@pytest.mark.parametrize(
    ("route", "heard"),
    [
        ("/public", {"depthUpdate", "bookTicker"}),
        ("/market", {"aggTrade", "kline", "24hrTicker", "markPriceUpdate", "forceOrder"}),
        ("", set[str]()),
        ("/private", set[str]()),
    ],
)
def test_each_route_of_futures_speaks_only_of_its_own(tmp_path: Path, route: str, heard: set[str]) -> None:
    topics = ["depth@100ms", "bookTicker", "aggTrade", "kline_1m", "ticker", "markPrice@1s", "forceOrder"]
    session = build(tmp_path)["perp"].connect(f"{route}/stream", streams(WIRE_SYMBOLS, topics), NOW_US)
    assert {data["e"] for _, data in messages(session, NOW_US, 45)} == heard


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        build(tmp_path)["spot"].connect("/nosuch", "", NOW_US)


def test_two_clients_share_the_same_bytes(tmp_path: Path) -> None:
    venue = build(tmp_path)["spot"]
    first, second = (venue.connect("/ws/btcusdt@depth@100ms", "", NOW_US) for _ in range(2))
    heard = [frame for _, frame in play(first, NOW_US, 5)]
    again = [frame for _, frame in play(second, NOW_US, 5)]
    assert heard == again
    assert len(heard) > 20
    assert all(one is other for one, other in zip(heard, again, strict=True))


def test_who_subscribes_later_hears_the_same_from_then_on(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    topics = streams(["SOLUSDT"], ["depth@100ms", "bookTicker"])
    first = venue.connect("/public/stream", topics, NOW_US)
    early = [frame for _, frame in play(first, NOW_US, 10)]
    second = venue.connect("/public/stream", topics, NOW_US + 10 * SECOND_US)
    both = [[frame for _, frame in play(one, NOW_US + 10 * SECOND_US, 10)] for one in (first, second)]
    assert both[0] == both[1]
    alone = build(tmp_path)["perp"].connect("/public/stream", topics, NOW_US)
    assert [frame for _, frame in play(alone, NOW_US, 20)] == early + both[0]


def test_all_market_streams_hold_every_symbol(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    query = "streams=!markPrice@arr@1s/!markPrice@arr/!forceOrder@arr/btcusdt@markPrice@1s"
    session = venue.connect("/market/stream", query, NOW_US)
    heard = messages(session, NOW_US, 61)
    arrays = [data for stream, data in heard if stream == "!markPrice@arr@1s"]
    assert [{row["s"] for row in array} for array in arrays] == [set(WIRE_SYMBOLS)] * 61
    assert [array[0]["E"] for array in arrays] == [(NOW_US // SECOND_US + 1 + n) * 1000 for n in range(61)]
    thirds = [data for stream, data in heard if stream == "!markPrice@arr"]
    assert thirds == [array for array in arrays if array[0]["E"] % 3000 == 0]
    alone = [data for stream, data in heard if stream == "btcusdt@markPrice@1s"]
    assert alone == [array[0] for array in arrays]
    forced = [data for stream, data in heard if stream == "!forceOrder@arr"]
    assert {data["o"]["s"] for data in forced} == set(WIRE_SYMBOLS)
    assert all(data["E"] - data["o"]["T"] in range(1000, 1010) for data in forced)


def test_liquidations_are_at_least_a_second_apart(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    session = venue.connect("/market/stream", streams(["BTCUSDT"], ["forceOrder"]), NOW_US)
    times = [data["o"]["T"] for _, data in messages(session, NOW_US, 3600)]
    assert len(times) == 180
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1000


def test_market_time_may_begin_in_the_past(tmp_path: Path) -> None:
    start_us = NOW_US - 90 * 60 * SECOND_US
    past = build(tmp_path, start_us=start_us)["spot"]
    session = past.connect("/stream", streams(["BTCUSDT"], ["depth@100ms", "aggTrade"]), NOW_US)
    heard = [frame for _, frame in play(session, NOW_US, 20)]
    live = build(tmp_path)["spot"].connect("/stream", streams(["BTCUSDT"], ["depth@100ms", "aggTrade"]), start_us)
    assert heard == [frame for _, frame in play(live, start_us, 20)]
    assert get(past, "/api/v3/time", NOW_US + SECOND_US)["serverTime"] == (start_us + SECOND_US) // 1000


def test_a_run_of_so_many_seconds_ends(tmp_path: Path) -> None:
    venue = build(tmp_path, duration_s=10.0)["spot"]
    session = venue.connect("/stream", streams(WIRE_SYMBOLS, ["depth@100ms", "kline_1m"]), NOW_US)
    assert not venue.finished(NOW_US)
    heard = list(play(session, NOW_US, 3600))
    assert NOW_US + 9 * SECOND_US < heard[-1][0] <= NOW_US + 10 * SECOND_US
    assert session.next_due_us() is None
    assert not venue.finished(NOW_US + 9 * SECOND_US)
    assert venue.finished(NOW_US + 10 * SECOND_US + 1)


def test_frames_come_in_batches_no_larger_than_asked_for(tmp_path: Path) -> None:
    session = build(tmp_path)["perp"].connect("/public/stream", streams(WIRE_SYMBOLS, ["depth@100ms"]), NOW_US)
    later_us = NOW_US + 30 * SECOND_US
    sizes = []
    while frames := session.frames(later_us, 100):
        sizes.append(len(frames))
    assert set(sizes[:-1]) == {100}
    assert sizes[-1] <= 100


def test_a_client_that_does_not_read_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MOST_WAITING", 50)
    venue = build(tmp_path)["perp"]
    slow, quick = (venue.connect("/public/stream", streams(WIRE_SYMBOLS, ["depth@100ms"]), NOW_US) for _ in range(2))
    assert len(list(play(quick, NOW_US, 5))) > 50
    with pytest.raises(Closing, match="too slowly"):
        slow.frames(NOW_US + 5 * SECOND_US, 10)
    slow.close(NOW_US + 5 * SECOND_US)
    assert len(list(play(quick, NOW_US + 5 * SECOND_US, 5))) > 50


def test_closing_ends_what_a_session_hears(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    session = venue.connect("/public/stream", streams(WIRE_SYMBOLS, ["depth@100ms"]), NOW_US)
    assert session.next_due_us() is not None
    session.close(NOW_US)
    assert list(play(session, NOW_US, 10)) == []
    assert venue.next_due_us() is None
    session.close(NOW_US)


def test_the_last_day_is_added_up_before_anybody_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venue = build(tmp_path, start_us=NOW_US)["perp"]
    venue.prepare(NOW_US)
    asked: list[int] = []

    def sums(market: object, first: int, length: int, count: int) -> None:
        asked.append(length * count)

    monkeypatch.setattr(candles_module, "sums_of_spans", sums)
    session = venue.connect("/market/stream", streams(WIRE_SYMBOLS, ["ticker"]), NOW_US)
    assert {data["e"] for _, data in messages(session, NOW_US, 5)} == {"24hrTicker"}
    assert asked == []


def test_what_falls_due_together_is_told_in_pieces_and_all_the_same(tmp_path: Path) -> None:
    asked = streams(WIRE_SYMBOLS, ["aggTrade", "depth@100ms", "bookTicker", "kline_1m"])
    prompt, late = (build(tmp_path, start_us=NOW_US)["spot"].connect("/stream", asked, NOW_US) for _ in range(2))
    told = [frame for _, frame in play(prompt, NOW_US, 20)]
    now_us = NOW_US + 20 * SECOND_US
    first = late.frames(now_us, 10**6)
    due_us = late.next_due_us()
    assert 0 < len(first) < len(told) and due_us is not None and due_us < now_us, "others have a turn in between"
    rest: list[bytes] = []
    while (due_us := late.next_due_us()) is not None and due_us <= now_us:
        rest += late.frames(now_us, 10**6)
    assert [*first, *rest] == told
