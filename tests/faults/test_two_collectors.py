"""Two collectors of the same symbols, each of which is killed once: rows as from one, no gap, and the books true."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

import nats
from schemas import streams, subjects
from schemas.frames import unpack
from tests.ledger import OF_A_CONNECTION, compare
from tests.pipeline import ENVIRONMENT, PATIENCE_S, Pipeline, at_rest, run_pipeline, until

MARKETS = ("spot", "perp")
SECONDS = 18
Books = dict[tuple[str, str], list[dict[str, Any]]]
"""Market and symbol -> rows in order."""


@contextmanager
def second_collector(pipeline: Pipeline) -> Iterator[subprocess.Popen[bytes]]:
    """A collector of everything that the pipeline's own collects; it asks that one for the exchange's budget."""
    nats_url = pipeline.addresses()["nats_url"]
    port = (pipeline.data_dir / "simulator" / "port").read_text().strip()
    urls = {f"binance.{market}": f"127.0.0.1:{port}/binance/{market}" for market in MARKETS}
    environment = {
        "TAPELINE_NATS_URL": nats_url,
        "TAPELINE_HEALTH_PORT": "0",
        "TAPELINE_DATA_DIR": str(pipeline.data_dir),
        "TAPELINE_COLLECTOR_NAME": "collector-2",
        "TAPELINE_COLLECTOR_EXCHANGES": "binance",
        "TAPELINE_COLLECTOR_BUDGET": "ask",
        "TAPELINE_COLLECTOR_UNIVERSE": "none",
        "TAPELINE_COLLECTOR_INCLUDE": ",".join(f"{name}:*" for name in urls),
        "TAPELINE_COLLECTOR_MARKETS": ",".join(MARKETS),
        "TAPELINE_COLLECTOR_WS_URLS": orjson.dumps({name: f"ws://{url}" for name, url in urls.items()}).decode(),
        "TAPELINE_COLLECTOR_REST_URLS": orjson.dumps({name: f"http://{url}" for name, url in urls.items()}).decode(),
    }
    with (pipeline.data_dir.parent / "collector-2.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.collector"],
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def connections(pipeline: Pipeline, collector: str) -> set[str]:
    """The connections of a collector that were subscribed, as stored."""
    rows = pipeline.sql(
        f"SELECT connection FROM tapeline.connections WHERE collector = '{collector}' AND event = 'subscribed'"
    )
    return {row["connection"] for row in rows}


def three(names: set[str]) -> set[str]:
    """The connections, when they are all that a collector needs here: one of spot, two of the perpetuals."""
    return names if len(names) >= 3 else set()


async def heard_again(nats_url: str, names: set[str]) -> None:
    """Read RAW until each of the connections has said something once more in each of its partitions.

    What was heard of the one that is to be killed must end behind the beginning of the one that takes its place: a
    quiet stream is known to have been covered until the last sign of life, and no further.
    """
    client = await nats.connect(nats_url)
    try:
        js = client.jetstream()
        end = (await js.stream_info(streams.RAW.name)).state.last_seq
        told = await js.subscribe(subjects.RAW_ALL, stream=streams.RAW.name, ordered_consumer=True)
        waiting: set[tuple[str, int]] = set()
        sequence = 0
        while sequence < end or waiting:
            message = await told.next_msg(timeout=PATIENCE_S)
            sequence = message.metadata.sequence.stream
            part = subjects.parse_raw(message.subject).partition
            said = {(frame.connection, part) for frame in unpack(message.subject, message.headers, message.data)}
            if sequence <= end:
                waiting |= {key for key in said if key[0] in names}
            else:
                waiting -= said
    finally:
        await client.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's data at rest: first its own collector was killed and started again, then the second one was."""
    data = tmp_path_factory.mktemp("two") / "data"
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": str(SECONDS),
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": "300",
        "TAPELINE_EXCHANGE_SIMULATOR_SYMBOLS": "3",
    }
    with run_pipeline(data, "--simulate", "--exchanges", "binance", "--until-drained", **environment) as pipeline:
        with second_collector(pipeline) as other:
            nats_url = pipeline.addresses()["nats_url"]
            own = until(lambda: three(connections(pipeline, "collector-1")), "the first collector is connected")
            others = until(lambda: three(connections(pipeline, "collector-2")), "the second collector is connected")
            asyncio.run(heard_again(nats_url, own | others))
            pipeline.kill("collector")
            back = until(lambda: three(connections(pipeline, "collector-1") - own), "the first collector is back")
            asyncio.run(heard_again(nats_url, back | others))
            other.send_signal(signal.SIGKILL)
        assert pipeline.wait() == 0, pipeline.log()[-8000:]
    return data


def test_rows_are_as_from_one_and_nothing_is_missing(data: Path) -> None:
    compared = {name: found for name, found in compare(data).items() if name.split()[2] not in OF_A_CONNECTION}
    assert {name: found[1:] for name, found in compared.items() if any(found[1:])} == {}
    assert compared["binance perp trade"][0] > 50 and compared["binance perp quote"][0] > 300
    assert at_rest(data, "SELECT * FROM tapeline.gap_detection_log") == []
    assert at_rest(data, "SELECT * FROM tapeline.dead_letters") == []


def test_no_range_of_the_book_is_missing_and_where_two_overlap_is_marked(data: Path) -> None:
    changes = rows(data, "first_sequence, last_sequence, previous_sequence, overlaps, in_step", "book_deltas")
    assert len(changes) >= 2 * 3
    for name, found in changes.items():
        told: int | None = None
        for change in found:
            previous = change["previous_sequence"]
            before = change["first_sequence"] - 1 if previous is None else previous
            assert told is None or before <= told < change["last_sequence"], (name, told, change)
            assert change["overlaps"] == (told is not None and before < told), (name, told, change)
            told = change["last_sequence"]


def test_every_book_is_the_exchanges(data: Path) -> None:
    """Each level that a connection was told of stands as it was last told, in every book that ends where it did."""
    told = told_by_connection(data)
    checked = 0
    for name, books in rows(data, "sequence AS last_sequence, bids, asks", "orderbooks").items():
        for connection in told[name].values():
            ends = {change["last_sequence"] for change in connection}
            standing: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
            waiting = iter(connection)
            change = next(waiting, None)
            for book in (book for book in books if book["last_sequence"] in ends):
                while change is not None and change["last_sequence"] <= book["last_sequence"]:
                    for side, levels in standing.items():
                        levels.update({level[0]: level[1] for level in change[side]})
                    change = next(waiting, None)
                for side, levels in standing.items():
                    shown = {Decimal(level[0]): Decimal(level[1]) for level in book[side]}
                    worst = (min if side == "bids" else max)(shown)
                    within = {
                        price: quantity
                        for price, quantity in levels.items()
                        if (price >= worst if side == "bids" else price <= worst)
                    }
                    assert {price: shown.get(price, Decimal(0)) for price in within} == within, (name, book)
                    checked += len(within)
    assert checked > 1_000


def rows(data: Path, columns: str, table: str) -> Books:
    """A table's rows by instrument, in the order in which they were told."""
    found: Books = defaultdict(list)
    for row in at_rest(
        data,
        f"SELECT market, symbol, {columns} FROM tapeline.{table} ORDER BY last_sequence SETTINGS "
        "output_format_json_quote_decimals = 1, output_format_json_quote_64bit_integers = 0",
    ):
        found[row["market"], row["symbol"]].append(row)
    return found


def told_by_connection(data: Path) -> dict[tuple[str, str], dict[int, list[dict[str, Any]]]]:
    """The ledger's book changes by instrument and connection."""
    found: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((data / "ledger").glob("*.book_change-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            found[row["market"], row["symbol"]][row["connection"]].append(row)
    return found
