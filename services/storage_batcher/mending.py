"""What a token cannot promise: that all rows of an insert are in because ClickHouse says that it knows the token.

A MergeTree writes a part's token into its log before it makes the part visible, and flushes the log in between (source:
ClickHouse `src/Storages/MergeTree/MergeTreeSink.cpp`, `finishDelayedChunk`). A server killed between the two knows the
token of rows that it does not have, and drops the repeated insert as a duplicate: seen once in some seventy kills under
a dense stream of inserts. So after an insert whose outcome was ever unknown, and its repetition, the same rows are
inserted once more under a token that nobody has used, those left out that are in the table, all columns compared.
"""

from __future__ import annotations

import itertools

import orjson
from nats.nuid import NUID

from schemas.tables import Table


class Mending:
    """Makes the inserts that follow one of unknown outcome, each with a token of its own."""

    def __init__(self, table: Table) -> None:
        self._statement = table.mend_statement
        self._tokens = (f"mend-{NUID().next().decode()}-{number}" for number in itertools.count(1))

    def next(self, body: bytes, token: str) -> tuple[str, str]:
        """Return statement and token for the rows of `body`, one JSON object a line, which ClickHouse has accepted."""
        times = [orjson.loads(line)["timestamp"] for line in body.split(b"\n")]
        statement = self._statement.format(least=min(times), greatest=max(times))
        return statement, f"{token}/{next(self._tokens)}"
