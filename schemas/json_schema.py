"""The JSON Schema of every record, generated from its declaration: `python -m schemas.json_schema` writes them.

`schemas/json/<kind>.json` is for readers in other languages. A breaking change of a record is a new `VERSION` of it.
"""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import msgspec

from schemas import records, subjects
from schemas.tables import without_none

FOLDER = Path(__file__).parent / "json"

VERSIONS: dict[str, int] = {}
"""The version of a record's schema, where it is not 1 any more."""

NUMBER_PATTERN = r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"

_MICROS = {"type": "integer", "description": "Microseconds since the epoch, UTC."}
_NUMBER = {"type": "string", "pattern": NUMBER_PATTERN}
_LEVELS = {
    "type": "array",
    "description": "Best first: [price, quantity], on contract markets [price, quantity, contracts].",
    "items": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 3},
}
_PLAIN: dict[object, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
}


def schema(record: type[records.Record]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a record."""
    hints = typing.get_type_hints(record, include_extras=True)
    fields = msgspec.structs.fields(record)
    version = VERSIONS.get(record.KIND, 1)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tapeline:{record.KIND}:{version}",
        "title": record.KIND,
        "description": " ".join((record.__doc__ or "").split()),
        "x-version": version,
        "x-subject": _subject(record),
        "type": "object",
        "properties": {field.name: _property(hints[field.name]) for field in fields},
        "required": [field.name for field in fields if field.required],
    }


def _subject(record: type[records.Record]) -> str:
    if record is records.Gap:
        return subjects.GAP_ALL
    if record is records.DeadLetter:
        return subjects.DEAD_ALL
    if record is records.ArbitrageOpportunity:
        return subjects.signal_filter(subjects.ARBITRAGE)
    if record is records.ArbitrageSpread:
        return subjects.signal_filter(subjects.ARBITRAGE_SPREAD)
    return subjects.md_filter(record.KIND)


def _property(hint: object) -> dict[str, Any]:
    inner, _ = without_none(hint)
    tags = typing.get_args(inner)[1:] if typing.get_origin(inner) is typing.Annotated else ()
    if "micros" in tags:
        return _MICROS
    if "number" in tags:
        return _NUMBER
    if "levels" in tags:
        return _LEVELS
    if "token" in tags:
        return _PLAIN[str]
    if typing.get_origin(inner) is typing.Literal:
        return {"type": "string", "enum": list(typing.get_args(inner))}
    return _PLAIN[inner]


def render(record: type[records.Record]) -> str:
    """Return the text of a record's schema file."""
    return json.dumps(schema(record), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every schema file, and remove those of records that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        if path.stem not in records.BY_KIND:
            path.unlink()
    for record in records.ALL_RECORDS:
        (FOLDER / f"{record.KIND}.json").write_text(render(record))


if __name__ == "__main__":
    main()
