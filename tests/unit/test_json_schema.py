"""The generated JSON Schemas are current, and true of the records they describe."""

from __future__ import annotations

import jsonschema
import msgspec
import pytest

from schemas import json_schema, records


@pytest.mark.parametrize("record", records.ALL_RECORDS, ids=lambda record: record.KIND)
def test_the_file_is_what_would_be_generated(record: type[records.Record]) -> None:
    assert (json_schema.FOLDER / f"{record.KIND}.json").read_text() == json_schema.render(record)


def test_no_file_describes_a_record_that_is_gone() -> None:
    assert {path.stem for path in json_schema.FOLDER.glob("*.json")} == set(records.BY_KIND)


COMMON = {
    "exchange": "binance",
    "market": "perp",
    "symbol": "BTC-USDT-PERP",
    "timestamp": 1_626_992_741_012_000,
    "timestamp_source": "match",
    "received_at": 1_626_992_741_062_170,
    "source": "live",
}


def test_a_record_is_valid_and_a_wrong_one_is_not() -> None:
    trade = records.Trade(**COMMON, price="61234.10", quantity="0.5", side="buy", trade_id="1", sequence=1)
    validator = jsonschema.Draft202012Validator(json_schema.schema(records.Trade))
    good = msgspec.json.decode(records.encode(trade))
    validator.validate(good)
    for wrong in ({"price": "NaN"}, {"price": "1e5"}, {"price": 1.5}, {"side": "b"}, {"timestamp": "2021-01-01"}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**good, **wrong})
    del good["price"]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(good)


def test_levels_are_pairs_or_triples_of_decimal_strings() -> None:
    validator = jsonschema.Draft202012Validator(json_schema.schema(records.OrderBook))
    book = {**COMMON, "sequence": 1, "bids": [["1.0", "2"]], "asks": [["1.1", "2", "3"]]}
    validator.validate(book)
    for wrong in ([["1.0"]], [["1.0", 2]], ["1.0"]):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**book, "bids": wrong})
