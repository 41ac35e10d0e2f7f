"""A collector of one exchange that must know what another one lists, as real processes."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

from schemas import subjects
from schemas.frames import decode_session
from services.shared.runtime.bus import Bus
from tests.collector_rig import Process, Simulator, collector, read_raw, run_simulator
from tests.nats_server import NatsServer


def simulated(directory: Path, exchange: str, assets: str) -> AbstractContextManager[Simulator]:
    """One exchange's generated markets on a free port."""
    settings = {"EXCHANGES": exchange, "SYMBOLS": assets, "LEDGER": "false"}
    return run_simulator(
        directory, None, **{f"TAPELINE_EXCHANGE_SIMULATOR_{name}": value for name, value in settings.items()}
    )


async def test_arbitrage_compares_with_an_exchange_that_another_collector_collects(
    tmp_path: Path, server: NatsServer, bus: Bus
) -> None:
    with (
        simulated(tmp_path / "binance", "binance", "BTC,ETH,PEPE") as ours,
        simulated(tmp_path / "okx", "okx", "ETH,PEPE,SOL") as other,
    ):
        addresses = {f"binance.{market}": f"{ours.base}/binance/{market}" for market in ("spot", "perp")}
        addresses |= {f"okx.{market}": f"{other.base}/okx/{market}" for market in ("spot", "perp")}
        process: Process = collector(
            tmp_path / "collector",
            server.url,
            ours.base,
            [],
            TAPELINE_COLLECTOR_REST_URLS=json.dumps({key: f"http://{at}" for key, at in addresses.items()}),
            TAPELINE_COLLECTOR_UNIVERSE="arbitrage",
            TAPELINE_COLLECTOR_COMPARE="okx",
            TAPELINE_COLLECTOR_EXCLUDE="binance.perp:BTC*,*:NOPE*",
            TAPELINE_COLLECTOR_CHANNELS="trades",
        )
        try:
            await process.until_status(symbols=4, published=lambda count: count > 0)
            await process.until_logged("pattern_matches_nothing")
            await process.until_status(outbox=0)
            assert process.stop() == 0
        finally:
            process.kill()
    frames = await read_raw(bus)
    assert {frame.exchange for frame in frames} == {"binance"}, "the other exchange's list is not ours to publish"
    sessions = [decode_session(frame.body) for frame in frames if frame.channel == subjects.SESSION]
    confirmed = {symbol for event in sessions if event.event == "subscribed" for symbol in event.channels}
    assert confirmed == {"ETH-USDT", "PEPE-USDT", "ETH-USDT-PERP", "1000PEPE-USDT-PERP"}
    told = [line["value"] for line in process.lines() if line["event"] == "pattern_matches_nothing"]
    assert told == ["*:NOPE*"]
