"""Services killed (SIGKILL) midway through a recorded session: nothing lost, nothing doubled, holes on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import streams, subjects
from schemas.frames import RawFrame, unpack
from services.shared.runtime import logs
from services.shared.runtime.bus import connect
from services.shared.runtime.reader import Reader
from services.shared.runtime.settings import Settings
from tests import recorded
from tests.nats_server import run_nats
from tests.pipeline import Pipeline, at_rest, run_pipeline, until
from tests.recorded import Frame, canonical, micros

PACE = "6"
"""Six times the recorded pace: the session takes five seconds, long enough to be killed in the middle of."""

# The receive time and the place on the stream differ from run to run; a spot quote has no time but that.
COLUMNS = {
    "trades": "* EXCEPT (received_at)",
    "quotes": "* EXCEPT (received_at, stream_sequence, timestamp), if(market = 'spot', NULL, timestamp) AS filed_at",
    "candles": "* EXCEPT (received_at)",
    "candle_updates": "* EXCEPT (received_at)",
    "book_deltas": "* EXCEPT (received_at, stream_sequence)",
    "orderbooks": "* EXCEPT (received_at, stream_sequence)",
    "instruments": "* EXCEPT (received_at, timestamp, stream_sequence)",
}


def contents(data: Path) -> dict[str, list[str]]:
    """Every row of every table but for its receive time, sorted."""
    return {
        table: sorted(
            str(row)
            for row in at_rest(
                data,
                f"SELECT {columns} FROM tapeline.{table} SETTINGS output_format_json_quote_decimals = 1",
            )
        )
        for table, columns in COLUMNS.items()
    }


def replay(data: Path, recordings: Path, disturb: Callable[[Pipeline], None]) -> tuple[int, str]:
    """Replay the Binance sessions, disturb the pipeline in the middle, and return exit status and log."""
    arguments = ("--replay", str(recordings), "--exchanges", "binance", "--pace", PACE, "--until-drained")
    with run_pipeline(data, *arguments) as pipeline:
        pipeline.addresses()
        until(lambda: pipeline.sql("SELECT count() AS n FROM tapeline.quotes")[0]["n"] > 100, "quotes are stored")
        disturb(pipeline)
        return pipeline.wait(), pipeline.log()


@pytest.fixture(scope="module")
def undisturbed(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    status, log = replay(data, recordings, lambda _: None)
    assert status == 0, log[-6000:]
    return contents(data)


@pytest.mark.parametrize("service", ["normaliser", "storage-batcher"])
def test_a_killed_service_changes_no_row(
    undisturbed: dict[str, list[str]], recordings: Path, tmp_path: Path, service: str
) -> None:
    def disturb(pipeline: Pipeline) -> None:
        pipeline.kill(service)

    status, log = replay(tmp_path / "data", recordings, disturb)
    assert status == 0, log[-6000:]
    found = contents(tmp_path / "data")
    assert {table: len(rows) for table, rows in found.items()} == {
        table: len(rows) for table, rows in undisturbed.items()
    }
    assert found == undisturbed


def frames_on_raw(data: Path) -> list[RawFrame]:
    """Every frame that RAW of a data directory at rest holds, those published twice left out."""

    async def read(url: str) -> list[RawFrame]:
        settings = Settings.load(nats_url=url)
        bus = await connect(settings, "test", logs.configure(settings, "test"), asyncio.Event())
        _, last = await bus.bounds(streams.RAW)
        reader = Reader(bus, streams.RAW, [subjects.RAW_ALL], 0)
        found: dict[tuple[str, int, str], RawFrame] = {}
        while reader.last < last:
            for message in await reader.read(1000, 10):
                part = message.subject.rsplit(".", 1)[1]
                for frame in unpack(message.subject, message.headers, message.body):
                    found.setdefault((frame.connection, frame.number, part), frame)
        await reader.close()
        await bus.close()
        return list(found.values())

    with run_nats(data / "nats") as server:
        return asyncio.run(read(server.url))


KINDS = {
    recorded.TRADE: "trade",
    recorded.QUOTE: "quote",
    recorded.CANDLE: "candle_update",
    recorded.DEPTH: "book_change",
}
TABLES = {
    recorded.TRADE: ("trades", "sequence", lambda data: data["a"]),
    recorded.QUOTE: ("quotes", "sequence", lambda data: data["u"]),
    recorded.CANDLE: ("candle_updates", "sent_at", lambda data: micros(data["E"])),
    recorded.DEPTH: ("book_deltas", "last_sequence", lambda data: data["u"]),
}


def filed_at(frame: Frame, market: str) -> str | None:
    """The exchange time under which a frame's record would be filed; None where the exchange gives none."""
    data = frame.data
    if frame.channel == recorded.CANDLE:
        return micros(data["k"]["t"])
    if market == "perp" or frame.channel == recorded.TRADE:
        return micros(data["T"])
    return micros(data["E"]) if "E" in data else None


def inside(frame: Frame, market: str, gaps: list[dict[str, Any]]) -> bool:
    """Whether a recorded gap of the frame's instrument and kind holds it, by id where it has bounds in ids."""
    for gap in gaps:
        if (gap["market"], gap["symbol"], gap["kind"]) != (
            market,
            canonical(frame.symbol, market),
            KINDS[frame.channel],
        ):
            continue
        if frame.channel == recorded.TRADE and gap["first_missing"] is not None:
            if gap["first_missing"] <= frame.data["a"] <= gap["last_missing"]:
                return True
            continue
        time = filed_at(frame, market)
        if time is None:
            return True
        after, before = gap["after_timestamp"], gap["before_timestamp"]
        if (after is None or after <= time) and (before is None or time <= before):
            return True
    return False


def test_with_the_collector_killed_what_is_on_raw_is_stored_once_and_the_rest_lies_in_recorded_gaps(
    recordings: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"

    def disturb(pipeline: Pipeline) -> None:
        pipeline.kill("collector")

    status, log = replay(data, recordings, disturb)
    assert status == 4, log[-6000:]
    on_raw = {frame.body.decode() for frame in frames_on_raw(data) if frame.origin == "ws"}
    gaps = at_rest(data, "SELECT * FROM tapeline.gap_detection_log")
    lost = 0
    for market, session in (("perp", "BINANCE_FUTURES"), ("spot", "BINANCE")):
        stored: dict[str, list[tuple[str, Any]]] = {}
        for table, column, _ in TABLES.values():
            found = at_rest(data, f"SELECT symbol, {column} AS id FROM tapeline.{table} WHERE market = '{market}'")
            stored[table] = sorted((row["symbol"], row["id"]) for row in found)
        expected: dict[str, list[tuple[str, Any]]] = {table: [] for table in stored}
        for frame in recorded.frames(recordings, session):
            table, _, identity = TABLES[frame.channel]
            if frame.text in on_raw:
                expected[table].append((canonical(frame.symbol, market), identity(frame.data)))
            else:
                lost += 1
                assert inside(frame, market, gaps), (frame.text, gaps)
        for table, ids in expected.items():
            assert stored[table] == sorted(ids), table
    assert lost > 0, "a collector that was away for a moment at this pace has missed something"
