"""What dashboards are tried on: simulated exchanges through the whole pipeline, and a Prometheus that looks on.

Faults befall one market alone, so that every other one's rows are the ledger's as they stand.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests import grafana
from tests.ledger import TABLE_OF, sent
from tests.pipeline import Pipeline, run_pipeline, until
from tests.prometheus import PROMETHEUS, run_prometheus

EXCHANGES = "binance,okx,deribit"
FAULTY = {"exchange": "binance", "market": "spot"}
DROPPED_FROM = "BTC-USDT"
FAULTS = (
    {"fault": "drop", "match": "btcusdt@aggTrade", "count": 2},
    {"fault": "truncate", "kind": "ticker", "count": 2},
)
STREAMED = {"funding_rate": "AND rate_kind = 'estimated'"}
"""What comes by REST, on request, is in no ledger."""
BEFORE_MINUTE_S = 5
"""So long before the end of a minute the market begins, that candles of it close and a mispricing takes hold."""
LASTS_S = 18


@dataclass
class Seen:
    """A simulated session that is in the tables, still running."""

    pipeline: Pipeline
    prometheus: grafana.Prometheus | None
    simulator: dict[str, Any]
    """What the simulator says of itself."""
    view: grafana.View
    events: dict[tuple[str, str, str], list[dict[str, Any]]]
    """The ledger by exchange, market and kind: what was sent and could be read, each event once."""

    @property
    def data(self) -> Path:
        return self.pipeline.data_dir

    def through_now(self) -> Seen:
        """The same, of a range that ends now."""
        return replace(self, view=replace(self.view, end=int(time.time())))

    def rows(self, dashboard: str, panel: str, **variables: str) -> list[dict[str, Any]]:
        """The answer to a panel's statement; decimals are texts."""
        return self.answer(grafana.query(dashboard, panel), **variables)

    def answer(self, statement: str, **variables: str) -> list[dict[str, Any]]:
        """The answer to a statement with macros and variables."""
        text = self.view.of(**variables).sql(statement)
        return self.pipeline.sql(f"{text} SETTINGS output_format_json_quote_decimals = 1")


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """Ask for JSON, with a body by POST."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
        return json.loads(answer.read() or b"null")


@contextmanager
def run_session(folder: Path) -> Iterator[Seen]:
    """Run a simulated session until it is in the tables; the pipeline runs on while the context is open."""
    begin = int(time.time()) // 60 * 60 - BEFORE_MINUTE_S
    settings = {
        "START_US": str(begin * 1_000_000),
        "DURATION_S": str(LASTS_S),
        "SYMBOLS": "BTC,ETH",
        "EVENTS_PER_S": "250",
        # One that closes again after a block of 10 s, and one that stays open.
        "MISPRICINGS": "BTC:okx.perp:3:3:5,ETH:binance.perp:3:3:1000",
    }
    environment = {f"TAPELINE_EXCHANGE_SIMULATOR_{name}": value for name, value in settings.items()}
    environment["TAPELINE_COLLECTOR_AUDIT_AFTER_S"] = "1"  # else the session is over before books are compared
    with ExitStack() as open_until_the_end:
        start = open_until_the_end.enter_context
        pipeline = start(run_pipeline(folder / "data", "--simulate", "--exchanges", EXCHANGES, **environment))
        health = pipeline.addresses()["health"]
        prometheus = start(run_prometheus(folder / "prometheus", health)) if PROMETHEUS else None
        simulator = f"http://127.0.0.1:{(pipeline.data_dir / 'simulator' / 'port').read_text().strip()}/simulator"
        first = f"SELECT 1 FROM tapeline.trades WHERE exchange = 'binance' AND symbol = '{DROPPED_FROM}' LIMIT 1"
        until(lambda: pipeline.sql(first), "trades arrive")
        for fault in FAULTS:
            ask(f"{simulator}/fault", {**FAULTY, **fault})
        until(lambda: ask(f"{simulator}/status")["finished"], "the simulated market is over")
        end = int(time.time()) + 1
        events = until(lambda: stored(pipeline), "all that was sent is in the tables")
        until(lambda: len({counts(pipeline) for _ in range(3)} - {None}) == 1, "nothing is on its way")
        yield Seen(pipeline, prometheus, ask(f"{simulator}/status"), view(pipeline, begin, end), events)


def stored(pipeline: Pipeline) -> dict[tuple[str, str, str], list[dict[str, Any]]] | None:
    """The ledger, when the tables have as many rows of each kind, and what was dropped has been filled."""
    events = ledger(pipeline.data_dir)
    parts = [
        f"SELECT '{kind}' AS kind, exchange, market, count() AS stored FROM tapeline.{TABLE_OF[kind]} "
        f"WHERE source = 'live' {STREAMED.get(kind, '')} GROUP BY ALL"
        for kind in {kind for _, _, kind in events}
    ]
    parts.append(
        "SELECT 'filled', exchange, market, count() FROM tapeline.gap_events WHERE status = 'filled' GROUP BY ALL"
    )
    found = {
        (row["exchange"], row["market"], row["kind"]): int(row["stored"])
        for row in pipeline.sql(" UNION ALL ".join(parts))
    }
    wanted = {(FAULTY["exchange"], FAULTY["market"], "filled"): 1} | {key: len(rows) for key, rows in events.items()}
    return events if all(found.get(key, 0) >= count for key, count in wanted.items()) else None


def counts(pipeline: Pipeline) -> tuple[int, int] | None:
    """Frames received and rows stored at a moment when nothing is on its way; else None."""
    collector, normaliser, batcher, refill, signal = (
        pipeline.status(name) or {}
        for name in ("collector", "normaliser", "storage-batcher", "gap-backfill", "arbitrage-signal")
    )
    waiting = (
        collector.get("outbox", 1),
        collector.get("spooled", 1),
        normaliser.get("pending_messages", 1),
        refill.get("gaps_busy", 1),
        signal.get("pending_messages", 1),
        batcher.get("pending_messages", 1),
        batcher.get("pending_rows", 1),
    )
    if any(waiting):
        return None
    return collector["received"], sum(table["rows"] for table in batcher["tables"].values())


def view(pipeline: Pipeline, begin: int, end: int) -> grafana.View:
    """The range of the session, with every value of every variable chosen, as the dashboards list them."""
    made = grafana.View(begin - 1800, end, 5, {"interval": ("1m",)})
    texts = {query.panel: query.text for query in grafana.queries() if query.panel.startswith("variable")}
    for name in ("exchange", "market", "symbol"):
        rows = pipeline.sql(made.sql(texts[f"variable {name}"]))
        made = replace(made, variables={**made.variables, name: [row[name] for row in rows]})
    return made


def ledger(data: Path) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """What was sent, by exchange, market and kind."""
    return {key: [dict(event) for event in counter.elements()] for key, counter in sent(data).items()}
