"""ClickHouse over HTTP: questions, statements and inserts, with errors that say what happens next.

One session with kept connections. Bodies go uncompressed: on loopback lz4 and zstd cost the server more CPU than they
saved (95 ms for 20,000 trades of 340 bytes, against 100 and 107), gzip half as much again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from schemas.errors import BadRecord, Broken, Busy, PipelineError
from services.shared.runtime.settings import Settings

CODE_HEADER = "X-ClickHouse-Exception-Code"

LONGEST_ERROR = 1_000
"""Characters of ClickHouse's text that are kept: it repeats the data around the place it did not understand."""

# Source of codes and names: ClickHouse src/Common/ErrorCodes.cpp, 26.9.
BAD_RECORD_CODES: Mapping[int, str] = {
    6: "CANNOT_PARSE_TEXT",
    25: "CANNOT_PARSE_ESCAPE_SEQUENCE",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    130: "CANNOT_READ_ARRAY_FROM_TEXT",
    131: "TOO_LARGE_STRING_SIZE",
    190: "SIZES_OF_ARRAYS_DONT_MATCH",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    376: "CANNOT_PARSE_UUID",
    407: "DECIMAL_OVERFLOW",
    441: "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
    467: "CANNOT_PARSE_BOOL",
    469: "VIOLATED_CONSTRAINT",
    675: "CANNOT_PARSE_IPV4",
    676: "CANNOT_PARSE_IPV6",
}
"""About the rows themselves: the same rows will be refused again, other rows may go in."""

BROKEN_CODES: Mapping[int, str] = {
    8: "THERE_IS_NO_COLUMN",
    10: "NOT_FOUND_COLUMN_IN_BLOCK",
    15: "DUPLICATE_COLUMN",
    16: "NO_SUCH_COLUMN_IN_TABLE",
    20: "NUMBER_OF_COLUMNS_DOESNT_MATCH",
    36: "BAD_ARGUMENTS",
    42: "NUMBER_OF_ARGUMENTS_DOESNT_MATCH",
    43: "ILLEGAL_TYPE_OF_ARGUMENT",
    44: "ILLEGAL_COLUMN",
    46: "UNKNOWN_FUNCTION",
    47: "UNKNOWN_IDENTIFIER",
    48: "NOT_IMPLEMENTED",
    50: "UNKNOWN_TYPE",
    60: "UNKNOWN_TABLE",
    62: "SYNTAX_ERROR",
    73: "UNKNOWN_FORMAT",
    81: "UNKNOWN_DATABASE",
    115: "UNKNOWN_SETTING",
    164: "READONLY",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    291: "DATABASE_ACCESS_DENIED",
    344: "SUPPORT_IS_DISABLED",
    392: "QUERY_IS_PROHIBITED",
    452: "SETTING_CONSTRAINT_VIOLATION",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
}
"""About schema, statement or credentials: no row of the table will go in until a person has changed something."""

BUSY_CODES: Mapping[int, str] = {
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    173: "CANNOT_ALLOCATE_MEMORY",
    201: "QUOTA_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    473: "DEADLOCK_AVOIDED",
    999: "KEEPER_EXCEPTION",
}
"""The server's condition: the same request may succeed later."""

_INSERT_SETTINGS: Mapping[str, str] = {
    "async_insert": "0",
    "insert_deduplicate": "1",
    # One block per insert, so that the token covers all of its rows and a refused one has stored none of them.
    "max_insert_threads": "1",
    "min_insert_block_size_rows": "100000000",
    "min_insert_block_size_bytes": "0",
    # A backfill may reach over more days than ClickHouse's default of 100 partitions.
    "max_partitions_per_insert_block": "0",
}


def classify(code: int | None, text: str) -> PipelineError:
    """Return the error of a ClickHouse answer: BadRecord, Broken or Busy, with the fields `code` and `name`.

    A code that is in no list counts as Busy: nothing is thrown away for a reason nobody has read, and the caller's
    retries are visible in its health, metrics and log. Stopping instead would take every other table down with it.
    """
    short = text.strip()[:LONGEST_ERROR]
    if code is None:
        return Busy(f"ClickHouse: {short}", code=0, name="NO_CODE")
    for codes, kind in ((BAD_RECORD_CODES, BadRecord), (BROKEN_CODES, Broken), (BUSY_CODES, Busy)):
        if code in codes:
            return kind(f"ClickHouse: {short}", code=code, name=codes[code])
    return Busy(f"ClickHouse: {short}", code=code, name="NOT_LISTED")


class Warehouse:
    """A ClickHouse server over HTTP. Use it as an async context manager, or call `close`."""

    def __init__(self, url: str, user: str = "default", password: str = "", timeout_s: float = 60.0) -> None:
        self._url = url.rstrip("/") + "/"
        self._headers = {"X-ClickHouse-User": user}
        if password:
            self._headers["X-ClickHouse-Key"] = password
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=5)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: Settings, timeout_s: float = 60.0) -> Self:
        """Return the server that the settings name."""
        password = settings.clickhouse_password.get_secret_value()
        return cls(settings.clickhouse_url, settings.clickhouse_user, password, timeout_s)

    async def query(self, sql: str, params: Mapping[str, object] | None = None) -> bytes:
        """Return the answer's bytes, in the statement's FORMAT or as TabSeparated.

        `params` fill `{name:Type}` in the statement. Raises BadRecord, Busy or Broken.
        """
        fields = {f"param_{name}": str(value) for name, value in (params or {}).items()}
        return await self._post(fields, sql.encode())

    async def execute(self, sql: str) -> None:
        """Run a statement whose answer does not matter. Raises BadRecord, Busy or Broken."""
        await self._post({}, sql.encode())

    async def insert(self, statement: str, body: bytes, token: str) -> None:
        """Insert the rows of `body`; when rows under the same `token` are in already, nothing happens.

        All rows go in or, when BadRecord or Broken is raised, none. After Busy it is not known: repeat with the token.
        """
        await self._post({"query": statement, "insert_deduplication_token": token, **_INSERT_SETTINGS}, body)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _post(self, fields: Mapping[str, str], body: bytes) -> bytes:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=8)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        # The whole answer is waited for, so that an error after the first bytes still comes with a status of its own.
        query = {**fields, "wait_end_of_query": "1"}
        try:
            async with self._session.post(self._url, params=query, data=body) as response:
                answer = await response.read()
                if response.status == 200:
                    return answer
                code = response.headers.get(CODE_HEADER, "")
                raise classify(
                    int(code) if code.isdecimal() else None,
                    answer.decode("utf-8", "replace") or f"HTTP status {response.status}",
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Busy(
                f"ClickHouse at {self._url} did not answer: {type(error).__name__} {error}", code=0, name="NO_ANSWER"
            ) from error
