"""Faults on generated markets, as a raw client sees them and as the ledger tells of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.parquet as pq
import pytest

from services.exchange_simulator import generator
from services.exchange_simulator.fault_schedule import Schedule
from services.exchange_simulator.server import Server
from services.exchange_simulator.settings import SimulatorSettings

Row = dict[str, Any]
BINANCE = "binance/perp"
OKX = "okx/perp"
PATHS = {BINANCE: "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker", OKX: "/ws/v5/public"}
CHANNELS = ("books", "bbo-tbt", "trades")


class Client:
    """A raw client of one simulated market: keeps every data frame."""

    def __init__(self, server: Server, market: str, http: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{server.port}"
        self.market = market
        self.frames: list[bytes] = []
        self._http = http

    @asynccontextmanager
    async def listening(self, symbol: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Subscribe to a symbol, BTC by default, and keep every data frame while the context is open."""
        path = PATHS[self.market].replace("btcusdt", symbol.lower() or "btcusdt")
        async with self._http.ws_connect(f"{self.url}/{self.market}{path}") as socket:
            if self.market == OKX:
                args = [{"channel": name, "instId": symbol or "BTC-USDT-SWAP"} for name in CHANNELS]
                await socket.send_json({"op": "subscribe", "args": args})
                for _ in CHANNELS:
                    assert json.loads((await socket.receive()).data)["event"] == "subscribe"
            reading = asyncio.ensure_future(self._read(socket))
            try:
                yield socket
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self.frames.append(message.data.encode())

    async def until(self, so: Callable[[Row], bool]) -> None:
        """Ask for the market's status until it is so."""
        async with asyncio.timeout(20):
            while True:
                if so(await self.status()):
                    return

    async def order(self, **fault: Any) -> None:
        exchange, market = self.market.split("/")
        async with self._http.post(
            f"{self.url}/simulator/fault", json={"exchange": exchange, "market": market, **fault}
        ) as answer:
            assert answer.status == 200, await answer.text()

    async def status(self) -> Row:
        async with self._http.get(f"{self.url}/simulator/status") as answer:
            exchange, market = self.market.split("/")
            found = (await answer.json())["markets"]
            return next(one for one in found if (one["exchange"], one["market"]) == (exchange, market))

    async def get(self, path: str) -> tuple[int, str, bytes]:
        async with self._http.get(f"{self.url}/{self.market}{path}") as answer:
            return answer.status, answer.headers.get("Content-Type", ""), await answer.read()


@asynccontextmanager
async def serving(folder: Path, market: str, **schedules: Schedule) -> AsyncIterator[Client]:
    exchange, name = market.split("/")
    settings = SimulatorSettings(data_dir=folder, exchanges=(exchange,), symbols=("BTC",), events_per_s=300.0)
    venues = [venue for venue in generator.build(settings) if venue.market == name]
    async with Server(venues, schedules=schedules) as server, aiohttp.ClientSession() as http:
        yield Client(server, market, http)


def ledger(folder: Path, market: str, kind: str) -> list[Row]:
    rows: list[Row] = []
    for path in sorted((folder / "ledger").glob(f"{market.replace('/', '.')}.{kind}-*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def sequence(frame: bytes) -> tuple[str, int] | None:
    """The kind of a readable frame of either exchange, and its sequence."""
    try:
        message = json.loads(frame)
    except ValueError:
        return None
    if "stream" in message:
        kind = "book_change" if "depth" in message["stream"] else "quote"
        return kind, message["data"]["u"]
    if message.get("action") == "snapshot":
        return None
    (row,) = message["data"]
    channel = message["arg"]["channel"]
    if channel == "trades":
        return "trade", int(row["tradeId"])
    return ("quote" if channel == "bbo-tbt" else "book_change"), row["seqId"]


def expected(rows: list[Row], kind: str) -> list[int]:
    """The sequences a client reads of a kind, by the ledger: what every fault makes of its order."""
    found: list[int] = []
    held: list[int] = []
    for row in rows:
        number = row["last_sequence"] if kind == "book_change" else row["sequence"]
        if row["fault"] in ("drop", "truncate"):
            continue
        if row["fault"] == "swap":
            held.append(number)
            continue
        found += [number] * (2 if row["fault"] == "duplicate" else 1)
        found += held
        held = []
    return found + held


@pytest.mark.parametrize("market", [BINANCE, OKX])
async def test_faults_on_frames_are_seen_and_told_truly(tmp_path: Path, market: str) -> None:
    ordered = {"drop": 3, "duplicate": 2, "swap": 2, "truncate": 2, "unchain": 1, "insert": 1}
    async with serving(tmp_path, market) as client, client.listening():
        await client.until(lambda status: len(client.frames) > 20)
        await client.order(fault="drop", kind="book_change", count=2)
        await client.order(fault="drop", kind="quote")
        await client.order(fault="duplicate", kind="quote", count=2)
        await client.order(fault="swap", kind="book_change", count=2)
        await client.order(fault="truncate", kind="quote", count=2)
        await client.order(fault="unchain", kind="book_change")
        await client.order(fault="insert", frame="{garbage")
        await client.until(lambda status: status["faults"] == ordered)
        after = len(client.frames) + 50
        await client.until(lambda status: len(client.frames) > after)
        await client.order(fault="stall", seconds=600)
        await client.until(lambda status: len(client.frames) == status["frames_sent"])
    notes = [note for note in ledger(tmp_path, market, "fault") if note["fault"] != "stall"]
    assert {name: sum(note["fault"] == name for note in notes) for name in ordered} == ordered
    read = [found for found in map(sequence, client.frames) if found is not None]
    for kind in ("book_change", "quote"):
        rows = ledger(tmp_path, market, kind)
        assert [number for one, number in read if one == kind] == expected(rows, kind)
        marked = [(row["fault"], row["symbol"]) for row in rows if row["fault"]]
        told = [(note["fault"], note["symbol"]) for note in notes if note["kind"] == kind]
        assert sorted(marked) == sorted(told)
        assert {symbol for _, symbol in told} == {"BTC-USDT-PERP"}
    assert {note["connection"] for note in notes} == {1}
    for note in notes:
        place = note["frame"]
        match note["fault"]:
            case "duplicate":
                assert client.frames[place] == client.frames[place + 1]
                assert sequence(client.frames[place]) == ("quote", note["first_id"])
            case "insert":
                assert client.frames[place] == b"{garbage"
            case "truncate":
                assert sequence(client.frames[place]) is None
            case "unchain":
                assert chain(client.frames[place]) == before(ledger(tmp_path, market, "book_change"), note)


def chain(frame: bytes) -> int:
    """The number of the change before, as a frame says it."""
    data = json.loads(frame)["data"]
    return data["pu"] if isinstance(data, dict) else data[0]["prevSeqId"]


def before(rows: list[Row], note: Row) -> int:
    return next(row["previous_sequence"] for row in rows if row["last_sequence"] == note["last_id"])


@pytest.mark.parametrize("market", [BINANCE, OKX])
@pytest.mark.parametrize(
    ("order", "code", "said"),
    [
        ({"fault": "close", "code": 1012, "count": 1}, 1012, "close"),
        ({"fault": "close", "abort": True}, 1006, "abort"),
        ({"fault": "expire"}, 1001, "expire"),
    ],
)
async def test_cuts_are_on_record(tmp_path: Path, market: str, order: Row, code: int, said: str) -> None:
    async with serving(tmp_path, market) as client, client.listening() as first, client.listening() as second:
        await client.until(lambda status: len(client.frames) > 20)
        await client.order(**order)
        await client.until(lambda status: status["connections"] == 2 - len(cut(first, second)) < 2)
        every = said == "abort"
        assert [socket.close_code for socket in cut(first, second)] == [code] * (2 if every else 1)
        assert first.closed, "the oldest goes first"
    notes = ledger(tmp_path, market, "fault")
    assert [(note["fault"], note["connection"]) for note in notes] == [(said, 1), (said, 2)][: 1 + every]


def cut(*sockets: aiohttp.ClientWebSocketResponse) -> list[aiohttp.ClientWebSocketResponse]:
    return [socket for socket in sockets if socket.closed]


def names(frames: list[bytes]) -> set[str]:
    """The symbols that frames are about, in the exchange's own words."""
    said = [json.loads(frame) for frame in frames]
    return {one["data"]["s"] if "stream" in one else one["arg"]["instId"] for one in said}


async def test_rest_is_refused_in_the_exchanges_own_words(tmp_path: Path) -> None:
    path = "/api/v5/public/instruments?instType=SWAP"
    async with serving(tmp_path, OKX) as client:
        await client.order(fault="reject", status=403, path="/instruments", retry_after_s=3)
        assert (await client.get("/api/v5/public/time"))[0] == 200
        assert await client.get(path) == (
            403,
            "application/json;charset=UTF-8",
            b'{"code":"50011","msg":"Too Many Requests","data":[]}',
        )
        await client.order(fault="page", status=503)
        status, kind, body = await client.get(path)
        assert (status, kind, body[:6]) == (503, "text/html", b"<html>")
        assert (await client.get(path))[0] == 200
    assert [(note["fault"], note["detail"]) for note in ledger(tmp_path, OKX, "fault")] == [
        ("reject", "403 /api/v5/public/instruments"),
        ("page", "503 /api/v5/public/instruments"),
    ]


@pytest.mark.parametrize(
    ("market", "path"), [(BINANCE, "/fapi/v1/exchangeInfo"), (OKX, "/api/v5/public/instruments?instType=SWAP")]
)
async def test_symbols_come_and_go(tmp_path: Path, market: str, path: str) -> None:
    async def listed() -> list[str]:
        answer = json.loads((await client.get(path))[2])
        return [row.get("symbol", row.get("instId")) for row in answer.get("symbols", answer.get("data"))]

    async with serving(tmp_path, market) as client:
        (old,) = await listed()
        await client.order(fault="list")
        assert (await listed())[0] == old
        (new,) = (await listed())[1:]
        assert (await client.status())["symbols"] == [old, new]
        async with client.listening():
            await client.until(lambda status: len(client.frames) > 20)
            await client.order(fault="delist", symbol=old)
            assert await listed() == [new]
            gone = len(client.frames)
            async with client.listening(new):
                await client.until(lambda status: len(client.frames) > gone + 20)
        assert names(client.frames[:gone]) == {old}
        assert names(client.frames[gone + 5 :]) == {new}, "the old one's streams have ended, the new one's speak"
    assert [(note["fault"], note["detail"]) for note in ledger(tmp_path, market, "fault")] == [
        ("list", new),
        ("delist", old),
    ]
