"""The recorded OKX session as plain JSON, and its frames as a collector files them: read by the tests themselves."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import Any

from schemas import subjects
from schemas.frames import RawFrame
from services.shared.exchanges.declaration import Listing, Market
from services.shared.exchanges.okx_future import OKX_FUTURE
from services.shared.exchanges.okx_perp import OKX_PERP
from services.shared.exchanges.okx_spot import OKX_SPOT

MARKETS: dict[str, Market] = {"spot": OKX_SPOT, "perp": OKX_PERP, "future": OKX_FUTURE}
TYPES = {"spot": "SPOT", "perp": "SWAP", "future": "FUTURES"}

SYMBOLS = {"spot": "BTC-USDT", "perp": "UNI-USD-PERP", "future": "BTC-USD-220527"}
NAMES = {"spot": "BTC-USDT", "perp": "UNI-USD-SWAP", "future": "BTC-USD-220527"}
"""The one recorded instrument of each market, in our words and in the exchange's."""
CONTRACT_SIZES = {"perp": "10", "future": "100"}
"""US dollars a contract: both recorded contracts are inverse."""
CHANNELS = {"trades": "trades", "books": "books", "tickers": "ticker"}

_CONTEXT = Context(prec=60)


@dataclass(frozen=True)
class Frame:
    received_at: int
    channel: str
    market: str
    told: dict[str, Any]
    body: bytes

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.told["data"]
        assert isinstance(row, dict)
        return row


def lines(recordings: Path) -> Iterator[tuple[int, bytes]]:
    """The received lines: (receive time in microseconds, payload)."""
    for line in (recordings / "okx" / "cryptofeed" / "OKX.ws.1.0").read_text().splitlines():
        if line and not line.startswith("wss"):
            stamp, _, body = line.partition(": ")
            yield int(Decimal(stamp) * 1_000_000), body.encode()


def acks(recordings: Path) -> list[dict[str, Any]]:
    """The acknowledgements, in order."""
    return [told for _, body in lines(recordings) if "event" in (told := json.loads(body))]


def frames(recordings: Path, market: str | None = None) -> list[Frame]:
    """The recorded data frames, of one market or of all."""
    market_of = {name: market for market, name in NAMES.items()}
    found = []
    for received_at, body in lines(recordings):
        told = json.loads(body)
        if "event" not in told:
            of = market_of[told["arg"]["instId"]]
            if market in (None, of):
                found.append(Frame(received_at, told["arg"]["channel"], of, told, body))
    return found


def instrument_list(recordings: Path, market: str) -> bytes:
    """The last recorded instrument list of a market."""
    text = gzip.decompress((recordings / "okx" / "cryptofeed" / "OKX.0.gz").read_bytes()).decode()
    head = f"https://www.okx.com/api/v5/public/instruments?instType={TYPES[market]} "
    return [line for line in text.splitlines() if line.startswith(head)][-1].split(": ", 1)[1].encode()


def raw(market: str, channel: str, symbol: str, body: bytes, *, number: int = 1, received_at: int = 1) -> RawFrame:
    """A frame of the one connection of a market, or of its REST answers."""
    rest = channel in MARKETS[market].polls
    connection = f"{market}-rest" if rest else market
    origin = "rest" if rest else "ws"
    return RawFrame("okx", market, channel, symbol, "c1", connection, number, received_at, origin, body)  # type: ignore[arg-type]


def listing(body: bytes, market: str) -> Listing:
    """The instruments of a list, as known to the parsers."""
    frame = raw(market, "instruments", subjects.ALL, body)
    return Listing(MARKETS[market].instruments.parse(frame, Listing()))  # type: ignore[arg-type]


def filed(recordings: Path) -> list[tuple[int, RawFrame]]:
    """The whole session as a collector files it: (partition, frame), in order of receipt."""
    session = frames(recordings)
    found = []
    for market in MARKETS:
        body = instrument_list(recordings, market)
        for part in range(subjects.PARTITIONS):
            frame = raw(market, "instruments", subjects.ALL, body, received_at=session[0].received_at - 1)
            found.append((part, frame))
    numbers: Counter[str] = Counter()
    for item in session:
        numbers[item.market] += 1
        symbol = SYMBOLS[item.market]
        frame = raw(
            item.market,
            CHANNELS[item.channel],
            symbol,
            item.body,
            number=numbers[item.market],
            received_at=item.received_at,
        )
        found.append((subjects.partition("okx", item.market, symbol), frame))
    return found


def base(market: str, size: str, price: str) -> str:
    """What a size of the recording is in base currency: spot as it is, contracts worked out anew."""
    if market == "spot":
        return size
    exact = _CONTEXT.divide(Decimal(size) * Decimal(CONTRACT_SIZES[market]), Decimal(price))
    rounded = exact.quantize(Decimal("1e-18"), ROUND_HALF_EVEN, _CONTEXT)
    text = format(rounded, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
