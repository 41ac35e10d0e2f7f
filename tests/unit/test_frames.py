"""Raw frames on the bus: what was packed comes out the same, and what is not one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import frames
from schemas.errors import BadFrame
from schemas.frames import RawFrame

PART = 3


def frame(number: int, body: bytes, channel: str = "depth") -> RawFrame:
    return RawFrame(
        "binance", "perp", channel, "BTC-USDT-PERP", "collector-1", "c-1", number, 1_700_000_000_000_000, "ws", body
    )


bodies = st.lists(st.binary(max_size=200), min_size=1, max_size=20)


@given(bodies)
def test_packed_frames_come_out_as_they_went_in(contents: list[bytes]) -> None:
    packed = [frame(number, body) for number, body in enumerate(contents, 1)]
    assert frames.unpack(*frames.pack(packed, PART)) == packed


def test_a_single_frame_keeps_a_subject_that_says_what_it_is() -> None:
    message = frames.pack([frame(7, b"{}")], PART)
    assert message.subject == "raw.binance.perp.depth.BTC-USDT-PERP.03"
    assert message.body == b"{}"


def test_a_large_body_is_compressed_and_says_so() -> None:
    body = b"x" * (frames.COMPRESS_OVER + 1)
    message = frames.message(frame(1, body))
    assert len(message.body) < 10_000
    assert message.headers[frames.ENCODING] == "deflate"
    assert frames.unpack(*message)[0].body == body


def test_a_rest_answer_carries_its_request() -> None:
    answer = RawFrame(
        "binance", "perp", "depth_snapshot", "X-USDT-PERP", "c", "c-rest", 1, 20, "rest", b"{}", "/fapi/v1/depth", 10
    )
    assert frames.unpack(*frames.message(answer)) == [answer]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({frames.CONNECTION: None}, "without header Tape-Connection"),
        ({frames.NUMBER: "x"}, "not a raw frame"),
        ({frames.ORIGIN: "guess"}, "allowed are ws, rest and backfill"),
        ({frames.ENCODING: "deflate"}, "not a raw frame"),
    ],
)
def test_a_message_of_another_form_is_refused_with_its_reason(change: dict[str, str | None], reason: str) -> None:
    subject, headers, body = frames.message(frame(1, b"{}"))
    for name, value in change.items():
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    with pytest.raises(BadFrame, match=reason):
        frames.unpack(subject, headers, body)


@given(st.binary(max_size=300))
def test_a_garbled_pack_is_refused_and_nothing_else(body: bytes) -> None:
    subject, headers, _ = frames.pack([frame(1, b"a"), frame(2, b"b")], PART)
    try:
        frames.unpack(subject, headers, body)
    except BadFrame:
        pass


@pytest.mark.parametrize("length", [b"-30", b"x", b"99"])
def test_a_pack_with_a_wrong_length_ends(length: bytes) -> None:
    subject, headers, _ = frames.pack([frame(1, b"a"), frame(2, b"b")], PART)
    with pytest.raises(BadFrame):
        frames.unpack(subject, headers, b"depth X 1 1 " + length + b"\naaaa\n")


def test_without_headers_there_is_no_frame() -> None:
    with pytest.raises(BadFrame, match="without headers"):
        frames.unpack("raw.binance.perp.depth.X.03", None, b"{}")


def test_session_events_are_read_back_and_others_refused() -> None:
    event = frames.SessionEvent(event="subscribed", url="ws://x", streams=2, channels={"X-USDT": ["trades", "depth"]})
    assert frames.decode_session(frames.encode_session(event)) == event
    for bad in (b"", b"{}", b'{"event":"gone","url":"x"}', b"\xff"):
        with pytest.raises(BadFrame):
            frames.decode_session(bad)
