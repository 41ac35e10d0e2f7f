"""One connection without its socket: numbering, session events, and what silence means."""

from __future__ import annotations

import pytest

from schemas import subjects
from schemas.frames import RawFrame, SessionEvent, decode_session, unpack
from services.collector.core import UNKNOWN, Judgement, Link, Need, RestLink, Topic, WatchRules
from services.collector.outbox import Origin, Outbox
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import Notice, Reply

ORIGIN = Origin("binance", "perp", "c-1", "c-1.a.1", "ws://x/market/stream")
STREAMS = {
    "btcusdt@aggTrade": Topic("trades", "BTC-USDT-PERP"),
    "btcusdt@depth@100ms": Topic("depth", "BTC-USDT-PERP"),
    "dogeusdt@aggTrade": Topic("trades", "DOGE-USDT-PERP"),
}
S = 1_000_000
RULES = WatchRules(
    alive_every_us=S,
    silence_report_us=30 * S,
    silence_timeout_us=300 * S,
    dead_after_us=10 * S,
    lifetime_us=3600 * S,
)
BTC = subjects.partition("binance", "perp", "BTC-USDT-PERP")
DOGE = subjects.partition("binance", "perp", "DOGE-USDT-PERP")
ALL = subjects.partition("binance", "perp", "_all")


class Rig:
    def __init__(self, rules: WatchRules = RULES) -> None:
        self.outbox = Outbox(10**9, lambda: None)
        self.link = Link(BINANCE_PERP, ORIGIN, STREAMS, self.outbox, rules)
        assert len({BTC, DOGE, ALL}) == 3

    def out(self) -> list[tuple[int, RawFrame]]:
        self.outbox.pack()
        batch = self.outbox.peek(10**6, 10**9)
        self.outbox.pop(len(batch))
        return [
            (subjects.parse_raw(m.message.subject).partition, frame)
            for m in batch
            for frame in unpack(m.message.subject, m.message.headers, m.message.body)
        ]

    def events(self) -> list[tuple[int, int, SessionEvent]]:
        return [(part, frame.number, decode_session(frame.body)) for part, frame in self.out()]


def trade(symbol: str, n: int = 0) -> bytes:
    return b'{"stream":"%s@aggTrade","data":{"n":%d}}' % (symbol.encode(), n)


def test_data_frames_are_numbered_and_filed_by_stream_name() -> None:
    rig = Rig()
    bodies = [trade("btcusdt"), trade("dogeusdt"), b'{"stream":"btcusdt@depth@100ms","data":{}}', trade("btcusdt", 1)]
    for n, body in enumerate(bodies):
        assert rig.link.received(body, 100 + n) is None
    found = sorted(rig.out(), key=lambda item: item[1].number)
    assert [frame for _, frame in found] == [
        RawFrame(
            *("binance", "perp", channel, symbol, "c-1", "c-1.a.1", n + 1, 100 + n, "ws", bodies[n]),
        )
        for n, (channel, symbol) in enumerate(
            [
                ("trades", "BTC-USDT-PERP"),
                ("trades", "DOGE-USDT-PERP"),
                ("depth", "BTC-USDT-PERP"),
                ("trades", "BTC-USDT-PERP"),
            ]
        )
    ]
    assert [part for part, _ in found] == [BTC, DOGE, BTC, BTC]


@pytest.mark.parametrize("body", [b"", b"not json", b'{"stream":"xrpusdt@aggTrade","data":{}}', b"\xff\xfe", b"{}"])
def test_a_frame_that_nothing_explains_is_published_all_the_same(body: bytes) -> None:
    rig = Rig()
    assert rig.link.received(body, 5) is None
    [(part, frame)] = rig.out()
    assert (part, frame.channel, frame.symbol, frame.number, frame.body) == (ALL, UNKNOWN, "_all", 1, body)
    assert rig.link.unknown == 1


def test_answers_and_notices_go_to_the_caller_and_take_no_number() -> None:
    rig = Rig()
    assert rig.link.received(b'{"result":null,"id":3}', 5) == Reply(3, None)
    assert isinstance(rig.link.received(b'{"e":"serverShutdown","E":1}', 6), Notice)
    assert rig.out() == [] and rig.link.number == 0 and rig.link.frames == 0


def test_session_events_go_to_every_partition_concerned_with_its_symbols_only() -> None:
    rig = Rig()
    rig.link.opened(1)
    opened = rig.events()
    assert sorted(part for part, _, _ in opened) == sorted({BTC, DOGE, ALL})
    by_part = {part: event for part, _, event in opened}
    assert by_part[BTC].channels == {"BTC-USDT-PERP": ["trades", "depth"]}
    assert by_part[ALL].channels == {}
    assert {number for _, number, _ in opened} == {1}

    rig.link.subscribed(["btcusdt@aggTrade"], 2)
    subscribed = rig.events()
    assert sorted(part for part, _, _ in subscribed) == sorted({BTC, ALL})
    assert {(number, event.event, event.streams) for _, number, event in subscribed} == {(2, "subscribed", 1)}
    assert next(e for part, _, e in subscribed if part == BTC).channels == {"BTC-USDT-PERP": ["trades"]}

    rig.link.received(trade("btcusdt"), 3)
    rig.link.closed("the line broke", 4)
    said = [(part, decode_session(frame.body)) for part, frame in rig.out() if frame.channel == "_session"]
    closed = [(part, event) for part, event in said if event.event == "closed"]
    assert sorted(part for part, _ in closed) == sorted({BTC, DOGE, ALL})
    assert {(event.event, event.reason, event.frames) for _, event in closed} == {("closed", "the line broke", 1)}


def test_a_stream_that_is_given_up_is_said_to_be_and_its_last_frames_are_data_all_the_same() -> None:
    rig = Rig()
    rig.link.opened(1)
    rig.link.subscribed(list(STREAMS), 2)
    rig.out()
    rig.link.unsubscribed(["dogeusdt@aggTrade", "never asked for"], 3)
    said = rig.events()
    assert sorted(part for part, _, _ in said) == sorted({DOGE, ALL})
    assert {(event.event, event.streams) for _, _, event in said} == {("unsubscribed", 2)}
    assert next(e for part, _, e in said if part == DOGE).channels == {"DOGE-USDT-PERP": ["trades"]}
    assert list(rig.link.streams) == list(rig.link.confirmed) == list(STREAMS)[:2]
    assert rig.link.received(trade("dogeusdt"), 4) is None
    [(part, frame)] = rig.out()
    assert (part, frame.channel, frame.symbol) == (DOGE, "trades", "DOGE-USDT-PERP") and rig.link.unknown == 0
    # Nothing claims any more that its partition is covered.
    rig.link.answered(5 * S)
    rig.link.look(5 * S)
    rig.link.answered(6 * S)
    rig.link.look(6 * S)
    assert {part for part, _, event in rig.events() if event.event == "alive"} == {BTC, ALL}
    rig.link.closed("bye", 7 * S)
    assert {part: event.channels for part, _, event in rig.events()}[DOGE] == {}


def test_a_stream_may_come_to_a_connection_that_lives() -> None:
    rig = Rig()
    rig.link.opened(1)
    rig.out()
    rig.link.add({"ethusdt@aggTrade": Topic("trades", "ETH-USDT-PERP")})
    rig.link.subscribed(["ethusdt@aggTrade"], 2)
    eth = subjects.partition("binance", "perp", "ETH-USDT-PERP")
    assert next(e for part, _, e in rig.events() if part == eth).channels == {"ETH-USDT-PERP": ["trades"]}
    rig.link.received(trade("ethusdt"), 3)
    [(part, frame)] = rig.out()
    assert (part, frame.symbol) == (eth, "ETH-USDT-PERP")


def test_a_stream_is_covered_by_a_frame_or_by_being_confirmed_for_a_while() -> None:
    rig = Rig()
    busy, quiet, late = STREAMS
    rig.link.opened(0)
    rig.link.received(trade("btcusdt"), 1)
    assert not rig.link.covers(busy, 1, 10 * S), "not confirmed: it may be refused yet"
    rig.link.subscribed([busy, quiet], 2)
    assert rig.link.covers(busy, 2, 10 * S)
    assert not rig.link.covers(quiet, 2 + 10 * S - 1, 10 * S) and rig.link.covers(quiet, 2 + 10 * S, 10 * S)
    assert not rig.link.covers(late, 100 * S, 10 * S)
    rig.link.unsubscribed([busy], 3)
    assert not rig.link.covers(busy, 100 * S, 10 * S)


def test_alive_is_said_of_quiet_partitions_at_the_time_of_the_proof() -> None:
    rig = Rig()
    rig.link.opened(0)
    rig.out()
    assert rig.link.look(S // 2) == Judgement(Need.NOTHING)
    rig.link.received(trade("btcusdt"), S)
    rig.link.received(trade("btcusdt"), S + 700_000)
    assert rig.link.look(S + 800_000) == Judgement(Need.NOTHING)
    alive = [(part, frame) for part, frame in rig.out() if frame.channel == "_session"]
    assert sorted(part for part, _ in alive) == sorted([DOGE, ALL])
    assert {frame.received_at for _, frame in alive} == {S + 700_000}
    # Nothing heard since: nothing to say, however late it is, until a ping is answered.
    assert rig.link.look(3 * S) == Judgement(Need.PING)
    assert rig.out() == []
    rig.link.answered(3 * S + 5)
    assert rig.link.look(3 * S + 6) == Judgement(Need.NOTHING)
    assert {(part, frame.received_at) for part, frame in rig.out()} == {(p, 3 * S + 5) for p in (BTC, DOGE, ALL)}


def test_a_connection_without_sign_of_life_is_dead_but_not_after_a_pause_of_ours() -> None:
    rig = Rig()
    rig.link.opened(0)
    for second in range(1, 10):
        assert rig.link.look(second * S).need is Need.PING
    assert rig.link.look(10 * S) == Judgement(Need.RECONNECT, "no sign of life for 10 s")
    paused = Rig()
    paused.link.opened(0)
    assert paused.link.look(60 * S).need is Need.PING
    assert paused.link.look(61 * S).need is Need.PING  # the frames that waited in the socket are read first
    assert paused.link.look(70 * S).need is Need.PING
    # a further pause, and then proof
    paused.link.answered(71 * S)
    assert paused.link.look(71 * S + 5) == Judgement(Need.NOTHING)


def look_through(rig: Rig, start_s: int, end_s: int) -> list[tuple[int, Judgement]]:
    found = []
    for second in range(start_s, end_s + 1):
        rig.link.answered(second * S)
        judgement = rig.link.look(second * S)
        if judgement.need not in (Need.NOTHING, Need.PING):
            found.append((second, judgement))
    return found


def test_silence_is_reported_once_and_leads_to_a_replacement() -> None:
    rig = Rig()
    rig.link.opened(0)
    rig.out()
    assert look_through(rig, 1, 299) == []
    silent = [event for _, _, event in rig.events() if event.event != "alive"]
    assert [(event.event, event.reason) for event in silent] == [("silent", "30")] * 3
    assert look_through(rig, 300, 400) == [(300, Judgement(Need.REPLACE, "no data for 300 s"))]
    rig.link.replacement_failed()
    assert look_through(rig, 401, 402)[0][0] == 401
    rig.link.received(trade("btcusdt"), 403 * S)
    assert look_through(rig, 404, 405) == [] and not rig.link.silent


def test_a_connection_is_replaced_before_its_end() -> None:
    rig = Rig(
        WatchRules(
            alive_every_us=S, silence_report_us=9**9, silence_timeout_us=9**9, dead_after_us=10 * S, lifetime_us=60 * S
        )
    )
    rig.link.opened(0)
    assert look_through(rig, 1, 100) == [(60, Judgement(Need.REPLACE, "end of its planned life"))]


def test_a_clock_that_steps_back_does_not_switch_the_watch_off() -> None:
    rig = Rig()
    rig.link.opened(3600 * S)
    rig.link.look(3600 * S + 1)
    rig.out()
    assert rig.link.look(10 * S).need is Need.NOTHING
    rig.link.answered(12 * S)
    assert rig.link.look(12 * S).need is Need.NOTHING
    assert {frame.received_at for _, frame in rig.out()} == {12 * S}
    for second in range(13, 22):
        assert rig.link.look(second * S).need is Need.PING
    assert rig.link.look(22 * S).need is Need.RECONNECT


def test_rest_answers_are_numbered_and_the_instrument_list_goes_everywhere() -> None:
    outbox = Outbox(10**9, lambda: None)
    rest = RestLink(ORIGIN, outbox)
    rest.publish("depth_snapshot", "BTC-USDT-PERP", b"{}", "/depth?x", 5, 7)
    rest.publish("instruments", "_all", b"{}", "/info", 8, 9, everywhere=True)
    rest.publish("open_interest", "_all", b"[]", "/all", 10, 11)
    outbox.pack()
    batch = outbox.peek(100, 10**9)
    frames = [unpack(*packed.message)[0] for packed in batch]
    assert [(f.channel, f.number, f.origin, f.request, f.requested_at, f.received_at) for f in frames] == [
        ("depth_snapshot", 1, "rest", "/depth?x", 5, 7)
    ] + [("instruments", 2, "rest", "/info", 8, 9)] * 16 + [("open_interest", 3, "rest", "/all", 10, 11)]
    assert batch[0].message.subject.endswith(f".{BTC:02d}")
    assert [packed.message.subject[-2:] for packed in batch[1:17]] == [f"{part:02d}" for part in range(16)]
    assert batch[17].message.subject.endswith(f".{subjects.partition('binance', 'perp', '_all'):02d}")
