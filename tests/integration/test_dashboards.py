"""Every dashboard over a simulated session: each question is answered, and what is drawn is what the exchanges said."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.arbitrage_signal.fees import DEFAULT_FEES
from tests import grafana
from tests.dashboard_rig import DROPPED_FROM, Seen, run_session
from tests.pipeline import until

PERP = {"exchange": "binance", "market": "perp"}
KEY = ("binance", "perp")
QUERIES = grafana.queries()
BORN_WITH_THEIR_FIRST_EVENT = (
    "collector_connections_closed_total",
    "collector_requests_failed_total",
    "gap_backfill_calls_failed_total",
    "storage_batcher_retries_total",
)
"""Counters that nothing is known of while all is well."""
TOLD_BY_THE_MINUTE = "Counted before they were stored"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with run_session(tmp_path_factory.mktemp("dashboards")) as session:
        yield session


@pytest.fixture(scope="module")
def prometheus(seen: Seen) -> grafana.Prometheus:
    found = seen.prometheus
    if found is None:
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    rows = {row["table"]: row["rows"] for row in rows_stored(seen)}
    expression = "sum by (table) (storage_batcher_rows_total)"
    until(lambda: {key[0]: value for key, value in found.now(expression).items() if value} == rows, "all is scraped")
    until(lambda: found.now("tapeline:frames:usual"), "rules are worked out")
    return found


def rows_stored(seen: Seen) -> list[dict[str, Any]]:
    tables = (seen.pipeline.status("storage-batcher") or {})["tables"]
    return [{"table": name, "rows": table["rows"]} for name, table in tables.items() if table["rows"]]


def point(text: str, seconds: int = 5) -> str:
    """The interval that a time falls into, as ClickHouse writes it."""
    time = datetime.fromisoformat(text)
    return f"{time - timedelta(seconds=time.second % seconds, microseconds=time.microsecond):%Y-%m-%d %H:%M:%S}"


def number(value: Any) -> Any:
    return value if value is None else Decimal(str(value)).normalize()


def drawn(rows: list[dict[str, Any]], keys: tuple[str, ...], *values: str) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """A panel's values by its labels."""
    return {tuple(row[key] for key in keys): tuple(number(row[value]) for value in values) for row in rows}


def last(events: list[dict[str, Any]], order: tuple[str, ...], *values: str) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """What stood at the end of each interval, by interval and symbol."""
    found: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for event in sorted(events, key=lambda event: tuple(event[name] for name in order)):
        found[point(event["timestamp"]), event["symbol"]] = tuple(event[value] for value in values)
    return found


@pytest.mark.parametrize("query", [query for query in QUERIES if query.is_sql], ids=str)
def test_a_statement_returns_rows(seen: Seen, query: grafana.Query) -> None:
    assert seen.answer(query.text) or query.panel == TOLD_BY_THE_MINUTE


@pytest.mark.parametrize("query", [query for query in QUERIES if not query.is_sql], ids=str)
def test_an_expression_is_answered(seen: Seen, prometheus: grafana.Prometheus, query: grafana.Query) -> None:
    expression = seen.view.promql(query.text)
    found = prometheus.get("/api/v1/query", query=expression)["result"]
    assert found or any(name in expression for name in BORN_WITH_THEIR_FIRST_EVENT), expression


# --- Market ---------------------------------------------------------------------------------------------------------


def test_volume_turnover_and_count_of_trades(seen: Seen) -> None:
    volume: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    turnover: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    count: Counter[tuple[str, ...]] = Counter()
    for trade in seen.events[*KEY, "trade"]:
        at = (point(trade["timestamp"]), trade["symbol"])
        volume[*at, trade["side"]] += trade["quantity"]
        turnover[at] += trade["price"] * trade["quantity"]
        count[at] += 1
    rows = seen.rows("market", "Volume by taker", **PERP)
    assert drawn(rows, ("time", "symbol", "side"), "quantity") == {key: (number(v),) for key, v in volume.items()}
    rows = seen.rows("market", "Turnover", **PERP)
    expected = {key: pytest.approx(float(value), rel=1e-12) for key, value in turnover.items()}
    assert {(row["time"], row["symbol"]): row["turnover"] for row in rows} == expected
    rows = seen.rows("market", "Trades", **PERP)
    assert {(row["time"], row["symbol"]): row["trades"] * 5 for row in rows} == count


def test_last_prices_of_trades_and_quotes(seen: Seen) -> None:
    order = ("timestamp", "sequence")
    rows = seen.rows("market", "Price", **PERP)
    assert drawn(rows, ("time", "symbol"), "price") == last(seen.events[*KEY, "trade"], order, "price")
    rows = seen.rows("market", "Best bid and ask", **PERP)
    expected = last(seen.events[*KEY, "quote"], order, "bid_price", "ask_price")
    assert drawn(rows, ("time", "symbol"), "bid", "ask") == expected


def test_figures_of_derivatives(seen: Seen) -> None:
    rows = seen.rows("market", "Mark price", **PERP)
    expected = last(seen.events[*KEY, "index_price"], ("timestamp",), "mark_price")
    assert drawn(rows, ("time", "symbol"), "mark") == expected
    liquidated: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for event in seen.events["okx", "future", "liquidation"]:
        liquidated[point(event["timestamp"]), event["symbol"], event["side"]] += event["quantity"]
    rows = seen.rows("market", "Liquidations", exchange="okx", market="future")
    expected = {key: (number(quantity),) for key, quantity in liquidated.items()}
    assert drawn(rows, ("time", "symbol", "side"), "quantity") == expected
    rows = seen.rows("market", "Volatility index")
    expected = last(seen.events["deribit", "perp", "volatility_index"], ("timestamp",), "close")
    assert drawn(rows, ("time", "symbol"), "volatility") == expected


def test_the_last_24_hours(seen: Seen) -> None:
    events = sorted(seen.events[*KEY, "ticker"], key=lambda event: event["timestamp"])
    expected = {(event["symbol"],): (event["last_price"], event["quote_volume"]) for event in events}
    assert drawn(seen.rows("market", "Last 24 hours", **PERP), ("symbol",), "last", "turnover") == expected


# --- Data quality ---------------------------------------------------------------------------------------------------


def test_rows_by_the_minute_and_kind(seen: Seen) -> None:
    kinds = ("trade", "quote", "book_change", "liquidation", "index_price", "ticker")
    expected: Counter[tuple[str, str]] = Counter()
    for kind in kinds:
        expected.update((point(event["timestamp"], 60), kind) for event in seen.events.get((*KEY, kind), ()))
    rows = seen.rows("data-quality", "Rows a minute, by kind", **PERP)
    # Drawn at a point a minute: a rate of the interval is a rate of the minute there.
    found = {(row["time"], row["kind"]): row["stored"] * seen.view.interval_s / 60 for row in rows}
    assert {key: value for key, value in found.items() if key[1] in kinds} == expected
    fresh = seen.rows("data-quality", "Freshness", **PERP)
    total = Counter(kind for _, kind in expected.elements())
    assert {row["kind"]: int(row["stored"]) for row in fresh if row["kind"] in kinds} == total


def test_trades_are_complete_by_number_and_none_is_doubled(seen: Seen) -> None:
    ids: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    minutes: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for trade in seen.events[*KEY, "trade"]:
        ids[(trade["symbol"],)].append(trade["sequence"])
        minutes[(trade["symbol"],)].add(point(trade["timestamp"], 60))
    rows = seen.rows("data-quality", "Trades by their numbers", **PERP)
    expected = {key: (len(found), max(found) - min(found) + 1, 1) for key, found in ids.items()}
    assert drawn(rows, ("symbol",), "stored", "numbers", "complete") == expected
    rows = seen.rows("data-quality", "Duplicates in the table", **PERP)
    assert drawn(rows, ("symbol",), "stored", "doubled") == {key: (len(found), 0) for key, found in ids.items()}
    rows = [row for row in seen.rows("data-quality", "Minutes with rows", **PERP) if row["kind"] == "trade"]
    assert drawn(rows, ("symbol",), "minutes") == {key: (len(found),) for key, found in minutes.items()}


def faults(seen: Seen, kind: str) -> list[dict[str, Any]]:
    """The rows of the ledger that a fault befell."""
    rows = pq.read_table(next((seen.data / "ledger").glob(f"binance.spot.{kind}-*.parquet"))).to_pylist()
    return [row for row in rows if row["fault"]]


def test_what_was_dropped_is_a_gap_that_is_filled_and_what_was_cut_a_dead_letter(seen: Seen) -> None:
    dropped = [row["sequence"] for row in faults(seen, "trade")]
    (gap,) = [row for row in seen.rows("data-quality", "Gaps") if row["kind"] == "trade"]
    assert (gap["symbol"], gap["gap_type"], gap["state"]) == (DROPPED_FROM, "sequence", "filled")
    assert (int(gap["first"]), int(gap["last"]), int(gap["filled"])) == (min(dropped), max(dropped), len(dropped))
    (state,) = [row for row in seen.rows("data-quality", "Gaps by state") if row["kind"] == "trade"]
    assert (state["status"], int(state["gaps"]), int(state["rows_filled"])) == ("filled", 1, len(dropped))
    letters = seen.rows("data-quality", "Dead letters by reason")
    assert sum(int(row["letters"]) for row in letters) == len(faults(seen, "ticker"))
    assert {(row["service"], row["exchange"], row["market"]) for row in letters} == {("normaliser", "binance", "spot")}


# --- Arbitrage ------------------------------------------------------------------------------------------------------


def told(seen: Seen) -> dict[tuple[str, str, str], set[tuple[Decimal, Decimal]]]:
    """Every best bid and ask that an exchange told of an instrument."""
    found = defaultdict(set)
    for (exchange, market, kind), events in seen.events.items():
        if kind == "quote":
            for event in events:
                found[exchange, market, event["symbol"]].add((event["bid_price"], event["ask_price"]))
    return found


def pair(row: dict[str, Any]) -> tuple[tuple[str, str], tuple[str, str]]:
    return (row["exchange"], row["symbol"]), (row["other_exchange"], row["other_symbol"])


def market_of(symbol: str) -> str:
    return "perp" if symbol.endswith("-PERP") else "spot"


def test_spreads_are_of_prices_that_were_told(seen: Seen) -> None:
    quotes = told(seen)
    gross, net, compared = {}, {}, set()
    for row in seen.rows("arbitrage", "Prices of both sides"):
        one, other = pair(row)
        bid, ask, other_bid, other_ask = (number(row[name]) for name in ("bid", "ask", "other_bid", "other_ask"))
        for (exchange, symbol), prices in ((one, (bid, ask)), (other, (other_bid, other_ask))):
            assert prices in quotes[exchange, market_of(symbol), symbol]
            compared.add((exchange, symbol))
        here, there = ((1, Decimal(DEFAULT_FEES[f"{who}.{market_of(name)}"]["regular"])) for who, name in (one, other))
        gross[one, other] = 100 * max(other_bid / ask - 1, bid / other_ask - 1)
        net[one, other] = 100 * max(
            (other_bid * (1 - there[1]) - ask * (1 + here[1])) / ask,
            (bid * (1 - here[1]) - other_ask * (1 + there[1])) / other_ask,
        )
    for panel, expected in (("Spread before fees", gross), ("Spread after fees", net)):
        latest = {pair(row): Decimal(row["better"]) for row in seen.rows("arbitrage", panel)}
        assert latest.keys() == expected.keys()
        assert all(abs(latest[key] - expected[key]) < Decimal("2e-8") for key in latest), panel
    linear = ("-USDT", "-USDC", "-USDT-PERP", "-USDC-PERP")
    assert compared == {(exchange, symbol) for exchange, _, symbol in quotes if symbol.endswith(linear)}


def test_opportunities_are_those_of_the_prices_that_were_off(seen: Seen) -> None:
    off = json.loads((seen.data / "ledger" / "mispricings.json").read_text())
    instruments = {(exchange, symbol) for exchange, _, symbol in told(seen)}
    expected = {
        (exchange, symbol, window["exchange"], window["symbol"])
        for window in off
        for exchange, symbol in instruments
        if symbol.startswith(f"{window['asset']}-USD") and (exchange, symbol) != (window["exchange"], window["symbol"])
        if symbol.endswith(("-USDT", "-USDC", "-USDT-PERP", "-USDC-PERP"))
    }
    closed = seen.rows("arbitrage", "Closed opportunities")
    still_open = seen.rows("arbitrage", "Open")
    found = {(row["exchange"], row["symbol"], row["sell_exchange"], row["sell_symbol"]) for row in closed}
    found |= {(row["buy_at"], row["buy"], row["sell_at"], row["sell"]) for row in still_open}
    assert found == expected
    (ended,) = [window["symbol"] for window in off if window["asset"] == "BTC"]
    assert ended not in {row["sell"] for row in still_open}
    opened = sum(int(row["opened"]) for row in seen.rows("arbitrage", "Opportunities"))
    assert opened == len(closed) + len(still_open)
    assert sum(int(row["closed"]) for row in seen.rows("arbitrage", "Why they closed")) == len(closed)


# --- Operations -----------------------------------------------------------------------------------------------------


def events_of(seen: Seen, kind: str) -> int:
    """How many of a kind were sent and could be read, over all exchange markets."""
    return sum(len(events) for (_, _, own), events in seen.events.items() if own == kind)


def now(seen: Seen, prometheus: grafana.Prometheus, panel: str) -> dict[tuple[str, ...], float]:
    return prometheus.now(seen.view.promql(grafana.query("operations", panel)))


def test_frames_records_and_rows_are_those_that_were_sent(seen: Seen, prometheus: grafana.Prometheus) -> None:
    delivered = {(one["exchange"], one["market"]): one["delivered"] for one in seen.simulator["markets"]}
    expected = {key: count for key, count in delivered.items() if count}
    assert now(seen, prometheus, "Frames received since the start") == expected
    records = now(seen, prometheus, "Records made since the start")
    rows = now(seen, prometheus, "Rows stored since the start")
    refilled = {"trade": len(faults(seen, "trade"))}
    for kind, table in (
        ("trade", "trades"),
        ("quote", "quotes"),
        ("book_change", "book_deltas"),
        ("ticker", "tickers"),
    ):
        wanted = events_of(seen, kind) + refilled.get(kind, 0)
        assert (records[(kind,)], rows[(table,)]) == (wanted, wanted), kind


def test_receipt_of_rows_and_connections(seen: Seen) -> None:
    stored: Counter[tuple[str, str]] = Counter()
    for row in seen.rows("operations", "Receipt of the rows stored"):
        stored[row["kind"], row["source"]] += int(row["stored"])
    wanted = {(kind, "live"): events_of(seen, kind) for kind in ("trade", "quote", "book_change")}
    assert stored == {**wanted, ("trade", "backfill"): len(faults(seen, "trade"))}
    opened = [row for row in seen.rows("operations", "What happened to connections") if row["event"] == "opened"]
    expected = {(one["exchange"], one["market"]): one["connections"] for one in seen.simulator["markets"]}
    assert Counter((row["exchange"], row["market"]) for row in opened) == +Counter(expected)
    rows = [row for row in seen.rows("operations", "Events of connections") if row["event"] == "opened"]
    assert sum(int(row["connections"]) for row in rows) == sum(expected.values())


def test_what_was_counted_before_it_was_stored_has_its_rows(seen: Seen) -> None:
    """The last test here: a minute is told when it is over on our clock."""
    tables = {"trade": "trades", "quote": "quotes", "book_change": "book_deltas"}

    def counted() -> dict[tuple[str, str, str], int]:
        rows = seen.through_now().rows("data-quality", TOLD_BY_THE_MINUTE, **PERP)
        return {(row["minute"], row["symbol"], row["kind"]): int(row["made"]) for row in rows if row["kind"] in tables}

    until(lambda: {kind for _, _, kind in counted()} == tables.keys(), "a minute of the session is over and told")
    rows = " UNION ALL ".join(
        f"SELECT toDateTime64(toStartOfMinute(received_at), 6, 'UTC') AS minute, symbol, '{kind}' AS kind, "
        f"count() AS stored FROM tapeline.{table} WHERE exchange = 'binance' AND market = 'perp' GROUP BY ALL"
        for kind, table in tables.items()
    )
    stored = {(row["minute"], row["symbol"], row["kind"]): int(row["stored"]) for row in seen.pipeline.sql(rows)}
    assert sum(stored.values()) == sum(len(seen.events[*KEY, kind]) for kind in tables)
    told = counted()
    assert told == {key: stored[key] for key in told}
