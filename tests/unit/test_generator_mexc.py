"""What is MEXC's own among the generated markets: two control protocols, figures, pages of history, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.proto import mexc_pb2 as pb
from services.exchange_simulator.generator.mexc_figures import with_exponent
from services.exchange_simulator.generator.mexc_listings import listings
from services.exchange_simulator.generator.names import assets
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.mexc_protocol import ContractControl, SpotControl
from services.exchange_simulator.venue import Closing, Refused
from tests.generated_market import NOW_US, SECOND_US, build, get, play

DEALS = "spot@public.aggre.deals.v3.api.pb@100ms@"
CONTRACT = "/api/v1/contract"


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, GeneratedVenue]:
    return build(tmp_path_factory.mktemp("mexc"), "mexc", symbols=("BTC", "ETH"), events_per_s=60.0)


def test_a_thousand_assets_have_names_of_their_own_and_contracts_worth_some_dollars() -> None:
    chosen = assets(1, 1_000)
    for market in ("spot", "perp"):
        listed = listings(market, chosen, 1_000.0, NOW_US)
        assert len({listing.wire_symbol for listing in listed}) == len({listing.symbol for listing in listed}) == 1_000
        assert all(listing.base_ticks >= 900 for listing in listed)
    worth = {one.wire_symbol: one.step_value for one in listings("perp", chosen, 1_000.0, NOW_US)}
    assert all(0.1 <= value <= 200.0 for value in worth.values())


@pytest.mark.parametrize(
    ("units", "digits", "text"),
    [
        (975000, 1, "9.75E+4"),
        (100, 1, "1E+1"),
        (864695, 1, "86469.5"),
        (864690, 1, "86469"),
        (0, 2, "0"),
        (921, 8, "0.00000921"),
    ],
)
def test_numbers_are_written_as_java_writes_them(units: int, digits: int, text: str) -> None:
    assert with_exponent(units, digits) == text
    assert Decimal(text) == Decimal(units).scaleb(-digits)


def told(control: SpotControl, method: str, params: list[str], now_us: int = NOW_US) -> list[str]:
    change = control.receive(json.dumps({"method": method, "params": params, "id": 4}).encode(), now_us)
    answers = [json.loads(reply) for reply in change.replies]
    assert all((answer["id"], answer["code"]) == (4, 0) for answer in answers)
    return [answer["msg"] for answer in answers]


def test_a_refusal_of_spot_is_told_by_its_text_alone() -> None:
    """As the recorded one; what is allowed beside it is confirmed."""
    control = SpotControl("/ws", {"BTCUSDT"}, NOW_US)
    blocked = "spot@public.deals.v3.api@BTCUSDT"
    refusal = f"Not Subscribed successfully! [{blocked}].  Reason： Blocked! "  # noqa: RUF001 - the exchange's colon
    assert told(control, "SUBSCRIPTION", [blocked]) == [refusal]
    assert told(control, "SUBSCRIPTION", [f"{DEALS}BTCUSDT", blocked]) == [f"{DEALS}BTCUSDT", refusal]
    assert list(control.streams) == [f"{DEALS}BTCUSDT"]
    (reply,) = control.receive(b'{"method":"PING"}', NOW_US).replies
    assert reply == b'{"id":0,"code":0,"msg":"PONG"}'


def test_a_spot_connection_has_thirty_streams() -> None:
    names = [f"COIN{number}USDT" for number in range(31)]
    control = SpotControl("/ws", set(names), NOW_US)
    first, refused = told(control, "SUBSCRIPTION", [f"{DEALS}{name}" for name in names])
    assert first.count(",") == 29
    assert f"[{DEALS}COIN30USDT]" in refused
    assert told(control, "UNSUBSCRIPTION", [f"{DEALS}COIN0USDT"]) == [f"{DEALS}COIN0USDT"]
    assert told(control, "SUBSCRIPTION", [f"{DEALS}COIN30USDT"]) == [f"{DEALS}COIN30USDT"]


def test_spot_cuts_who_subscribes_nothing_and_who_says_too_much(venues: Mapping[str, GeneratedVenue]) -> None:
    session = venues["spot"].connect("/ws", "", NOW_US)
    assert session.next_due_us() == NOW_US + 30 * SECOND_US
    with pytest.raises(Closing):
        list(play(session, NOW_US, 31))
    kept = venues["spot"].connect("/ws", "", NOW_US)
    kept.receive(json.dumps({"method": "SUBSCRIPTION", "params": [f"{DEALS}BTCUSDT"]}).encode(), NOW_US)
    assert len(list(play(kept, NOW_US, 31))) > 5
    control = SpotControl("/ws", set(), NOW_US)
    for _ in range(100):
        control.receive(b'{"method":"PING"}', NOW_US)
    with pytest.raises(Closing):
        control.receive(b'{"method":"PING"}', NOW_US + SECOND_US - 1)
    for venue in venues.values():
        with pytest.raises(Refused):
            venue.connect("/nothing", "", NOW_US)


def contract_said(control: ContractControl, method: str, **param: object) -> tuple[Any, Any]:
    (reply,) = control.receive(json.dumps({"method": method, "param": param}).encode(), NOW_US).replies
    answer = json.loads(reply)
    assert answer["ts"] == NOW_US // 1_000
    return answer["channel"], answer["data"]


def test_contracts_answer_without_a_symbol() -> None:
    control = ContractControl("/edge", {"BTC_USDT"}, NOW_US)
    assert contract_said(control, "sub.deal", symbol="BTC_USDT") == ("rs.sub.deal", "success")
    assert contract_said(control, "sub.deal", symbol="NOPE_USDT") == ("rs.error", "Contract [NOPE_USDT] not exists")
    assert contract_said(control, "sub.kline", symbol="BTC_USDT", interval="Min2") == ("rs.error", "Parameter error")
    assert contract_said(control, "sub.nothing", symbol="BTC_USDT")[0] == "rs.error"
    assert contract_said(control, "sub.depth", symbol="BTC_USDT", compress=False) == ("rs.sub.depth", "success")
    assert contract_said(control, "sub.depth.full", symbol="BTC_USDT", limit=5) == ("rs.sub.depth.full", "success")
    assert contract_said(control, "sub.depth.full", symbol="BTC_USDT", limit=7)[0] == "rs.error"
    assert contract_said(control, "sub.kline", symbol="BTC_USDT", interval="Day1") == ("rs.sub.kline", "success")
    assert list(control.streams) == ["deal@BTC_USDT", "depth@BTC_USDT", "depth.full@5@BTC_USDT", "kline@Day1@BTC_USDT"]
    # As the documentation has it, and without what was asked for.
    assert contract_said(control, "usub.depth.full", symbol="BTC_USDT") == ("rs.unsub.depth.full", "success")
    assert contract_said(control, "unsub.depth", symbol="BTC_USDT") == ("rs.unsub.depth", "success")
    assert list(control.streams) == ["deal@BTC_USDT", "kline@Day1@BTC_USDT"]


def test_contracts_cut_who_sends_no_ping_for_a_minute(venues: Mapping[str, GeneratedVenue]) -> None:
    session = venues["perp"].connect("/edge", "", NOW_US)
    assert session.next_due_us() == NOW_US + 60 * SECOND_US
    session.receive(b'{"method":"ping"}', NOW_US + SECOND_US)
    assert session.frames(NOW_US + 60 * SECOND_US, 10) == []
    (warning,) = session.frames(NOW_US + 61 * SECOND_US, 10)
    assert json.loads(warning)["data"] == "more than 60 seconds no response, close the channel"
    with pytest.raises(Closing):
        session.frames(NOW_US + 61 * SECOND_US, 10)


def test_the_last_changes_lead_from_one_book_to_the_next(venues: Mapping[str, GeneratedVenue]) -> None:
    """`depth_commits` fills what was missed: the book before, with them, is the book now."""
    venue, later_us = venues["perp"], NOW_US + 10 * SECOND_US
    before = get(venue, f"{CONTRACT}/depth/BTC_USDT", limit=1000)["data"]
    after = get(venue, f"{CONTRACT}/depth/BTC_USDT", later_us, limit=1000)["data"]
    missed = after["version"] - before["version"]
    assert missed > 20
    commits = get(venue, f"{CONTRACT}/depth_commits/BTC_USDT/{missed}", later_us)["data"]
    assert [one["version"] for one in commits] == list(range(before["version"] + 1, after["version"] + 1))
    for side, sign in (("bids", -1), ("asks", 1)):
        book = {price: size for price, size, _ in before[side]}
        for one in commits:
            book |= {price: size for price, size, _ in one[side]}
        best = sorted(((price, size) for price, size in book.items() if size), key=lambda level: sign * level[0])
        assert best[:100] == [(price, size) for price, size, _ in after[side]][:100]


def test_settled_rates_come_newest_first_and_page_by_page(venues: Mapping[str, GeneratedVenue]) -> None:
    path = f"{CONTRACT}/funding_rate/history"
    pages = [get(venues["perp"], path, NOW_US, symbol="BTC_USDT", page_num=n, page_size=3)["data"] for n in (1, 2)]
    times = [row["settleTime"] for page in pages for row in page["resultList"]]
    assert times == [NOW_US // 1_000 // 28_800_000 * 28_800_000 - 28_800_000 * place for place in range(6)]


def test_limits_are_each_endpoints_own(tmp_path: Path) -> None:
    venues = build(tmp_path, "mexc", symbols=("BTC",))
    asked = [get(venues["perp"], f"{CONTRACT}/ping")["success"] for _ in range(20)]
    assert all(asked)
    refused = get(venues["perp"], f"{CONTRACT}/ping")
    assert (refused["success"], refused["code"]) == (False, 510)
    assert get(venues["perp"], f"{CONTRACT}/detail")["success"]
    assert get(venues["perp"], f"{CONTRACT}/detail", NOW_US + 4 * SECOND_US)["code"] == 510
    assert get(venues["perp"], f"{CONTRACT}/detail", NOW_US + 5 * SECOND_US)["success"]
    statuses = [venues["spot"].get("/api/v3/exchangeInfo", {}, NOW_US).status for _ in range(51)]
    assert statuses == [200] * 50 + [429]
    assert venues["spot"].get("/api/v3/time", {}, NOW_US).status == 200
    weights = [venues["spot"].get("/api/v3/ticker/24hr", {}, NOW_US).status for _ in range(13)]
    assert weights == [200] * 12 + [429]


def test_refusals(venues: Mapping[str, GeneratedVenue]) -> None:
    for path, query, code in (
        ("klines", {"symbol": "NOPEUSDT", "interval": "1m"}, 10007),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h"}, -1121),
        ("depth", {"symbol": "BTCUSDT", "limit": "5001"}, 700004),
        ("aggTrades", {"symbol": "BTCUSDT", "startTime": "1"}, 700003),
    ):
        answer = venues["spot"].get(f"/api/v3/{path}", query, NOW_US)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, code)
    assert get(venues["perp"], f"{CONTRACT}/depth/NOPE_USDT")["code"] == 1001
    assert get(venues["perp"], f"{CONTRACT}/kline/BTC_USDT", interval="Min2")["code"] == 600
    for path in ("/api/v1/contract/depth", "/api/v1/contract/nothing", "/api/v3/nothing"):
        assert venues["perp"].get(path, {}, NOW_US).status == 404


def test_a_book_change_is_unchained_and_still_readable(tmp_path: Path) -> None:
    """A binary one begins later, and not behind its own end; one with a single version falls behind the one before."""
    venues = build(tmp_path, "mexc", ledger=True, symbols=("BTC",))
    session = venues["spot"].connect("/ws", "", NOW_US)
    name = "spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT"
    session.receive(json.dumps({"method": "SUBSCRIPTION", "params": [name]}).encode(), NOW_US)
    both = ((frame, session.unchained(0, frame, 1_000)) for _, frame in play(session, NOW_US, 20, batch=1))
    frame, spoiled = next(pair for pair in both if pair[1] is not None)
    assert type(spoiled) is type(frame)
    before, after = (pb.PushDataV3ApiWrapper.FromString(body).publicAggreDepths for body in (frame, spoiled))
    assert int(before.fromVersion) < int(before.toVersion)
    assert after.fromVersion == after.toVersion == before.toVersion, "there is no room for 1,000"
    assert (after.bids, after.asks) == (before.bids, before.asks)
    contract = venues["perp"].connect("/edge", "", NOW_US)
    contract.receive(b'{"method":"sub.depth","param":{"symbol":"BTC_USDT","compress":false}}', NOW_US)
    (_, frame) = next(play(contract, NOW_US, 20, batch=1))
    spoiled = contract.unchained(0, frame, 1_000)
    assert spoiled is not None
    assert json.loads(spoiled)["data"] == json.loads(frame)["data"] | {
        "version": json.loads(frame)["data"]["version"] - 2
    }
