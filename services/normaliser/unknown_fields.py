"""Fields of frames that were not there when the parsers were written: tolerated, counted, and named.

Only JSON frames of channels whose fields are known (`known_fields`) are looked at, one a minute and lane.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.frames import RawFrame
from services.shared.exchanges.known_fields import KNOWN_FIELDS

LOOK_EVERY_US = 60_000_000
"""On our clock."""

_decode = msgspec.json.Decoder().decode


def paths(value: Any, above: str = "") -> Iterator[str]:
    """Return where the fields of a JSON value are: `data.p`, and `data[].p` in the first of a list of objects."""
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            yield from paths(value[0], f"{above}[]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            path = f"{above}.{name}" if above else name
            yield path
            yield from paths(inner, path)


def family(channel: str) -> str:
    """Return what a channel's fields are known by: candles of all intervals have the same."""
    return "candles" if channel.startswith("candles_") else channel


def unknown_fields(frame: RawFrame) -> list[str]:
    """Return the paths of a frame's fields that are not known of its channel; of one that cannot be read, none."""
    known = KNOWN_FIELDS.get((frame.exchange, frame.market, family(frame.channel)))
    if known is None:
        return []
    try:
        return [path for path in paths(_decode(frame.body)) if path not in known]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
