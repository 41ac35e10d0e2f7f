"""Binance's REST face, spot and USD-M futures, without I/O: weights, errors and parameters as the exchange has them.

A venue declares its endpoints by path; `Rest` routes to them, counts the documented weight of every request in the
exchange's own minute, and puts the exchange's errors into the exchange's words. Source: Binance's REST pages and error
codes (spot 2026-07, USD-M futures 2026-07).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from services.exchange_simulator.venue import Answer

Query = Mapping[str, str]
Endpoint = Callable[[Query, int], bytes]
"""Answers one request: its query and the time (us UTC) in, the JSON body out. Raises ApiError."""

_MINUTE_US = 60_000_000
_NOT_FOUND = (
    b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_SYMBOL = re.compile(r"[\w.-]{1,20}")


class ApiError(Exception):
    """A request the exchange refuses: HTTP status, its own code and text."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.body = orjson.dumps({"code": code, "msg": message})


@dataclass(frozen=True, slots=True)
class Limits:
    """One market's request rules: path prefix, weight per minute, and the weight of each path."""

    prefix: str
    weight_per_minute: int
    weights: Mapping[str, Callable[[Query], int]]
    depth_limits: tuple[int, ...] | None
    depth_default: int
    depth_max: int


def _fixed(weight: int) -> Callable[[Query], int]:
    return lambda query: weight


def _by_limit(default: int, *steps: tuple[int, int], above: int) -> Callable[[Query], int]:
    """Weight by the `limit` parameter: the first step (limit up to, weight) that holds it, else `above`."""

    def weigh(query: Query) -> int:
        asked = query.get("limit", "")
        limit = int(asked) if asked.isdecimal() else default
        return next((weight for most, weight in steps if limit <= most), above)

    return weigh


def _by_symbol(one: int, every: int) -> Callable[[Query], int]:
    return lambda query: one if "symbol" in query else every


SPOT = Limits(
    prefix="/api/v3",
    weight_per_minute=6000,
    weights={
        "/ping": _fixed(1),
        "/time": _fixed(1),
        "/exchangeInfo": _fixed(20),
        "/depth": _by_limit(100, (100, 5), (500, 25), (1000, 50), above=250),
        "/trades": _fixed(25),
        "/historicalTrades": _fixed(25),
        "/aggTrades": _fixed(4),
        "/klines": _fixed(2),
        "/ticker/24hr": _by_symbol(2, 80),
        "/ticker/bookTicker": _by_symbol(2, 4),
    },
    depth_limits=None,
    depth_default=100,
    depth_max=5000,
)

_CANDLES = _by_limit(500, (99, 1), (499, 2), (1000, 5), above=10)

PERP = Limits(
    prefix="/fapi/v1",
    weight_per_minute=2400,
    weights={
        "/ping": _fixed(1),
        "/time": _fixed(1),
        "/exchangeInfo": _fixed(1),
        "/depth": _by_limit(500, (50, 2), (100, 5), (500, 10), above=20),
        "/trades": _fixed(5),
        "/historicalTrades": _fixed(20),
        "/aggTrades": _fixed(20),
        "/klines": _CANDLES,
        "/continuousKlines": _CANDLES,
        "/markPriceKlines": _CANDLES,
        "/indexPriceKlines": _CANDLES,
        "/premiumIndexKlines": _CANDLES,
        "/premiumIndex": _by_symbol(1, 10),
        "/openInterest": _fixed(1),
        "/ticker/24hr": _by_symbol(1, 40),
        "/ticker/bookTicker": _by_symbol(2, 5),
    },
    depth_limits=(5, 10, 20, 50, 100, 500, 1000),
    depth_default=500,
    depth_max=1000,
)


class Rest:
    """One market's REST endpoints with its weight counter; `/ping` and `/time` are always there."""

    def __init__(self, limits: Limits, endpoints: Mapping[str, Endpoint]) -> None:
        """Serve `endpoints` by full path (`/fapi/v1/depth`); a path without a documented weight weighs nothing."""
        self._limits = limits
        self._endpoints: dict[str, Endpoint] = {
            f"{limits.prefix}/ping": lambda query, now_us: b"{}",
            f"{limits.prefix}/time": lambda query, now_us: orjson.dumps({"serverTime": now_us // 1000}),
            **endpoints,
        }
        self._minute = 0
        self._used = 0

    def get(self, path: str, query: Query, now_us: int) -> Answer:
        """Answer one GET: 200, the exchange's error (400), 429 above the weight of the minute, or 404 for a path."""
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            return Answer(404, _NOT_FOUND, {"Content-Type": "text/html"})
        headers = self._count(path, query, now_us)
        if self._used > self._limits.weight_per_minute:
            rest_s = 60 - now_us % _MINUTE_US // 1_000_000
            error = ApiError(
                -1003,
                f"Too many requests; current limit of IP(127.0.0.1) is {self._limits.weight_per_minute} requests per "
                "minute. Please use the websocket for live updates to avoid polling the API.",
                429,
            )
            return Answer(error.status, error.body, {**headers, "Retry-After": str(rest_s)})
        try:
            return Answer(200, endpoint(query, now_us), headers)
        except ApiError as error:
            return Answer(error.status, error.body, headers)

    def _count(self, path: str, query: Query, now_us: int) -> dict[str, str]:
        minute = now_us // _MINUTE_US
        if minute != self._minute:
            self._minute, self._used = minute, 0
        weigh = self._limits.weights.get(path.removeprefix(self._limits.prefix))
        self._used += weigh(query) if weigh is not None else 0
        return {"X-MBX-USED-WEIGHT-1M": str(self._used)}


def required_symbol(query: Query) -> str:
    """Return the `symbol` parameter in its form. Raises ApiError -1102 when absent, -1100 for illegal characters."""
    symbol = query.get("symbol", "")
    if not symbol:
        raise ApiError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    if not _SYMBOL.fullmatch(symbol):
        raise ApiError(-1100, "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._]{1,20}$'.")
    return symbol


def invalid_symbol() -> ApiError:
    """Return the error for a symbol that the market does not list."""
    return ApiError(-1121, "Invalid symbol.")


def integer(query: Query, name: str) -> int | None:
    """Return a whole-number parameter, or None when it is absent. Raises ApiError -1100 when it is not a number."""
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def depth_limit(limits: Limits, query: Query) -> int:
    """Return the levels per side that `/depth` has to give. Raises ApiError -1130 for a limit that is not allowed.

    Spot takes any number and gives at most 5000; futures only takes the listed ones.
    """
    asked = integer(query, "limit")
    limit = limits.depth_default if asked is None else asked
    if limit == 0 or (limits.depth_limits is not None and limit not in limits.depth_limits):
        raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, limits.depth_max)
