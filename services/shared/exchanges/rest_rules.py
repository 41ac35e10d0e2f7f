"""What an exchange allows of REST requests, and how its answers say that something went wrong. Pure.

Each market's module declares its `RestRules`; the collector's budget and whoever asks for leave go by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_LONGEST_PAUSE_S = 3 * 24 * 3_600.0
"""Binance's and MEXC's longest bans. What is beyond it is a header misread."""
_SHOWN = 200
"""Bytes of an answer that are shown where it is none."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `units` in any `window_s` seconds, of the requests it counts, from one address.

    `paths` are the endpoints it counts; one that ends in `/` stands for all that begin so; none: every endpoint that
    `but` does not name. `apiece`: each of them has so many of its own. `weighed`: a request counts its
    weight, else one.

    The headers (lower case) are where the exchange tells its own count: what is used, or what is left, of how many,
    and when it begins anew (seconds or milliseconds UTC).
    """

    name: str
    units: int
    window_s: float
    paths: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    apiece: bool = False
    weighed: bool = True
    used_header: str = ""
    left_header: str = ""
    of_header: str = ""
    reset_header: str = ""

    def counts(self, endpoint: str) -> bool:
        """Whether a request to this endpoint counts here."""
        return (not self.paths or _among(endpoint, self.paths)) and not _among(endpoint, self.but)

    def used(self, headers: Mapping[str, str]) -> int | None:
        """Return how many units the exchange says are used, or None when it does not say."""
        used, left = headers.get(self.used_header, ""), headers.get(self.left_header, "")
        if used.isdecimal():
            return int(used)
        if left.isdecimal():
            of = headers.get(self.of_header, "")
            return max(0, (int(of) if of.isdecimal() else self.units) - int(left))
        return None

    def reset_s(self, headers: Mapping[str, str], now_s: float) -> float | None:
        """Return in how many seconds the exchange begins to count anew, when it says that nothing is left."""
        if headers.get(self.left_header, "") not in ("0", "-1"):
            return None
        return until_s(headers.get(self.reset_header, ""), now_s)


def _among(endpoint: str, paths: Iterable[str]) -> bool:
    return any(endpoint == path or (path.endswith("/") and endpoint.startswith(path)) for path in paths)


def until_s(stamp: str, now_s: float) -> float | None:
    """Return the seconds from now (UTC) to a stamp in seconds or milliseconds; None when it is none or has passed."""
    if not stamp.isdecimal():
        return None
    at = int(stamp)
    wait = (at / 1_000 if at > 10**11 else at) - now_s
    return min(wait, _LONGEST_PAUSE_S) if wait > 0 else None


class Refusal(NamedTuple):
    """An error in the exchange's own words. `pause_s`: nothing is to be asked for so long; `passing`: try again."""

    code: str
    text: str
    pause_s: float | None = None
    passing: bool = False


class Outcome(NamedTuple):
    """What an answer is: data (`error` is None), or no data and why.

    `pause_s` is set when the exchange asks for a pause; `again` says that the same request may succeed later.
    """

    error: str | None = None
    pause_s: float | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class RestRules:
    """What one address may ask of the servers that these markets share.

    `pool` names those servers where an exchange has several that count apart: markets of an exchange with the same
    pool share one budget. `refusal` finds the error in a JSON answer. `pauses` is how long to wait, in seconds, after
    an HTTP status that means "too many" or "shut out" and names no time itself.
    """

    rates: tuple[Rate, ...]
    refusal: Callable[[bytes], Refusal | None]
    pool: str = "all"
    pauses: Mapping[int, float] = field(default_factory=lambda: {429: 60.0, 418: 120.0, 403: 60.0})
    in_flight: int = 8
    """Requests under way at the same time."""
    told: Callable[[bytes], Mapping[str, int]] | None = None
    """Reads, out of the answer that lists the instruments, the units of those `rates` that the exchange tells there, by
    name. What is declared holds until then."""

    @property
    def headers(self) -> frozenset[str]:
        """The headers that say something of a budget, in lower case."""
        named = {"retry-after"}
        for rate in self.rates:
            named |= {rate.used_header, rate.left_header, rate.of_header, rate.reset_header}
        return frozenset(named - {""})

    def said(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return those of an answer's headers that say something of a budget, by lower-case name."""
        wanted = self.headers
        return {name.lower(): value for name, value in headers if name.lower() in wanted}

    def judge(self, status: int, said: Mapping[str, str], body: bytes, now_s: float) -> Outcome:
        """Say what an answer is. `said` is what `said()` returned, `now_s` the time now, seconds UTC.

        Data is a JSON object or array with status 200 that holds no error of the exchange's own.
        """
        start = body[:_SHOWN].lstrip()
        is_json = start[:1] in (b"{", b"[")
        refusal = self.refusal(body) if is_json else None
        if refusal is not None:
            error = f"status {status}, {refusal.code}: {refusal.text}"
        elif status == 200 and is_json:
            return Outcome()
        else:
            page = "" if is_json else " (no JSON)"
            error = f"status {status}{page}: {start.decode(errors='replace')}"
        pause_s = self._pause_s(status, said, refusal, now_s)
        again = pause_s is not None or status >= 500 or (refusal.passing if refusal is not None else status == 200)
        return Outcome(error, pause_s, again)

    def _pause_s(self, status: int, said: Mapping[str, str], refusal: Refusal | None, now_s: float) -> float | None:
        asked = refusal.pause_s if refusal is not None else None
        if status not in self.pauses and asked is None:
            return None
        resets = (until_s(said.get(rate.reset_header, ""), now_s) for rate in self.rates)
        named = [_seconds(said.get("retry-after", "")), *resets]
        return next((wait for wait in named if wait is not None), asked if asked is not None else self.pauses[status])


def _seconds(text: str) -> float | None:
    return min(float(text), _LONGEST_PAUSE_S) if text.isdecimal() else None


def tiered(limit: int, tiers: Iterable[tuple[int, int]]) -> int:
    """Return the weight of a request for `limit` rows: that of the first (most rows, weight) it fits into.

    Raises ValueError when it fits into none.
    """
    tiers = tuple(tiers)
    for most, weight in tiers:
        if limit <= most:
            return weight
    raise ValueError(f"a limit of {limit} is above what the endpoint allows, {tiers[-1][0]}")
