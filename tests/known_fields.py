"""The fields of every channel's frames, as recorded: writes `services/shared/exchanges/known_fields.py`.

`python -m tests.known_fields RECORDINGS` adds what the recordings have to what is there; nothing is taken away, since a
field that a channel had once is known. Fields that only documentation names are added by hand.
"""

from __future__ import annotations

import gzip
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import BadFrame
from services.normaliser.unknown_fields import family, paths
from services.shared.exchanges.declaration import Market, StreamName
from services.shared.exchanges.known_fields import KNOWN_FIELDS
from services.shared.exchanges.registry import MARKETS
from tests.extra_frames import extra_frames

TARGET = Path(__file__).parent.parent / "services" / "shared" / "exchanges" / "known_fields.py"
Known = dict[tuple[str, str, str], set[str]]

HEAD = '''"""The fields that frames had when their parsers were written, of every channel that is recorded.

Made by `python -m tests.known_fields` from the recordings; what a frame has beside them is new.
"""

from __future__ import annotations

from collections.abc import Mapping


def _fields(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN_FIELDS: Mapping[tuple[str, str, str], frozenset[str]] = {
'''


def channel_of(market: Market, name: str) -> str | None:
    """Return the channel whose streams are named like this."""
    for channel in market.channels.values():
        for symbol in ("x", "X-Y", "X_Y"):
            own = channel.stream(symbol if channel.per_symbol else "")
            begin, _, end = own.rpartition(symbol) if channel.per_symbol else (own, "", "")
            if own and name.startswith(begin) and name.endswith(end) and (begin or end):
                return channel.name
    return None


def bodies(recordings: Path, exchange: str) -> Iterator[tuple[str, bytes]]:
    """Return (address, body) of every frame of an exchange: of the recorded sessions, and of `extra_frames`."""
    for extra in extra_frames(recordings, exchange):
        if not extra.sent:
            yield extra.url, extra.body
    for path in sorted((recordings / exchange / "cryptofeed").glob("*.ws.*")):
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        address = ""
        for line in text.splitlines():
            if line.startswith("wss"):
                address = line.split(" ")[0]
            elif ": " in line:
                yield address, line.partition(": ")[2].encode()


def gather(recordings: Path) -> Known:
    """Return the fields of every channel that is recorded, beside those known already."""
    known: Known = {key: set(fields) for key, fields in KNOWN_FIELDS.items()}
    for exchange in {market.exchange for market in MARKETS.values() if not market.withdrawn}:
        markets = [market for market in MARKETS.values() if market.exchange == exchange]
        for address, body in bodies(recordings, exchange):
            for market in of_address(markets, address):
                try:
                    about = market.sort(body)
                    found = set(paths(json.loads(body)))
                except (BadFrame, ValueError):
                    continue
                channel = channel_of(market, about.name) if isinstance(about, StreamName) else None
                if channel is not None:
                    if exchange == "binance" and "data" not in found:  # recorded without what live frames come in
                        found = {"stream", "data", *(f"data.{path}" for path in found)}
                    key = (market.exchange, market.market, family(channel))
                    known.setdefault(key, set()).update(found)
    return known


def of_address(markets: list[Market], address: str) -> list[Market]:
    """Return the markets that are served at an address; all where that does not tell."""
    exact = [m for m in markets if any(path and path in address for path in m.routes.values())]
    hosts = [m for m in exact or markets if m.ws_url.partition("//")[2].partition(":")[0] in address]
    return hosts or exact or markets


def render(known: Known) -> str:
    """Return the module's text."""
    rows = []
    for exchange, market, channel in sorted(known):
        lines = textwrap.wrap(" ".join(sorted(known[exchange, market, channel])), 100)
        text = "\n".join(f'        "{line} "' for line in lines)
        rows.append(f'    ("{exchange}", "{market}", "{channel}"): _fields(\n{text}\n    ),\n')
    return HEAD + "".join(rows) + "}\n"


if __name__ == "__main__":
    TARGET.write_text(render(gather(Path(sys.argv[1]))))
