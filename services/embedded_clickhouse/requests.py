"""What a client asks for: the parts of one HTTP request, sorted into statement, settings, parameters and manners."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.embedded_clickhouse.errors import NOT_IMPLEMENTED, QueryError
from services.embedded_clickhouse.users import User

DEFAULT_FORMAT = "TabSeparated"
_PARAMETER = "param_"
# Parts of the HTTP interface that are no settings of the engine. Source: ClickHouse src/Server/HTTPHandler.cpp.
_OWN = frozenset(
    "query database default_format user password query_id session_id session_timeout session_check close_session "
    "quota_key stacktrace role compress decompress client_protocol_version wait_end_of_query buffer_size".split()
)
_REFUSED = {
    "decompress": "ClickHouse's block compression",
    "compress": "ClickHouse's block compression",
    "role": "roles",
}
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request without its body. `settings` and `parameters` (of `{x:Type}`) are as the client wrote them."""

    user: User
    query_id: str
    statement: str
    database: str | None
    default_format: str
    session: str | None
    session_timeout_s: int
    may_write: bool
    accept_encoding: str
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


def ask_of(user: User, method: str, headers: Mapping[str, str], fields: Mapping[str, str]) -> Ask:
    """Sort the fields of the URL and of a form. Raises QueryError 48 for what is not supported."""
    for name, what in _REFUSED.items():
        if fields.get(name, "0") not in ("", "0"):
            raise QueryError(NOT_IMPLEMENTED, f"{what} ({name}={fields[name]}) is not supported here")
    settings = {name: value for name, value in fields.items() if name not in _OWN and not name.startswith(_PARAMETER)}
    compresses = settings.get("enable_http_compression", "1") not in ("0", "false")
    timeout = fields.get("session_timeout", "60")
    return Ask(
        user=user,
        query_id=fields.get("query_id") or str(uuid.uuid4()),
        statement=fields.get("query", ""),
        database=fields.get("database") or headers.get("X-ClickHouse-Database"),
        default_format=fields.get("default_format") or headers.get("X-ClickHouse-Format") or DEFAULT_FORMAT,
        session=fields.get("session_id"),
        session_timeout_s=int(timeout) if timeout.isdecimal() else 60,
        may_write=method == "POST",
        accept_encoding=headers.get("Accept-Encoding", "") if compresses else "",
        settings=settings,
        parameters={
            name.removeprefix(_PARAMETER): value for name, value in fields.items() if name.startswith(_PARAMETER)
        },
    )


def content_type(fmt: str) -> str:
    """Return the Content-Type of an output format."""
    if fmt in _CONTENT_TYPES:
        return _CONTENT_TYPES[fmt]
    return "application/json; charset=UTF-8" if fmt.startswith("JSON") else "text/plain; charset=UTF-8"
