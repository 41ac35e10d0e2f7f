"""Before a book is asked for to be compared with ours, the partition that keeps ours is told so."""

from __future__ import annotations

from schemas import subjects
from schemas.frames import SessionEvent, decode_session, unpack
from services.collector.core import RestLink
from services.collector.outbox import Origin, Outbox

SYMBOL = "BTC-USDT-PERP"


def test_an_audit_is_announced_before_its_answer_in_the_partition_of_the_book() -> None:
    outbox = Outbox(10**9, lambda: None)
    link = RestLink(Origin("binance", "perp", "c-1", "c-1.a.rest", "http://x"), outbox)
    link.announce_audit(SYMBOL, 5)
    link.publish("depth_audit", SYMBOL, b"{}", "/depth", 6, 7)
    outbox.pack()
    messages = [item.message for item in outbox.peek(10, 10**6)]
    announced, answer = (frame for m in messages for frame in unpack(m.subject, m.headers, m.body))
    assert {subjects.parse_raw(m.subject).partition for m in messages} == {
        subjects.partition("binance", "perp", SYMBOL)
    }
    assert (announced.channel, announced.number, announced.received_at) == (subjects.SESSION, 1, 5)
    assert decode_session(announced.body) == SessionEvent(event="auditing", url="http://x", channels={SYMBOL: []})
    assert (answer.channel, answer.number, answer.request) == ("depth_audit", 2, "/depth")
