"""The parsers, which share no code with the generator, read from its frames exactly what its ledger says.

Only a spot quote's `timestamp` differs: the exchange gives none, so the record has our receive time.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.frames import RawFrame
from schemas.records import Record
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.shared.exchanges.declaration import Listing, Poll, StreamName
from services.shared.exchanges.registry import MARKETS
from tests.generated_market import NOW_US, SECOND_US, build, play
from tests.unit.test_generator_ledger import rows_of

KINDS = {
    "spot": {"trade", "book_change", "quote", "candle_update", "candle", "ticker"},
    "perp": {"trade", "book_change", "quote", "candle_update", "candle", "ticker", "index_price", "funding_rate"}
    | {"liquidation"},
}
LEDGER_ONLY = {"connection", "handed_out_at", "fault"}


def frame(market: str, channel: str, symbol: str, body: bytes, origin: Any) -> RawFrame:
    asked = NOW_US - 1_000 if origin == "rest" else None
    return RawFrame("binance", market, channel, symbol, "c", "1", 1, NOW_US, origin, body, "", requested_at=asked)


def ask(venue: GeneratedVenue, poll: Poll, listing: Listing) -> list[Any]:
    """Ask a declared endpoint about BTC and parse the answer."""
    path, _, query = poll.path.format(symbol="BTCUSDT").partition("?")
    answer = venue.get(path, dict(part.split("=") for part in query.split("&") if part), NOW_US)
    assert answer.status == 200
    symbol = "BTC-USDT-PERP" if venue.market == "perp" else "BTC-USDT"
    return list(poll.parse(frame(venue.market, poll.name, symbol, answer.body, "rest"), listing))


def plain(value: Any, as_in: Any) -> Any:
    """Return a record's value as the ledger has it."""
    if isinstance(value, msgspec.Raw):
        return [[Decimal(number) for number in level] for level in msgspec.json.decode(value)]
    return Decimal(value) if isinstance(as_in, Decimal) and value is not None else value


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_records_equal_the_ledger(tmp_path: Path, market: str) -> None:
    declared = MARKETS["binance", market]
    venue = build(tmp_path, ledger=True, symbols=("BTC", "PEPE", "ADA"))[market]
    instruments = ask(venue, declared.instruments, Listing())
    listing = Listing(instruments)
    assert [one.exchange_symbol for one in instruments] == list(venue.symbols())
    parsed: dict[str, list[Record]] = {}
    for route, path in declared.routes.items():
        about = {
            channel.stream(one.exchange_symbol): (channel, one.symbol)
            for channel in declared.channels.values()
            if channel.route == route
            for one in instruments
        }
        session = venue.connect(path, "streams=" + "/".join(about), NOW_US)
        for _, body in play(session, NOW_US, 65):
            name = declared.sort(body)
            assert isinstance(name, StreamName)
            channel, symbol = about[name.name]
            for record in channel.parse(frame(market, channel.name, symbol, body, "ws"), listing):
                parsed.setdefault(type(record).KIND, []).append(record)
        session.close(NOW_US + 65 * SECOND_US)
    assert parsed.keys() >= KINDS[market]
    for kind in parsed.keys() - {"candle"}:
        rows = rows_of(tmp_path / "ledger", f"binance.{market}.{kind}")
        columns = rows[0].keys() - LEDGER_ONLY - ({"timestamp"} if (market, kind) == ("spot", "quote") else set())
        assert len(rows) == len(parsed[kind])
        for row, record in zip(rows, parsed[kind], strict=True):
            assert {name: plain(getattr(record, name), row[name]) for name in columns} == {
                name: row[name] for name in columns
            }


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_every_declared_endpoint_is_answered_and_parsed(tmp_path: Path, market: str) -> None:
    declared = MARKETS["binance", market]
    venue = build(tmp_path)[market]
    listing = Listing(ask(venue, declared.instruments, Listing()))
    for poll in declared.polls.values():
        records = ask(venue, poll, listing)
        assert records, poll.path
        assert {type(record).KIND for record in records if isinstance(record, Record)} <= set(poll.kinds)
