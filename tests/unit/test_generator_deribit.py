"""What is Deribit's own among the generated markets: number forms, names, option prices, pages of history, credits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange_simulator.generator.deribit_figures import number
from services.exchange_simulator.generator.deribit_listings import futures, options, perpetuals, worth
from services.exchange_simulator.generator.deribit_volatility import Volatility
from services.exchange_simulator.generator.names import assets
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.venue import Closing
from tests.generated_market import NOW_US, SECOND_US, build, decode, play
from tests.recorded_deribit import our_name

HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
PUBLIC = "/api/v2/public"


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, GeneratedVenue]:
    return build(tmp_path_factory.mktemp("deribit"), "deribit", symbols=("BTC", "ETH", "XRP"), events_per_s=60.0)


class Asker:
    """Asks one market, a second later each time: nobody runs out of credits."""

    def __init__(self, venue: GeneratedVenue) -> None:
        self._venue = venue
        self._asked = 0

    def __call__(self, method: str, status: int = 200, **query: object) -> Any:
        self._asked += 1
        at_us = NOW_US + self._asked * SECOND_US
        answer = self._venue.get(f"{PUBLIC}/{method}", {name: str(value) for name, value in query.items()}, at_us)
        assert answer.status == status, answer.body
        return decode(answer.body)["result" if status == 200 else "error"]


@pytest.fixture
def ask(venues: Mapping[str, GeneratedVenue]) -> Asker:
    return Asker(venues["perp"])


@given(st.integers(-(10**14), 10**14), st.integers(0, 12))
def test_a_number_has_the_form_of_a_float_and_exactly_its_value(units: int, digits: int) -> None:
    text, value = number(units, digits), Decimal(units).scaleb(-digits)
    assert Decimal(text) == value
    assert text == repr(float(value)) if abs(value) < 10**15 and units else text in ("0.0", repr(float(value)))


@given(st.integers(1_735_689_600, 1_956_441_600))
def test_dated_instruments_expire_on_last_fridays_and_have_our_names(start_s: int) -> None:
    start_us = start_s * SECOND_US
    chosen = assets(1, ("BTC", "ETH", "SOL"))
    dated = (*futures(chosen, 100.0, start_us), *options(chosen, 100.0, start_us))
    assert len(dated) == 2 * 2 + 2 * 4
    for listing in (*perpetuals(chosen, 100.0, start_us), *dated):
        assert our_name(listing.wire_symbol) == listing.symbol
    for listing in dated:
        assert listing.expires_us is not None
        expires = datetime.fromtimestamp(listing.expires_us / SECOND_US, UTC)
        assert (expires.weekday(), expires.hour, expires.minute) == (4, 8, 0)
        assert datetime.fromtimestamp(listing.expires_us / SECOND_US + 7 * 86_400, UTC).month != expires.month
        assert 20 * DAY_US <= listing.expires_us - start_us <= 100 * DAY_US


@given(st.floats(0.2, 5.0), st.floats(0.0, 0.5))
def test_a_call_less_a_put_is_the_coin_less_the_strike(strike: float, move: float) -> None:
    call, put = worth(strike, True, 1.0, move), worth(strike, False, 1.0, move)
    assert call - put == pytest.approx(1.0 - strike)
    assert call >= max(0.0, 1.0 - strike) - 1e-12
    assert worth(strike, True, 1.0, 0.0) == pytest.approx(max(0.0, 1.0 - strike))
    assert call >= worth(strike * 1.01, True, 1.0, move)


def test_an_options_price_moves_with_its_coin_and_its_index_is_the_coin(venues: Mapping[str, GeneratedVenue]) -> None:
    coin = venues["perp"].feeds["BTC-PERPETUAL"].statistics
    for name, feed in venues["option"].feeds.items():
        if name.startswith("BTC"):
            calls = name.endswith("C")
            times = [NOW_US + hour * HOUR_US for hour in range(0, 200, 5)]
            index = [feed.statistics.mark(at).index for at in times]
            assert index == [coin.mark(at).index for at in times]
            price = [feed.market.price_at(at) for at in times]
            together = sum((b > a) == (d > c) for a, b, c, d in zip(index, index[1:], price, price[1:], strict=False))
            assert (together > 0.8 * (len(times) - 1)) if calls else (together < 0.2 * (len(times) - 1))


def test_volatility_spans_hold_every_value_and_add_up() -> None:
    volatility = Volatility(7, "BTC")
    minutes = [
        volatility.span(
            NOW_US // HOUR_US * HOUR_US + m * 60 * SECOND_US, NOW_US // HOUR_US * HOUR_US + (m + 1) * 60 * SECOND_US
        )
        for m in range(60)
    ]
    hour = volatility.span(NOW_US // HOUR_US * HOUR_US, NOW_US // HOUR_US * HOUR_US + HOUR_US)
    assert hour == (minutes[0].open, max(m.high for m in minutes), min(m.low for m in minutes), minutes[-1].close)
    values = [volatility.at(NOW_US // HOUR_US * HOUR_US + s * SECOND_US) for s in range(0, 3_600, 7)]
    assert hour.low <= min(values) < max(values) <= hour.high
    assert len(set(values)) > 5


def test_volatility_history_comes_in_pages_newest_first(ask: Asker) -> None:
    start, end = (NOW_US - 30 * HOUR_US) // 1_000, (NOW_US - HOUR_US) // 1_000
    rows: list[Any] = []
    upto: int | None = end
    pages = 0
    while upto is not None:
        page = ask(
            "get_volatility_index_data", currency="BTC", start_timestamp=start, end_timestamp=upto, resolution=60
        )
        rows, upto, pages = [*page["data"], *rows], page["continuation"], pages + 1
    assert pages == 2
    assert [row[0] for row in rows] == list(range(-(-start // 60_000) * 60_000, end + 1, 60_000))
    assert (
        ask("get_volatility_index_data", 400, currency="SOL", start_timestamp=1, end_timestamp=2, resolution=60)["code"]
        == -32602
    )


def test_trades_are_paged_by_number_and_time(ask: Asker) -> None:
    about = {"instrument_name": "BTC-PERPETUAL"}
    newest = ask("get_last_trades_by_instrument", **about)
    assert newest["has_more"] and len(newest["trades"]) == 10
    sequences = [row["trade_seq"] for row in newest["trades"]]
    assert sequences == sorted(sequences, reverse=True)
    first = sequences[-1] - 25
    rising: list[Any] = []
    while True:
        page = ask(
            "get_last_trades_by_instrument",
            **about,
            start_seq=first + len(rising),
            end_seq=first + 24,
            count=10,
            sorting="asc",
        )
        rising += page["trades"]
        if not page["has_more"]:
            break
    assert [row["trade_seq"] for row in rising] == list(range(first, first + 25))
    start, end = rising[3]["timestamp"], rising[20]["timestamp"]
    span = {"start_timestamp": start, "end_timestamp": end, "count": 1000, "sorting": "asc"}
    within = ask("get_last_trades_by_instrument_and_time", **about, **span)
    assert within["trades"] == [row for row in rising if start <= row["timestamp"] <= end]


@pytest.mark.parametrize("name", ["BTC-PERPETUAL", "XRP_USDC-PERPETUAL"])
def test_a_candle_is_the_sum_of_its_trades(ask: Asker, name: str) -> None:
    about = {"instrument_name": name}
    start = (NOW_US // HOUR_US * HOUR_US - HOUR_US) // 1_000
    told = ask(
        "get_tradingview_chart_data", **about, start_timestamp=start, end_timestamp=start + 119_000, resolution=1
    )
    assert told["status"] == "ok" and told["ticks"] == [start, start + 60_000]
    for place, tick in enumerate(told["ticks"]):
        span = {"start_timestamp": tick, "end_timestamp": tick + 59_999, "count": 1000, "sorting": "asc"}
        rows = ask("get_last_trades_by_instrument_and_time", **about, **span)["trades"]
        prices = [row["price"] for row in rows]
        bar = [told[key][place] for key in ("open", "high", "low", "close")]
        assert bar == [prices[0], max(prices), min(prices), prices[-1]]
        amounts = sum(Decimal(str(row["amount"])) for row in rows)
        if name == "BTC-PERPETUAL":
            assert Decimal(str(told["cost"][place])) == amounts
            exact = sum(Decimal(str(row["amount"])) / Decimal(str(row["price"])) for row in rows)
            assert Decimal(str(told["volume"][place])) == pytest.approx(exact, rel=Decimal("1e-6"))
        else:
            assert Decimal(str(told["volume"][place])) == amounts
            value = sum(Decimal(str(row["amount"])) * Decimal(str(row["price"])) for row in rows)
            assert Decimal(str(told["cost"][place])) == value


def test_funding_is_settled_hourly_an_eighth_of_the_rate(ask: Asker) -> None:
    end = NOW_US // HOUR_US * HOUR_US // 1_000
    rows = ask(
        "get_funding_rate_history",
        instrument_name="ETH-PERPETUAL",
        start_timestamp=end - 5 * 3_600_000,
        end_timestamp=end,
    )
    assert [row["timestamp"] for row in rows] == [end - hours * 3_600_000 for hours in range(5, -1, -1)]
    for before, row in pairwise(rows):
        assert row["interest_1h"] == pytest.approx(row["interest_8h"] / 8)
        assert row["prev_index_price"] == before["index_price"]


def test_a_trade_liquidates_somebody_once_in_ten_seconds(ask: Asker) -> None:
    rows = ask("get_last_trades_by_instrument", instrument_name="BTC-PERPETUAL", count=1000, sorting="asc")["trades"]
    flagged = [row for row in rows if "liquidation" in row]
    slots = [row["timestamp"] // 10_000 for row in flagged]
    assert slots == sorted(set(slots)) and len(slots) > 50
    assert {row["liquidation"] for row in flagged} == {"T", "M", "MT"}


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("get_positions", {}, -32601),
        ("get_order_book", {}, -32602),
        ("get_order_book", {"instrument_name": "NOPE-PERPETUAL"}, 13020),
        ("get_order_book", {"instrument_name": "BTC-PERPETUAL", "depth": "7"}, -32602),
        ("get_last_trades_by_instrument", {"instrument_name": "BTC-PERPETUAL", "count": "1001"}, -32602),
        ("get_last_trades_by_instrument", {"instrument_name": "BTC-PERPETUAL", "start_seq": "x"}, -32602),
        ("get_tradingview_chart_data", {"instrument_name": "BTC-PERPETUAL", "resolution": "7"}, -32602),
        ("get_instruments", {"currency": "DOGE"}, -32602),
        ("get_funding_rate_history", {"instrument_name": "BTC-PERPETUAL"}, -32602),
    ],
)
def test_what_cannot_be_answered_is_refused_in_the_exchanges_words(
    ask: Asker, method: str, query: dict[str, str], code: int
) -> None:
    assert ask(method, 400, **query)["code"] == code


def test_credits_run_out_and_come_back(tmp_path: Path) -> None:
    venue = build(tmp_path, "deribit", symbols=("BTC",))["perp"]

    def asked(method: str, now_us: int) -> int:
        return venue.get(f"{PUBLIC}/{method}", {"currency": "any"}, now_us).status

    burst = [asked("get_time", NOW_US) for _ in range(101)]
    assert burst == [200] * 100 + [429]
    assert [asked("get_time", NOW_US + SECOND_US) for _ in range(21)] == [200] * 20 + [429]
    assert [asked("get_instruments", NOW_US + SECOND_US) for _ in range(6)] == [200] * 5 + [429]
    assert asked("get_instruments", NOW_US + 11 * SECOND_US) == 200


def test_who_gives_no_sign_of_life_is_closed_and_nobody_is_asked_behind_the_end(tmp_path: Path) -> None:
    heartbeat = {"jsonrpc": "2.0", "id": 1, "method": "public/set_heartbeat", "params": {"interval": 10}}
    channels = {"channels": ["quote.BTC-PERPETUAL"]}
    subscribe = {"jsonrpc": "2.0", "id": 2, "method": "public/subscribe", "params": channels}
    endless = build(tmp_path, "deribit", symbols=("BTC",))["perp"].connect("/ws/api/v2", "", NOW_US)
    endless.receive(json.dumps(heartbeat).encode(), NOW_US)
    with pytest.raises(Closing):
        list(play(endless, NOW_US, 25))
    venue = build(tmp_path, "deribit", symbols=("BTC",), duration_s=8.0)["perp"]
    session = venue.connect("/ws/api/v2", "", NOW_US)
    for message in (heartbeat, subscribe):
        session.receive(json.dumps(message).encode(), NOW_US)
    frames = [decode(body)["method"] for _, body in play(session, NOW_US, 60)]
    assert len(frames) > 5 and set(frames) == {"subscription"}
    assert session.next_due_us() is None
    assert venue.finished(NOW_US + 9 * SECOND_US)


def test_what_is_listed_no_more_falls_silent_on_streams_that_tell_of_a_second(tmp_path: Path) -> None:
    venue = build(tmp_path, "deribit", symbols=("BTC", "XRP"), events_per_s=60.0)["perp"]
    session = venue.connect("/ws/api/v2", "", NOW_US)
    channels = {"channels": [f"trades.{name}.agg2" for name in venue.symbols()]}
    subscribe = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": channels}
    session.receive(json.dumps(subscribe).encode(), NOW_US)

    def told(from_us: int) -> set[str]:
        frames = [decode(body) for _, body in play(session, from_us, 30)]
        return {frame["params"]["channel"].split(".")[1] for frame in frames}

    names = {"BTC-PERPETUAL", "BTC_USDC-PERPETUAL", "XRP_USDC-PERPETUAL"}
    assert told(NOW_US) == names
    assert venue.delist("XRP_USDC-PERPETUAL", NOW_US + 30 * SECOND_US) == "XRP_USDC-PERPETUAL"
    assert told(NOW_US + 30 * SECOND_US) == names - {"XRP_USDC-PERPETUAL"}
