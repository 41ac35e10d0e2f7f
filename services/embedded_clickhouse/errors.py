"""The engine's errors as ClickHouse tells them over HTTP: a code, a text, and the status that belongs to the code."""

from __future__ import annotations

import re

from schemas.errors import PipelineError

CANNOT_READ_ALL_DATA = 33
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
BAD_REQUEST_PARAMETER = 36
READONLY = 164
QUERY_IS_TOO_LARGE = 308
NOT_ALLOWED = 497
AUTHENTICATION_FAILED = 516
UNKNOWN_COMPRESSION_METHOD = 89
CANNOT_DECOMPRESS = 271
STANDARD_EXCEPTION = 1001

_NAMES = {
    CANNOT_READ_ALL_DATA: "CANNOT_READ_ALL_DATA",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    BAD_REQUEST_PARAMETER: "BAD_ARGUMENTS",
    READONLY: "READONLY",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    NOT_ALLOWED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    STANDARD_EXCEPTION: "STD_EXCEPTION",
}

# Source: ClickHouse src/Server/HTTP/exceptionCodeToHTTPStatus.cpp.
_STATUS = {
    **dict.fromkeys((194,), 401),
    **dict.fromkeys((192, 193, 497, 511, 512, 516), 403),
    **dict.fromkeys(
        (6, 12, 15, 25, 26, 27, 36, 38, 41, 43, 44, 53, 62, 72, 117, 167, 168, 321, 376, 427, 441, 457, 675, 676), 400
    ),
    **dict.fromkeys((10, 16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), 404),
    159: 408,
    381: 411,
    308: 413,
    48: 501,
    209: 503,
    439: 503,
}

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")


class QueryError(PipelineError):
    """A request that failed. `code` is ClickHouse's error code, `text` what the client reads."""

    def __init__(self, code: int, message: str, *, whole: bool = False) -> None:
        self.code = code
        self.text = message if whole else f"Code: {code}. DB::Exception: {message}. ({_NAMES[code]})"
        super().__init__(self.text, status=code)

    @classmethod
    def of_engine(cls, message: str) -> QueryError:
        """Return the error that the engine's text describes; its code is the first one named."""
        match = _CODE.search(message)
        if match is None:
            return cls(STANDARD_EXCEPTION, message)
        return cls(int(match.group(1)), message[match.start() :], whole=True)

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse answers with for this code."""
        return _STATUS.get(self.code, 500)
