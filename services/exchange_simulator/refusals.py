"""What each exchange answers to who asks too often, in its own words; and an error page as proxies send it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from services.exchange_simulator.venue import Answer

_HTML = {"Content-Type": "text/html"}


def _binance(status: int, until_ms: int) -> object:
    text = {
        429: f"Too many requests; current limit is exceeded until {until_ms} (simulated).",
        418: f"Way too many requests; IP banned until {until_ms}. "
        "Please use the websocket for live updates to avoid bans.",
        403: "Request blocked by the web application firewall (simulated).",
    }
    return {"code": -1003, "msg": text[status]}


_BODIES: Mapping[str, Callable[[int, int], object]] = {
    "binance": _binance,
    "okx": lambda status, until_ms: {"code": "50011", "msg": "Too Many Requests", "data": []},
    "deribit": lambda status, until_ms: {
        "jsonrpc": "2.0",
        "error": {"message": "too_many_requests", "code": 10028},
        "testnet": False,
    },
    "gateio": lambda status, until_ms: {"label": "TOO_MANY_REQUESTS", "message": "Request Rate Limit Exceeded"},
    "mexc": lambda status, until_ms: {"success": False, "code": 510, "message": "Requests are too frequent"},
    "bybit": lambda status, until_ms: {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "retExtInfo": {}},
}


def refusal(exchange: str, status: int, retry_after_s: int, now_us: int) -> Answer:
    """Return the exchange's answer of this status to one request too many; it says when to come back."""
    until_ms = now_us // 1000 + retry_after_s * 1000
    body = orjson.dumps(_BODIES[exchange](status, until_ms))
    return Answer(status, body, {"Retry-After": str(retry_after_s)})


def error_page(status: int) -> Answer:
    """Return an error page in HTML."""
    body = (
        f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n"
    )
    return Answer(status, f"{body}</html>\r\n".encode(), _HTML)
