"""Gate.io's REST face, spot and USDT futures, without I/O: the limit per endpoint and errors as the exchange has them.

Source: Gate.io's API v4 pages of 2026-06.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import orjson

from services.exchange_simulator.venue import Answer

Query = Mapping[str, str]
Endpoint = Callable[[Query, int], bytes]
"""Answers one request: its query and the time (us UTC) in, the JSON body out. Raises ApiError."""

REQUESTS = 200
WINDOW_US = 10_000_000
"""So many requests of one address to one endpoint in so long."""

DEFAULT_LEVELS = 10
_NOT_FOUND = b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>404 Not Found</body>\r\n</html>\r\n"


class ApiError(Exception):
    """A request the exchange refuses: HTTP status, its own label and text."""

    def __init__(self, label: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.body = orjson.dumps({"label": label, "message": message})


class Rest:
    """One market's endpoints by full path, each with its own limit."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints
        self._asked: dict[str, deque[int]] = {path: deque() for path in endpoints}

    def get(self, path: str, query: Query, now_us: int) -> Answer:
        """Answer one GET: 200, the exchange's error (400), 429 above the endpoint's limit, or 404 for a path."""
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            return Answer(404, _NOT_FOUND, {"Content-Type": "text/html"})
        asked = self._asked[path]
        while asked and asked[0] <= now_us - WINDOW_US:
            asked.popleft()
        reset_us = (asked[0] if asked else now_us) + WINDOW_US
        headers = {
            "X-Gate-RateLimit-Limit": str(REQUESTS),
            "X-Gate-RateLimit-Requests-Remain": str(max(0, REQUESTS - len(asked) - 1)),
            "X-Gate-RateLimit-Reset-Timestamp": str(reset_us // 1_000_000),
        }
        if len(asked) >= REQUESTS:
            error = ApiError("TOO_MANY_REQUESTS", "Request Rate limit Exceeded", 429)
            return Answer(error.status, error.body, headers)
        asked.append(now_us)
        try:
            return Answer(200, endpoint(query, now_us), headers)
        except ApiError as error:
            return Answer(error.status, error.body, headers)


def required(query: Query, name: str) -> str:
    """Return a parameter. Raises ApiError MISSING_REQUIRED_PARAM when it is absent or empty."""
    value = query.get(name, "")
    if not value:
        raise ApiError("MISSING_REQUIRED_PARAM", f"Missing required parameter: {name}")
    return value


def levels(query: Query) -> int:
    """Return how many levels a side are asked for. Raises ApiError INVALID_PARAM_VALUE when that is no number."""
    text = query.get("limit", str(DEFAULT_LEVELS))
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 6 and int(text)):
        raise ApiError("INVALID_PARAM_VALUE", f"Invalid limit: {text}")
    return int(text)
