"""The road over TLS: simulated exchanges at the exchanges' own addresses but for host and port, with their own CA."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from websockets.asyncio.client import connect

from schemas import streams, subjects
from schemas.errors import Busy, SettingsError
from services.collector.settings import CollectorSettings
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.bus import Bus
from services.shared.runtime.http import Http
from services.shared.runtime.ws import open_socket
from tests.collector_rig import Process, Simulator, get_json, run_simulator
from tests.nats_server import NatsServer
from tests.pipeline import TAPELINE

BINANCE = {name: market for (exchange, name), market in MARKETS.items() if exchange == "binance"}
TLS = {"TAPELINE_EXCHANGE_SIMULATOR_TLS": "true", "TAPELINE_EXCHANGE_SIMULATOR_EXCHANGES": "binance"}
BUSY = {"TAPELINE_EXCHANGE_SIMULATOR_SYMBOLS": "BTC,ETH", "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": "400"}
"""Few symbols and many events: whatever is waited for is said within moments."""


def elsewhere(url: str, at: str) -> str:
    """An exchange's address with host and port of another."""
    return urlsplit(url)._replace(netloc=urlsplit(at).netloc).geturl()


def addresses(simulator: Simulator) -> tuple[dict[str, str], dict[str, str]]:
    """Binance's WebSocket and REST addresses by market, as declared but for host and port."""
    status = get_json(f"http://{simulator.base}/simulator/status")
    at = {item["market"]: item for item in status["markets"]}
    ws = {f"binance.{name}": elsewhere(market.ws_url, at[name]["wss_url"]) for name, market in BINANCE.items()}
    rest = {f"binance.{name}": elsewhere(market.rest_url, at[name]["https_url"]) for name, market in BINANCE.items()}
    return ws, rest


def authority(directory: Path) -> Path:
    return directory / "simulator" / "ca.pem"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def endless(directory: Path) -> Iterator[Simulator]:
    with run_simulator(directory, None, **TLS, **BUSY) as simulator:
        yield simulator


async def test_what_is_sent_over_tls_and_compressed_is_on_its_subjects(
    server: NatsServer, bus: Bus, tmp_path: Path
) -> None:
    with run_simulator(tmp_path / "exchange", None, **TLS, **BUSY) as simulator:
        ws, rest = addresses(simulator)
        shared = {"TAPELINE_DATA_DIR": str(tmp_path), "TAPELINE_NATS_URL": server.url, "TAPELINE_HEALTH_PORT": "0"}
        changed = {  # host, port and CA: nothing else is told about where the exchange is
            "TAPELINE_COLLECTOR_WS_URLS": json.dumps(ws),
            "TAPELINE_COLLECTOR_REST_URLS": json.dumps(rest),
            "TAPELINE_EXCHANGE_CA_FILE": str(authority(tmp_path / "exchange")),
        }
        normaliser = Process("services.normaliser", tmp_path / "normaliser.log", shared)
        collector = Process("services.collector", tmp_path / "collector.log", {**shared, **changed})
        try:
            told = await bus.js.subscribe(subjects.md_filter("trade"), stream=streams.MD.name, ordered_consumer=True)
            found: dict[tuple[str, int], tuple[Any, ...]] = {}
            expected = None  # until enough is there to end the exchange: it closes, having sent all that it tells of
            while found != expected:
                if expected is None and len(found) > 20:
                    simulator.stop()
                    expected = trades_sent(tmp_path / "exchange")
                    continue
                assert collector.alive() and normaliser.alive(), collector.log.read_text()[-4000:]
                with suppress(TimeoutError):
                    found.update([trade((await told.next_msg(timeout=1)).data)])
        finally:
            collector.kill()
            normaliser.kill()
        assert {key.split()[0] for key, _ in found} == {"spot", "perp"}


def trades_sent(directory: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    """The ledger's trades by market, symbol and number; it is whole on disk once the simulator has ended."""
    found = {}
    for path in (directory / "ledger").glob("binance.*.trade-*.parquet"):
        for row in pq.read_table(path).to_pylist():
            key = (f"{row['market']} {row['symbol']}", int(row["trade_id"]))
            found[key] = (Decimal(row["price"]), Decimal(row["quantity"]), row["side"])
    return found


def trade(body: bytes) -> tuple[tuple[str, int], tuple[Any, ...]]:
    """A trade's record in the same form."""
    row = json.loads(body)
    key = (f"{row['market']} {row['symbol']}", int(row["trade_id"]))
    return key, (Decimal(row["price"]), Decimal(row["quantity"]), row["side"])


def precheck(simulator: Simulator, ca: Path | None, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    ws, rest = addresses(simulator)
    urls = [f"--url={name}={url}" for found in (ws, rest) for name, url in found.items()]
    done = subprocess.run(
        [TAPELINE, "precheck", "--exchanges", "binance", "--json", *urls, *arguments],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **({} if ca is None else {"TAPELINE_EXCHANGE_CA_FILE": str(ca)})},
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_precheck_reads_every_channel_over_tls(endless: Simulator, directory: Path) -> None:
    status, found = precheck(endless, authority(directory), "--wait", "4")
    assert status == 0, [item for item in found if not item["ok"]]
    for market in BINANCE:
        mine = {item["name"]: item["verdict"] for item in found if item["market"] == market}
        for channel in ("trades", "quotes", "depth", "instruments", "depth_snapshot", "time"):
            assert mine[channel].startswith("parsed"), (market, channel, mine[channel])


def test_precheck_says_which_channel_sends_garbage_and_what_is_wrong_with_it(
    endless: Simulator, directory: Path
) -> None:
    endless.fault(fault="truncate", match="btcusdt@aggTrade", count=1000, market="perp")
    status, found = precheck(endless, authority(directory), "--wait", "4")
    assert status == 1
    [bad] = [item for item in found if not item["ok"]]
    assert (bad["market"], bad["kind"], bad["name"]) == ("perp", "WebSocket", "trades")
    assert bad["verdict"].startswith("not parsed: not a frame of channel trades: ")
    assert bad["first"].startswith('{"stream":"btcusdt@aggTrade"')


def test_an_exchange_whose_authority_nobody_named_is_not_believed(endless: Simulator) -> None:
    status, found = precheck(endless, None, "--wait", "1")
    assert status == 1
    assert {item["name"] for item in found} == {"instruments"}
    assert all("CERTIFICATE_VERIFY_FAILED" in item["verdict"] for item in found)


async def test_a_certificate_counts_for_its_name_alone(endless: Simulator, directory: Path) -> None:
    _, rest = addresses(endless)
    elsewhere = rest["binance.spot"].replace("127.0.0.1", "127.0.0.2")
    context = ssl.create_default_context(cafile=authority(directory))
    port = urlsplit(elsewhere).port
    with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.2"):
        await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.2")
    async with Http(5, authority(directory)) as http:
        assert (await http.get(rest["binance.spot"] + "/api/v3/time")).status == 200


def watched(extensions: list[Any]) -> list[bool]:
    """Whether each frame that comes from now on is compressed (its bit RSV1), as the extension sees it."""
    found: list[bool] = []
    for extension in extensions:
        decode = extension.decode

        def look(frame: Any, *, max_size: int | None = None, decode: Any = decode) -> Any:
            found.append(frame.rsv1)
            return decode(frame, max_size=max_size)

        extension.decode = look
    return found


async def test_frames_are_compressed_for_who_offers_it_and_plain_for_who_does_not(
    endless: Simulator, directory: Path
) -> None:
    ws, _ = addresses(endless)
    url = ws["binance.perp"] + "/public/stream?streams=btcusdt@bookTicker"
    context = ssl.create_default_context(cafile=authority(directory))
    for offered in ("deflate", None):
        async with connect(url, ssl=context, compression=offered) as connection:
            granted = [extension.name for extension in connection.protocol.extensions]
            assert granted == (["permessage-deflate"] if offered else [])
            compressed = watched(connection.protocol.extensions)
            assert json.loads(await connection.recv())["stream"] == "btcusdt@bookTicker"
            assert any(compressed) is (offered is not None)


async def test_a_socket_of_ours_needs_the_authority(endless: Simulator, directory: Path) -> None:
    ws, _ = addresses(endless)
    url = ws["binance.spot"] + "/stream?streams=btcusdt@trade"
    with pytest.raises(Busy, match="certificate verify failed"):
        await open_socket(url, 5)
    socket = await open_socket(url, 5, compression=True, ca_file=authority(directory))
    await socket.ping()
    await socket.close()


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("no certificate", "no certificate in PEM")])
def test_an_authority_that_is_none_stops_the_start(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=rf"TAPELINE_EXCHANGE_CA_FILE is .*ca\.pem.*{why}"):
        CollectorSettings.load(exchange_ca_file=path)
