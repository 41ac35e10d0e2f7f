"""Generated frames against recorded ones: same keys in the same order, JSON types, number forms and nesting.

The long recordings are of 2021. What Binance has added or dropped since is listed by name with each comparison; the
frames of 2026 in `extra_frames` must be met without any difference, to the number of digits. No recording holds a
`24hrTicker`, a `markPriceUpdate`, or a futures statistic: those are held against the keys the exchange documents.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.generator.venue import GeneratedVenue
from tests.generated_market import NOW_US, build, get, messages

RECORDINGS = (
    Path(os.environ.get("TAPELINE_RECORDINGS", Path(__file__).parents[3] / "shared" / "recordings")) / "binance"
)
pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")

NUMBER = re.compile(r"-?\d+(\.\d+)?")
TOPICS = {
    ("spot", "/stream"): ["aggTrade", "trade", "depth@100ms", "bookTicker", "kline_1m", "ticker", "miniTicker"],
    ("perp", "/public/stream"): ["depth@100ms", "bookTicker"],
    ("perp", "/market/stream"): [
        "aggTrade",
        "kline_1m",
        "ticker",
        "miniTicker",
        "markPrice@1s",
        "forceOrder",
    ],
}

Shape = Any


def shape(value: Any, digits: bool) -> Shape:
    """Return what a JSON value looks like: keys in order, types, and of a number in a string its digits."""
    if isinstance(value, dict):
        return [(key, shape(inner, digits)) for key, inner in value.items()]
    if isinstance(value, list):
        seen: list[Shape] = []
        for inner in value:
            if (form := shape(inner, digits)) not in seen:
                seen.append(form)
        return ["list", *seen]
    if isinstance(value, str) and NUMBER.fullmatch(value):
        whole, point, fraction = value.lstrip("-").partition(".")
        assert whole == str(int(whole)), f"{value!r} has needless zeros in front"
        return f"number with {len(fraction) if point else 'no'} digits" if digits else "number"
    return type(value).__name__


def without(form: Shape, *keys: str) -> Shape:
    """Drop keys, on every level, from a shape."""
    if isinstance(form, list):
        return [
            (entry[0], without(entry[1], *keys)) if isinstance(entry, tuple) else without(entry, *keys)
            for entry in form
            if not (isinstance(entry, tuple) and entry[0] in keys)
        ]
    return form


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GeneratedVenue]:
    return build(tmp_path_factory.mktemp("frames"), symbols=("BTC", "SUSHI", "ADA"))


@pytest.fixture(scope="module")
def generated(venues: dict[str, GeneratedVenue]) -> dict[tuple[str, str], dict[str, Any]]:
    """One BTCUSDT payload of each stream; of book changes one with levels on both sides."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (market, path), topics in TOPICS.items():
        query = "streams=" + "/".join(f"btcusdt@{topic}" for topic in topics)
        session = venues[market].connect(path, query, NOW_US)
        for stream, data in messages(session, NOW_US, 70):
            if "depth" not in stream or (data["b"] and data["a"]):
                found.setdefault((market, stream.split("@", 1)[1]), data)
        session.close(NOW_US)
    return found


def recorded_2021(market: str) -> dict[str, dict[str, Any]]:
    """One recorded payload of each stream kind; of book changes one with levels on both sides."""
    name = "BINANCE_FUTURES" if market == "perp" else "BINANCE"
    found: dict[str, dict[str, Any]] = {}
    for line in (RECORDINGS / "cryptofeed" / f"{name}.ws.1.0").read_text().splitlines()[1:]:
        if ": " in line:
            message = json.loads(line.split(": ", 1)[1])
            topic, data = message["stream"].split("@", 1)[1], message["data"]
            if "depth" not in topic or (data["b"] and data["a"]):
                found.setdefault(topic, data)
    return found


def recorded_2026() -> list[dict[str, Any]]:
    lines = (RECORDINGS / "extra_frames" / "frames.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["dir"] == "recv" and row["kind"] == "text"]


def of_2026(session: str, event: str) -> dict[str, Any]:
    """Return the first payload of an event in the sessions whose name begins with `session`."""
    for row in recorded_2026():
        frame = json.loads(row["frame"])
        data = frame.get("data", frame)
        if row["session"].startswith(session) and event in (data.get("e"), "bookTicker" if "B" in data else None):
            return dict(data)
    raise AssertionError(f"no {event} recorded in {session}")


def document(name: str) -> Any:
    return json.loads((RECORDINGS / "nautilus_trader" / name).read_text())


def answers(market: str, kind: str) -> list[Any]:
    name = f"{'BINANCE_FUTURES' if market == 'perp' else 'BINANCE'}.{kind}"
    path = RECORDINGS / "cryptofeed" / name
    text = path.read_text() if path.exists() else gzip.decompress(path.with_name(f"{name}.gz").read_bytes()).decode()
    return [json.loads(line.split(": ", 1)[1]) for line in text.splitlines() if line.startswith("https")]


@pytest.mark.parametrize(
    ("market", "topic", "session", "event"),
    [
        ("spot", "bookTicker", "spot bookTicker", "bookTicker"),
        ("spot", "kline_1m", "spot kline", "kline"),
        ("perp", "kline_1m", "usdm kline", "kline"),
        ("perp", "miniTicker", "usdm miniTicker", "24hrMiniTicker"),
        ("perp", "depth@100ms", "usdm depth", "depthUpdate"),
        ("perp", "aggTrade", "usdm combined", "aggTrade"),
    ],
)
def test_frames_are_those_of_2026(
    generated: dict[tuple[str, str], dict[str, Any]], market: str, topic: str, session: str, event: str
) -> None:
    assert shape(generated[market, topic], digits=True) == shape(of_2026(session, event), digits=True)


def test_liquidations_are_those_of_2026(generated: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The recorded one is of another symbol, so only its digits may differ."""
    ours, recorded = generated["perp", "forceOrder"], of_2026("usdm combined", "forceOrder")
    assert shape(ours, digits=False) == shape(recorded, digits=False)
    assert {ours["o"]["S"], recorded["o"]["S"]} <= {"BUY", "SELL"}
    assert [ours["o"][name] for name in ("o", "f", "X")] == [recorded["o"][name] for name in ("o", "f", "X")]
    for one in (ours["o"], recorded["o"]):
        assert len(one["p"].partition(".")[2]) == len(one["ap"].partition(".")[2])


@pytest.mark.parametrize(
    ("market", "topic", "added_since"),
    [
        ("perp", "aggTrade", ("nq", "st")),
        ("perp", "depth@100ms", ("ps", "st")),
        ("perp", "bookTicker", ("ps", "st")),
        ("perp", "kline_1m", ()),
        ("spot", "aggTrade", ()),
        ("spot", "depth@100ms", ()),
        ("spot", "bookTicker", ()),
        ("spot", "kline_1m", ()),
    ],
)
def test_frames_differ_from_2021_only_by_name(
    generated: dict[tuple[str, str], dict[str, Any]], market: str, topic: str, added_since: tuple[str, ...]
) -> None:
    digits = market == "spot"  # always eight there; on futures they are the symbol's
    ours, recorded = shape(generated[market, topic], digits), shape(recorded_2021(market)[topic], digits)
    assert without(ours, *added_since) == recorded
    assert not added_since or ours != recorded


def test_spot_trades_differ_from_2021_by_the_order_ids(generated: dict[tuple[str, str], dict[str, Any]]) -> None:
    recorded = document("ws_spot_trade.json")["data"]
    assert shape(generated["spot", "trade"], True) == without(shape(recorded, True), "b", "a")


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_depth_is_as_recorded(venues: dict[str, GeneratedVenue], market: str) -> None:
    path = "/api/v3/depth" if market == "spot" else "/fapi/v1/depth"
    ours = get(venues[market], path, symbol="BTCUSDT", limit=100)
    for recorded in answers(market, "http.0.0"):
        assert shape(ours, digits=market == "spot") == shape(recorded, digits=market == "spot")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("aggTrades", "http_spot_market_agg_trades.json"),
        ("trades", "http_spot_market_trades.json"),
        ("ticker/bookTicker", "http_spot_market_book_ticker.json"),
        ("time", "http_spot_market_time.json"),
    ],
)
def test_spot_answers_are_as_recorded(venues: dict[str, GeneratedVenue], path: str, name: str) -> None:
    query = {} if path == "time" else {"symbol": "BTCUSDT"}
    assert shape(get(venues["spot"], f"/api/v3/{path}", **query), True) == shape(document(name), True)


def info(row: dict[str, Any], digits: bool) -> dict[str, Any]:
    """Return the shapes of a listed symbol by key, its filters by their name."""
    filters = {entry["filterType"]: dict(shape(entry, digits)) for entry in row["filters"]}
    return {**{key: shape(value, digits) for key, value in row.items()}, "filters": filters}


def test_futures_exchange_info_differs_from_2021_only_by_name(venues: dict[str, GeneratedVenue]) -> None:
    ours = get(venues["perp"], "/fapi/v1/exchangeInfo")
    recorded = answers("perp", "0")[0]
    assert list(ours) == list(recorded)
    assert shape(ours["rateLimits"], True) == shape(recorded["rateLimits"], True)
    assert shape(ours["assets"][0], False) == shape(recorded["assets"][0], False)
    (btc,) = (row for row in recorded["symbols"] if row["symbol"] == "BTCUSDT")
    mine, theirs = info(ours["symbols"][0], digits=False), info(btc, digits=False)
    assert mine.keys() - theirs.keys() == {"maxMoveOrderLimit", "permissionSets"}
    assert theirs.keys() - mine.keys() == {"settlePlan"}
    assert mine["filters"].keys() - theirs["filters"].keys() == {"POSITION_RISK_CONTROL"}
    assert theirs["filters"].keys() - mine["filters"].keys() == set()
    del mine["filters"]["POSITION_RISK_CONTROL"]
    assert {key: mine[key] for key in mine.keys() & theirs.keys()} == {
        key: theirs[key] for key in mine.keys() & theirs.keys()
    }
    assert ours["symbols"][0]["filters"][0]["tickSize"] == "0.10"
    kept = [key for key in btc if key != "settlePlan"]
    assert [key for key in ours["symbols"][0] if key in kept] == kept


def test_spot_exchange_info_differs_from_2021_only_by_name(venues: dict[str, GeneratedVenue]) -> None:
    ours = get(venues["spot"], "/api/v3/exchangeInfo")
    recorded = document("http_spot_market_exchange_info.json")
    assert list(ours) == list(recorded)
    assert shape(ours["rateLimits"], True) == shape(recorded["rateLimits"], True)
    mine, theirs = info(ours["symbols"][0], digits=True), info(recorded["symbols"][0], digits=True)
    assert mine.keys() - theirs.keys() == {
        "otoAllowed",
        "opoAllowed",
        "allowTrailingStop",
        "cancelReplaceAllowed",
        "amendAllowed",
        "pegInstructionsAllowed",
        "permissionSets",
        "defaultSelfTradePreventionMode",
        "allowedSelfTradePreventionModes",
    }
    assert theirs.keys() - mine.keys() == set()
    added = {"TRAILING_DELTA", "PERCENT_PRICE_BY_SIDE", "NOTIONAL", "MAX_NUM_ORDER_LISTS", "MAX_NUM_ORDER_AMENDS"}
    gone = {"PERCENT_PRICE", "MIN_NOTIONAL"}
    assert mine["filters"].keys() - theirs["filters"].keys() == added
    assert theirs["filters"].keys() - mine["filters"].keys() == gone
    for name in mine["filters"].keys() & theirs["filters"].keys():
        assert mine["filters"][name] == theirs["filters"][name]
    same = mine.keys() & theirs.keys() - {"filters", "permissions"}  # rights moved to `permissionSets`
    assert {key: mine[key] for key in same} == {key: theirs[key] for key in same}
    kept = list(recorded["symbols"][0])
    assert [key for key in ours["symbols"][0] if key in kept] == kept


def test_frames_without_a_recording_have_the_documented_keys(
    generated: dict[tuple[str, str], dict[str, Any]], venues: dict[str, GeneratedVenue]
) -> None:
    """Source: Binance's stream pages (spot and USD-M futures, 2026-07) and its change logs for `ap`, `ps` and `st`."""
    ticker = "e E s p P w x c Q b B a A o h l v q O C F L n".split()
    assert list(generated["spot", "ticker"]) == ticker
    spot_only = {"x", "b", "B", "a", "A"}
    expected = [key for key in ticker if key not in spot_only]
    expected.insert(expected.index("s") + 1, "ps")
    assert list(generated["perp", "ticker"]) == [*expected, "st"]
    mark = generated["perp", "markPrice@1s"]
    assert sorted(mark) == sorted("e E s p ap P i r T st".split())
    assert {name: shape(mark[name], True) for name in ("p", "ap", "P", "i", "r")} == dict.fromkeys(
        ("p", "ap", "P", "i", "r"), "number with 8 digits"
    )
    row = get(venues["perp"], "/futures/data/topLongShortPositionRatio", symbol="BTCUSDT", period="5m", limit=1)[0]
    assert shape(row, True) == [
        ("symbol", "str"),
        ("longAccount", "number with 4 digits"),
        ("longShortRatio", "number with 4 digits"),
        ("shortAccount", "number with 4 digits"),
        ("timestamp", "int"),
    ]
    for market, prefix in (("spot", "/api/v3"), ("perp", "/fapi/v1")):
        candle = get(venues[market], f"{prefix}/klines", symbol="BTCUSDT", interval="1m", limit=1)[0]
        assert [type(value) for value in candle] == [int, str, str, str, str, str, int, str, int, str, str, str]
        assert candle[11] == "0"


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SUSHIUSDT", "ADAUSDT"])
def test_futures_digits_are_those_of_the_exchange_info(venues: dict[str, GeneratedVenue], symbol: str) -> None:
    (row,) = (row for row in get(venues["perp"], "/fapi/v1/exchangeInfo")["symbols"] if row["symbol"] == symbol)
    assert len(row["filters"][0]["tickSize"].partition(".")[2]) == row["pricePrecision"]
    query = f"streams={symbol.lower()}@depth@100ms"
    for _, data in messages(venues["perp"].connect("/public/stream", query, NOW_US), NOW_US, 3):
        for price, quantity in data["b"] + data["a"]:
            assert len(price.partition(".")[2]) == row["pricePrecision"]
            assert len(quantity.partition(".")[2]) == row["quantityPrecision"]
