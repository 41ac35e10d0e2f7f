"""Every kind that is offered, of every symbol of every exchange market; a listing and a delisting on the way.

`python -m benchmarks kinds` runs `tapeline up --simulate` over all exchanges, has a symbol listed and another one ended
on one market of each while it runs, and then looks for rows: of each kind that a market's module declares, for each
symbol that has it. Wrong are: a symbol without rows, a gap, a refusal, a connection lost, a listing not followed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas import records, subjects, tables
from services.shared.exchanges import offered
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.registry import DEFAULT_EXCHANGES, MARKETS
from tests.pipeline import PATIENCE_S, Pipeline, at_rest, run_pipeline, until

READ_EVERY_S = 10.0
"""How often the lists are read: a delisting is believed when two lists have said so, and the run is short."""
OF_THE_MARKET = (records.ClockOffset.KIND,)
"""Kinds that are about a market and no symbol of it."""
TAKES_LONGER = (records.Candle.KIND, records.Liquidation.KIND)
"""What a symbol that is listed on the way need not have by the end: a minute must pass, or somebody go bankrupt. Nor
need it have what is not streamed."""
UNDATED = ("spot", "perp")
"""Markets on which anything may be listed; what has a date is listed of few assets."""
SHOWN = 5

MarketKey = tuple[str, str]
"""Exchange and market."""


Instrument = tuple[str, str, str, str]
"""Exchange, market, kind and symbol."""


class Moved(NamedTuple):
    """What was listed and what was ended on the way, by market, in the exchange's words."""

    listed: Mapping[MarketKey, set[str]]
    ended: Mapping[MarketKey, set[str]]

    def has(self, key: MarketKey, exchange_symbol: str) -> bool:
        """Whether a symbol is among them."""
        return exchange_symbol in self.listed.get(key, ()) or exchange_symbol in self.ended.get(key, ())


class Line(NamedTuple):
    """One kind of one market: which symbols should have rows, which of these have none, and how many rows there are."""

    market: MarketKey
    kind: str
    symbols: tuple[str, ...]
    without: tuple[str, ...]
    rows: int
    reason: str = ""
    """Why there need be none."""


def main(arguments: list[str]) -> int:
    """Run, look, print; 0 when nothing is wrong."""
    parser = argparse.ArgumentParser("python -m benchmarks kinds", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--exchanges", default=",".join(DEFAULT_EXCHANGES), help="which (default: %(default)s)")
    parser.add_argument("--symbols", default="100", help="how many assets, or which (default: %(default)s)")
    parser.add_argument(
        "--for", dest="seconds", type=float, default=120, help="length of the run (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, help="keep the run's data here")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or Path(folder) / "data"
        status, moved = _run(data, given)
        wrong = [] if status == 0 else [f"tapeline up ended with status {status}"]
        wrong += _judge(data, given.exchanges.split(","), moved)
    for text in wrong:
        print(f"WRONG: {text}")
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


def _run(data: Path, given: argparse.Namespace) -> tuple[int, Moved]:
    """Run for the time given; return the exit status, and which symbols came and went."""
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_LEDGER": "false",
        "TAPELINE_COLLECTOR_INSTRUMENTS_EVERY_S": str(READ_EVERY_S),
    }
    arguments = ("--simulate", "--exchanges", given.exchanges, "--symbols", given.symbols, "--for", str(given.seconds))
    with run_pipeline(data, *arguments, **environment) as pipeline:
        pipeline.addresses()
        until(lambda: _subscribed(pipeline) or _ended(pipeline), "every symbol is subscribed, or the run is over")
        moved = Moved({}, {}) if _ended(pipeline) else _move(pipeline)
        return pipeline.process.wait(given.seconds + PATIENCE_S), moved


def _subscribed(pipeline: Pipeline) -> bool:
    return bool((pipeline.status("collector") or {}).get("ready"))


def _ended(pipeline: Pipeline) -> bool:
    return pipeline.process.poll() is not None


def _move(pipeline: Pipeline) -> Moved:
    """Have each exchange end the quietest symbol of the larger of its markets, and list one there."""
    before = _served(pipeline)
    largest: dict[str, MarketKey] = {}
    for key, symbols in before.items():
        if key[1] in UNDATED and len(symbols) >= len(before.get(largest.get(key[0], key), ())):
            largest[key[0]] = key
    for exchange, market in largest.values():
        for fault in ("delist", "list"):  # what is new may be the quietest
            _order(pipeline, fault=fault, exchange=exchange, market=market)
    after = _served(pipeline)
    return Moved(
        {key: after[key] - before[key] for key in largest.values()},
        {key: before[key] - after[key] for key in largest.values()},
    )


def _simulator(pipeline: Pipeline) -> str:
    return f"http://127.0.0.1:{(pipeline.data_dir / 'simulator' / 'port').read_text().strip()}/simulator"


def _served(pipeline: Pipeline) -> dict[MarketKey, set[str]]:
    with urllib.request.urlopen(f"{_simulator(pipeline)}/status", timeout=60) as answer:
        markets = json.loads(answer.read())["markets"]
    return {(item["exchange"], item["market"]): set(item["symbols"]) for item in markets}


def _order(pipeline: Pipeline, **fault: str) -> None:
    urllib.request.urlopen(f"{_simulator(pipeline)}/fault", json.dumps(fault).encode(), timeout=60).close()


def _judge(data: Path, exchanges: Sequence[str], moved: Moved) -> list[str]:
    """Print what has rows; return what is wrong."""
    names, rows = _names(data), _rows(data)
    told = [
        line
        for key, symbols in sorted(names.items())
        for line in lines(MARKETS[key], {name: own for name, own in symbols.items() if not moved.has(key, own)}, rows)
    ]
    print("| exchange | market | kind | symbols with rows | symbols | rows | |\n|---|---|---|---|---|---|---|")
    for line in told:
        numbers = (len(line.symbols) - len(line.without), len(line.symbols), line.rows)
        print(f"| {' | '.join((*line.market, line.kind, *(f'{number:,}' for number in numbers), line.reason))} |")
    wrong = [
        f"{' '.join(line.market)} {line.kind}: {len(line.without)} symbols without rows: "
        f"{', '.join(line.without[:SHOWN])}"
        for line in told
        if line.without and not line.reason
    ]
    known = [key for key, market in MARKETS.items() if market.exchange in exchanges and not market.withdrawn]
    wrong += [f"{' '.join(key)}: no instrument is on record" for key in known if key not in names]
    return wrong + _not_collected(names, rows, moved) + _not_on_record(data, moved) + _lost(data)


def _names(data: Path) -> dict[MarketKey, dict[str, str]]:
    """Return each market's symbols, ours with the exchange's."""
    found: dict[MarketKey, dict[str, str]] = defaultdict(dict)
    for row in at_rest(data, "SELECT DISTINCT exchange, market, symbol, exchange_symbol FROM tapeline.instruments"):
        found[row["exchange"], row["market"]][row["symbol"]] = row["exchange_symbol"]
    return found


def _rows(data: Path) -> Counter[Instrument]:
    """Count the rows of each kind and instrument; of audits those in which something was compared."""
    kept = {table.record.KIND: table.name for table in tables.TABLES}
    compared = {records.BookAudit.KIND: " WHERE verdict != 'not_compared'"}
    counts = " UNION ALL ".join(
        f"SELECT '{kind}' AS kind, exchange, market, symbol, toUInt32(count()) AS rows "
        f"FROM tapeline.{kept[kind]}{compared.get(kind, '')} GROUP BY exchange, market, symbol"
        for kind in offered.KINDS
    )
    found = at_rest(data, counts)
    return Counter({(row["exchange"], row["market"], row["kind"], row["symbol"]): row["rows"] for row in found})


def lines(market: Market, names: Mapping[str, str], rows: Mapping[Instrument, int]) -> Iterator[Line]:
    """Yield the kinds that a market offers; `names` are its symbols, ours with the exchange's."""
    key = (market.exchange, market.market)
    for kind in offered.KINDS:
        sources = offered.sources(market, kind)
        default = sources.by_default()
        asked = sources if default == offered.NOWHERE else default
        symbols = [name for name, own in names.items() if asked.tell_of(own)]
        if kind in OF_THE_MARKET and symbols:
            symbols = [subjects.ALL]
        if symbols:
            without = tuple(sorted(name for name in symbols if not rows[*key, kind, name]))
            number = sum(rows[*key, kind, name] for name in symbols)
            reason = "collected only where its channel is named" if default == offered.NOWHERE else ""
            yield Line(key, kind, tuple(symbols), without, number, reason)


def _not_collected(
    names: Mapping[MarketKey, Mapping[str, str]], rows: Mapping[Instrument, int], moved: Moved
) -> list[str]:
    """Print what there is of the symbols that were listed on the way; return what is wrong."""
    wrong = [] if moved.listed else ["no symbol was listed: not all were subscribed before the run was over"]
    for key, listed in moved.listed.items():
        found = {name: own for name, own in names[key].items() if own in listed}
        if not found:
            wrong.append(f"{' '.join(key)}: a symbol was listed, {', '.join(listed) or 'none'}, and not found")
        for name, own in found.items():
            told = [line for line in lines(MARKETS[key], {name: own}, rows) if not line.reason]
            without = [line.kind for line in told if line.without]
            print(f"listed on the way: {' '.join(key)} {name}, {len(told) - len(without)} of {len(told)} kinds", end="")
            print(f"; not yet {', '.join(without)}" if without else "")
            missing = [
                kind for kind in without if kind not in TAKES_LONGER and offered.sources(MARKETS[key], kind).channels
            ]
            wrong += [f"{' '.join(key)} {name} was listed on the way and has no {kind}" for kind in missing]
    return wrong


def _not_on_record(data: Path, moved: Moved) -> list[str]:
    """Return which of the symbols that were ended on the way are not on record as such."""
    found = at_rest(
        data, "SELECT exchange, market, exchange_symbol FROM tapeline.instruments WHERE delisted_at IS NOT NULL"
    )
    ended = {(row["exchange"], row["market"], row["exchange_symbol"]) for row in found}
    wanted = {(*key, own) for key, gone in moved.ended.items() for own in gone}
    print(f"ended on the way: {', '.join(' '.join(each) for each in sorted(wanted))}")
    few = [f"{' '.join(key)}: no symbol was ended" for key, gone in moved.ended.items() if not gone]
    lost = [f"{' '.join(each)} is listed no more; that is not on record" for each in sorted(wanted - ended)]
    return [*few, *lost, *(f"{' '.join(each)} is on record as ended, and is not" for each in sorted(ended - wanted))]


def _lost(data: Path) -> list[str]:
    """Return what was lost or refused, and which connections ended before the run did."""
    gaps = at_rest(
        data,
        "SELECT exchange, market, kind, gap_type, toUInt32(count()) AS gaps, any(symbol) AS one "
        "FROM tapeline.gap_detection_log GROUP BY ALL ORDER BY ALL",
    )
    refused = at_rest(data, "SELECT reason, toUInt32(count()) AS letters FROM tapeline.dead_letters GROUP BY reason")
    closed = at_rest(
        data,
        "SELECT exchange, market, event, reason, toUInt32(count()) AS times FROM tapeline.connections WHERE event = "
        "'dropped' OR event = 'closed' AND timestamp < (SELECT max(timestamp) - INTERVAL 10 SECOND FROM "
        "tapeline.connections) GROUP BY ALL",
    )
    return [
        f"{what}: {row}"
        for what, found in (("gap", gaps), ("refused", refused), ("connection", closed))
        for row in found
    ]
