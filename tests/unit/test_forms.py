"""A form says what its channel's parser says, or nothing; and lanes tell the same with forms and without."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import frames, records, subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.command_line.bench_recorded import messages
from services.normaliser.core import Output, PartitionCore
from services.normaliser.unknown_fields import unknown_fields
from services.shared.exchanges.declaration import BookSnapshot, Channel, Listing, Market
from services.shared.exchanges.registry import MARKETS
from tests.normaliser_rig import exchange_info, recorded

RECEIVED_AT = 1_791_391_083_000_123
BEST = '"s":"BTCUSDT","b":"83434.40","B":"0.016","a":"83434.50","A":"12"'
SIDES = '"b":[["63921.10","0.005"],["0.1","0"]],"a":[]'
BAR = (
    '"k":{"t":1786540260000,"T":1786540319999,"s":"BTCUSDT","i":"1m","f":7967419367,"L":7967420291,"o":"64049.30",'
    '"c":"64025.70","h":"64049.31","l":"64025.60","v":"32.311","n":924,"x":false,"q":"2069200.98090","V":"6.944",'
    '"Q":"444689.92180","B":"0"}}'
)
TRADE = '"p":"83434.40","q":"0.016"'
IDS = '"f":8154045700,"l":8154045704,"T":1791391081874,"m":true'
WRITTEN = {
    ("perp", "quotes"): [
        f'{{"e":"bookTicker","u":5,{BEST},"T":1791391081874,"E":1791391082024}}',
        f'{{"e":"bookTicker","u":5,{BEST},"T":1791391081874,"E":1791391082024,"ps":"BTCUSDT","st":1}}',
    ],
    ("spot", "quotes"): [f'{{"u":98494969448,{BEST}}}'],
    ("perp", "trades"): [
        f'{{"e":"aggTrade","E":1791391082024,"a":7,"s":"BTCUSDT",{TRADE},{IDS}}}',
        f'{{"e":"aggTrade","E":1791391082024,"a":7,"s":"BTCUSDT",{TRADE},"nq":"0.010",{IDS},"st":1}}',
    ],
    ("spot", "trades"): [f'{{"e":"aggTrade","E":1791391082024,"s":"BTCUSDT","a":7,{TRADE},{IDS},"M":true}}'],
    ("perp", "depth"): [
        '{"e":"depthUpdate","E":1786541222911,"T":1786541222909,"s":"BTCUSDT","U":7,"u":9,"pu":4,' + SIDES + "}",
        '{"e":"depthUpdate","E":1786541222911,"T":1786541222909,"s":"BTCUSDT","ps":"BTCUSDT","U":7,"u":9,"pu":4,'
        + SIDES
        + ',"st":1}',
    ],
    ("spot", "depth"): ['{"e":"depthUpdate","E":1786541222911,"s":"BTCUSDT","U":7,"u":9,' + SIDES + "}"],
    ("perp", "candles_1m"): ['{"e":"kline","E":1786540310066,"s":"BTCUSDT",' + BAR],
    ("spot", "candles_1m"): ['{"e":"kline","E":1786540310066,"s":"BTCUSDT",' + BAR],
}
"""Each way in which Binance writes a stream, as recorded or as its fact sheet has it."""

CASES = [(market, channel, text) for (market, channel), texts in WRITTEN.items() for text in texts]
NAMES = [f"{market}-{channel}-{len(text)}" for market, channel, text in CASES]


def listing_of(market: Market) -> Listing:
    frame = RawFrame("binance", market.market, "instruments", "_all", "c", "R", 1, 1, "rest", exchange_info("BTC"))
    return Listing(market.instruments.parse(frame, Listing()))  # type: ignore[arg-type]


LISTINGS = {name: listing_of(MARKETS["binance", name]) for name in ("perp", "spot")}
SYMBOL = {"perp": "BTC-USDT-PERP", "spot": "BTC-USDT"}


def framed(market: str, channel: str, text: str) -> RawFrame:
    stream = MARKETS["binance", market].channels[channel].stream("BTCUSDT")
    body = f'{{"stream":"{stream}","data":{text}}}'.encode()
    return RawFrame("binance", market, channel, SYMBOL[market], "c", "A", 1, RECEIVED_AT, "ws", body)


def in_full(frame: RawFrame, listing: Listing) -> list[records.Record]:
    """What the parser makes of a frame; book changes as they are told in step."""
    found = MARKETS["binance", frame.market].channels[frame.channel].parse(frame, listing)
    return [
        msgspec.structs.replace(item, in_step=True) if isinstance(item, records.BookChange) else item  # type: ignore[misc]
        for item in found
    ]


def agrees(frame: RawFrame, told: tuple[object, ...], listing: Listing) -> None:
    (record,) = in_full(frame, listing)
    assert told[-1] == records.encode(record)
    if isinstance(record, records.BookChange):
        before = record.previous_sequence if record.previous_sequence is not None else record.first_sequence - 1
        assert told[:3] == (before, record.last_sequence, record.timestamp)
        assert [json.loads(side) for side in told[3:5]] == [  # type: ignore[arg-type]
            json.loads(bytes(side))  # type: ignore[arg-type]
            for side in (record.bids, record.asks)
        ]
    elif isinstance(record, records.CandleUpdate):
        assert told[0] == record.sent_at
    else:
        assert told[0] == record.sequence  # type: ignore[attr-defined]


def form_of(frame: RawFrame, listing: Listing):  # type: ignore[no-untyped-def]  # one of two kinds of form
    forms = MARKETS["binance", frame.market].channels[frame.channel].form
    assert forms is not None
    return forms(listing.by_symbol[frame.symbol], frame.body)


@pytest.mark.parametrize(("market", "channel", "text"), CASES, ids=NAMES)
def test_each_way_of_writing_is_in_a_form_that_says_what_the_parser_says(market: str, channel: str, text: str) -> None:
    frame, listing = framed(market, channel, text), LISTINGS[market]
    form = form_of(frame, listing)
    assert form is not None
    told = form(frame.body, frame.received_at)
    assert told is not None
    agrees(frame, told, listing)


@pytest.mark.parametrize(("market", "channel", "text"), CASES, ids=NAMES)
def test_what_is_not_in_the_form_is_left_to_the_parser(market: str, channel: str, text: str) -> None:
    frame, listing = framed(market, channel, text), LISTINGS[market]
    form = form_of(frame, listing)
    body = frame.body
    for changed in (
        body.replace(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'),
        body.replace(b"btcusdt@", b"ethusdt@"),
        body[:-2] + b',"new":1}}',
        body + b" ",
        body[:-1],
        body.replace(b'"data":', b'"data": '),
    ):
        assert changed != body
        assert form(changed, frame.received_at) is None


@settings(max_examples=150, deadline=None)
@given(case=st.sampled_from(CASES), data=st.data())
def test_a_mutated_frame_says_in_its_form_what_it_says_in_full(case: tuple[str, str, str], data: st.DataObject) -> None:
    frame = framed(*case)
    listing = LISTINGS[frame.market]
    form = form_of(frame, listing)
    body = bytearray(frame.body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        what = data.draw(st.sampled_from(["0", "9", ".", "-", '"', ",", "e", "put", "cut", "twice"]))
        if what == "put":
            body.insert(at, data.draw(st.integers(0, 255)))
        elif what == "cut":
            del body[at : at + data.draw(st.integers(1, 4))]
        elif what == "twice":
            body[at:at] = body[at : at + data.draw(st.integers(1, 24))]
        else:
            body[at : at + 1] = what.encode()
    frame = msgspec.structs.replace(frame, body=bytes(body))
    told = form(frame.body, frame.received_at)
    if told is None:
        return
    try:
        agrees(frame, told, listing)
    except BadFrame as error:
        pytest.fail(f"{frame.body!r} was told as {told!r}, but is refused: {error}")


def test_a_form_has_no_field_that_is_not_known() -> None:
    odd = {name: unknown_fields(framed(*case)) for name, case in zip(NAMES, CASES, strict=True)}
    assert {name: found for name, found in odd.items() if found} == {}


@pytest.mark.parametrize(("session", "market"), [("BINANCE_FUTURES", "perp"), ("BINANCE", "spot")])
def test_recorded_frames_are_in_their_form(recordings: Path, session: str, market: str) -> None:
    filed = [frame for _, frame in recorded(recordings, session, market)]
    declared = MARKETS["binance", market]
    listing = Listing(declared.instruments.parse(filed[0], Listing()))  # type: ignore[arg-type]
    counts: Counter[str] = Counter()
    for frame in filed:
        if frame.origin != "ws":
            continue
        form = form_of(frame, listing)
        told = None if form is None else form(frame.body, frame.received_at)
        final = any(isinstance(record, records.Candle) for record in in_full(frame, listing))
        assert (told is None) == final, frame.body
        if told is not None:
            agrees(frame, told, listing)
            counts[frame.channel] += 1
    assert counts == (
        {"depth": 764, "quotes": 613, "trades": 91, "candles_1m": 63}
        if market == "perp"
        else {"depth": 177, "quotes": 84, "trades": 2, "candles_1m": 2}
    )


def without_forms() -> dict[tuple[str, str], Market]:
    market = MARKETS["binance", "perp"]
    channels = {name: dataclasses.replace(channel, form=None) for name, channel in market.channels.items()}
    return {("binance", "perp"): dataclasses.replace(market, channels=channels)}


def session_frame(frame: RawFrame, event: frames.SessionEvent) -> RawFrame:
    body = frames.encode_session(event)
    return msgspec.structs.replace(frame, channel=subjects.SESSION, symbol=subjects.ALL, body=body)


def troubled(filed: list[tuple[int, RawFrame]], seed: int) -> list[tuple[int, RawFrame]]:
    """The same session on two connections, with frames lost, doubled, and out of order, and some said to be dropped.

    The second one lags behind the first, which ends in the middle: what it then says was told already, in part.
    """
    chance = random.Random(seed)
    found: list[tuple[int, RawFrame]] = []
    behind: deque[tuple[int, RawFrame]] = deque()
    ended = False
    for part, frame in filed:
        if frame.origin != "ws":
            found.append((part, frame))
            continue
        if not ended and chance.random() < 0.97:
            found.append((part, frame))
        if chance.random() < 0.02:
            found.append(found[-1])
        if chance.random() < 0.01:
            found[-1], found[-2] = found[-2], found[-1]
        if chance.random() < 0.99:
            behind.append((part, msgspec.structs.replace(frame, connection="B")))
        if len(behind) > 30:
            found.append(behind.popleft())
        if not ended and chance.random() < 0.01:
            channels = {frame.symbol: ["depth", "quotes", "trades"]}
            lost = frames.SessionEvent(
                event="dropped", url="wss://x", channels=channels, first_number=frame.number, last_number=frame.number
            )
            body = frames.encode_session(lost)
            found.append(
                (part, msgspec.structs.replace(frame, channel=subjects.SESSION, symbol=subjects.ALL, body=body))
            )
        if not ended and frame.number > len(filed) // 2:
            ended = True
            end = session_frame(frame, frames.SessionEvent(event="closed", url="wss://x"))
            found += [(part, end) for part in range(subjects.PARTITIONS)]
    return found


def told(filed: list[tuple[int, RawFrame]], markets: dict[tuple[str, str], Market], restart_every: int) -> list[Output]:
    cores: dict[int, PartitionCore] = {}
    found: list[Output] = []
    for sequence, (part, message, _) in enumerate(messages(filed, 3), 1):
        core = cores.setdefault(part, PartitionCore(part, markets))
        found += core.process(sequence, *message)
        if restart_every and sequence % restart_every == 0:
            cores[part] = PartitionCore(part, markets)
            cores[part].restore({key: core.save(key) for key in core.units()})
    return found


@pytest.mark.parametrize("restart_every", [0, 7])
def test_the_same_is_told_with_forms_and_without(recordings: Path, restart_every: int) -> None:
    filed = recorded(recordings, "BINANCE_FUTURES", "perp")
    plain = {("binance", "perp"): MARKETS["binance", "perp"]}
    for session in (filed, troubled(filed, 1), troubled(filed, 2)):
        assert told(session, plain, restart_every) == told(session, without_forms(), restart_every)


def test_a_frame_in_its_form_is_not_read_in_full(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filed = recorded(recordings, "BINANCE_FUTURES", "perp")
    read: Counter[str] = Counter()
    market = MARKETS["binance", "perp"]

    def counted(channel: Channel) -> Channel:
        def parse(frame: RawFrame, listing: Listing) -> Sequence[records.Record | BookSnapshot]:
            read[channel.name] += 1
            return channel.parse(frame, listing)

        return dataclasses.replace(channel, parse=parse)

    channels = {name: counted(channel) for name, channel in market.channels.items()}
    cores = [
        PartitionCore(part, {("binance", "perp"): dataclasses.replace(market, channels=channels)}) for part in range(16)
    ]
    for sequence, (part, frame) in enumerate(filed, 1):
        cores[part].process(sequence, *frames.message(frame, part))
    assert sum(read.values()) < 0.05 * sum(frame.origin == "ws" for _, frame in filed)
