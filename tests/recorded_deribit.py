"""What was recorded of Deribit as plain JSON, numbers as their text: read by the tests, not by the code they test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from schemas import records, subjects
from schemas.frames import RawFrame
from services.shared.exchanges.declaration import BookSnapshot, Listing, Market
from services.shared.exchanges.deribit_market import DERIBIT_FUTURE, DERIBIT_OPTION
from services.shared.exchanges.deribit_perp import DERIBIT_PERP

DERIBIT: dict[str, Market] = {item.market: item for item in (DERIBIT_PERP, DERIBIT_FUTURE, DERIBIT_OPTION)}
RECEIVED = 1_790_000_000_000_000
SECOND = 1_000_000


def exact(text: str | bytes) -> Any:
    """JSON with every number as the text it is written in."""
    return json.loads(text, parse_float=str, parse_int=str)


def lines(recordings: Path, name: str) -> list[str]:
    return [line for line in (recordings / "deribit" / "cryptofeed" / name).read_text().splitlines() if line]


def session(recordings: Path) -> Iterator[tuple[int, str]]:
    """The received frames: (receive time in microseconds, text)."""
    for line in lines(recordings, "DERIBIT.ws.1.0"):
        if not line.startswith("wss://"):
            stamp, _, text = line.partition(": ")
            whole, _, decimals = stamp.partition(".")
            yield int(whole) * SECOND + int(decimals[:6].ljust(6, "0")), text


def lists(recordings: Path) -> list[str]:
    """The recorded instrument lists, one a currency."""
    return [line.partition(" -> ")[2].partition(": ")[2] for line in lines(recordings, "DERIBIT.0")[:-1]]


def all_rows(recordings: Path) -> list[dict[str, Any]]:
    return [row for text in lists(recordings) for row in exact(text)["result"]]


def frame(channel: str, body: bytes, market: str, symbol: str, at: int = RECEIVED) -> RawFrame:
    return RawFrame("deribit", market, channel, symbol, "c", "A", 1, at, "ws", body)


def listing(market: str, *bodies: str) -> Listing:
    items = [
        item
        for body in bodies
        for item in DERIBIT[market].instruments.parse(
            frame("instruments", body.encode(), market, subjects.ALL), Listing()
        )
    ]
    return Listing([item for item in items if isinstance(item, records.Instrument)])


def plain(item: records.Record | BookSnapshot) -> dict[str, Any]:
    """A record as the JSON it goes out in; a snapshot as its fields."""
    if isinstance(item, BookSnapshot):
        sides = {name: json.loads(bytes(getattr(item, name))) for name in ("bids", "asks")}
        return {"symbol": item.symbol, "sequence": item.sequence, "at": item.timestamp, **sides}
    found: dict[str, Any] = json.loads(records.encode(item))
    return {"_kind": item.KIND, **found}


def parse(market: str, channel: str, body: object, instruments: Listing, symbol: str) -> list[dict[str, Any]]:
    """What a channel or endpoint makes of a body (bytes, or JSON to be written)."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    declared = DERIBIT[market]
    parser = (declared.channels.get(channel) or declared.polls[channel]).parse
    return [plain(item) for item in parser(frame(channel, raw, market, symbol), instruments)]


def unwritten(text: str) -> str:
    """A number without its exponent."""
    return format(Decimal(text), "f") if "e" in text.lower() else text


def quotient(amount: str, price: str) -> str:
    """US dollars in base currency: rounded half-even to 18 places."""
    units = round(Fraction(amount) / Fraction(price) * 10**18)
    with localcontext(prec=60):
        return format(Decimal(units).scaleb(-18).normalize(), "f")


def our_name(name: str) -> str:
    """Our symbol of an instrument of the recording, worked out word by word."""
    months = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
    pair, *rest = name.split("-")
    base, _, quote = pair.partition("_")
    words = [base, quote or "USD"]
    if rest[0] == "PERPETUAL":
        return "-".join([*words, "PERP"])
    date = rest[0].rjust(7, "0")
    return "-".join([*words, f"{date[5:]}{months.index(date[2:5]) + 1:02}{date[:2]}", *rest[1:]])
