"""Every subject name and filter: built and taken apart here, and only here.

A token is one element of a subject. NATS splits subjects at `.` and gives `*` and `>` a meaning, so a token that holds
one of these, or white space, is refused instead of quietly changing where a message goes.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import NamedTuple

PARTITIONS = 16
"""RAW is cut into this many partitions. Fixed for good: changing it would change every instrument's owner."""

ALL = "_all"
"""The symbol of a frame that holds many instruments."""

SESSION = "_session"
"""The channel of frames about connections themselves."""

PACKED = "_packed"
"""The channel of a message that carries several frames of one connection and partition."""

RAW_ALL = "raw.>"
MD_ALL = "md.>"
SIGNAL_ALL = "signal.>"
GAP_ALL = "gap.>"
DEAD_ALL = "dead.>"
CHECKPOINT_ALL = "checkpoint.>"
CONTROL_ALL = "control.>"

_FORBIDDEN = frozenset(".*> \t\r\n\f\v\0")


@lru_cache(maxsize=65_536)
def token(text: str) -> str:
    """Return `text` if it can be one element of a subject. Raises ValueError naming it otherwise."""
    if not text or not _FORBIDDEN.isdisjoint(text):
        raise ValueError(f"{text!r} cannot be part of a subject: it is empty or holds white space, '.', '*' or '>'")
    return text


@lru_cache(maxsize=65_536)
def partition(exchange: str, market: str, symbol: str) -> int:
    """Return the RAW partition of an instrument, 0 to 15: CRC-32 of its name, so that every program agrees."""
    return zlib.crc32(f"{exchange}.{market}.{symbol}".encode()) % PARTITIONS


class RawSubject(NamedTuple):
    """A raw frame's subject taken apart."""

    exchange: str
    market: str
    channel: str
    symbol: str
    partition: int


@lru_cache(maxsize=65_536)
def raw(exchange: str, market: str, channel: str, symbol: str, part: int | None = None) -> str:
    """Return the subject of a raw frame; `part` only where the frame is not filed under its own symbol's partition."""
    if part is None:
        part = partition(exchange, market, symbol)
    return f"raw.{token(exchange)}.{token(market)}.{token(channel)}.{token(symbol)}.{part:02d}"


@lru_cache(maxsize=65_536)
def parse_raw(subject: str) -> RawSubject:
    """Take a raw frame's subject apart. Raises ValueError naming it."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[0] != "raw" or not parts[5].isdigit() or int(parts[5]) >= PARTITIONS:
        raise ValueError(f"{subject!r} is not the subject of a raw frame")
    return RawSubject(parts[1], parts[2], parts[3], parts[4], int(parts[5]))


def raw_filter(part: int) -> str:
    """Return the filter for every frame of one partition."""
    return f"raw.*.*.*.*.{part:02d}"


@lru_cache(maxsize=65_536)
def md(kind: str, exchange: str, market: str, symbol: str) -> str:
    """Return the subject of a record."""
    return f"md.{token(kind)}.{token(exchange)}.{token(market)}.{token(symbol)}"


def md_filter(kind: str) -> str:
    """Return the filter for every record of one kind."""
    return f"md.{token(kind)}.>"


def parse_md_kind(subject: str) -> str:
    """Return the kind of the record on a `md.` subject."""
    return subject.split(".", 2)[1]


ARBITRAGE = "arbitrage"
ARBITRAGE_SPREAD = "arbitrage_spread"


@lru_cache(maxsize=65_536)
def signal(kind: str, symbol: str) -> str:
    """Return the subject of a signal, under the symbol of what it says to buy."""
    return f"signal.{token(kind)}.{token(symbol)}"


def signal_filter(kind: str) -> str:
    """Return the filter for every signal of one kind."""
    return f"signal.{token(kind)}.>"


@lru_cache(maxsize=65_536)
def gap(exchange: str, market: str, symbol: str) -> str:
    """Return the subject of an instrument's gaps."""
    return f"gap.{token(exchange)}.{token(market)}.{token(symbol)}"


def dead(service: str) -> str:
    """Return the subject of what a service refused."""
    return f"dead.{token(service)}"


def checkpoint(part: int) -> str:
    """Return the subject of the normaliser's checkpoints of one RAW partition."""
    return f"checkpoint.normaliser.{part:02d}"


def arbitrage_checkpoint() -> str:
    """Return the subject of the arbitrage-signal's checkpoints."""
    return "checkpoint.arbitrage_signal"


def resync(exchange: str, market: str, symbol: str) -> str:
    """Return the subject on which a fresh book of one instrument is asked for (core request)."""
    return f"control.resync.{token(exchange)}.{token(market)}.{token(symbol)}"


def resync_filter(exchange: str, market: str) -> str:
    """Return the filter for the resync requests of one exchange market."""
    return f"control.resync.{token(exchange)}.{token(market)}.*"


def budget(exchange: str) -> str:
    """Return the subject on which leave for a REST request is asked for (core request, `schemas.control`)."""
    return f"control.budget.{token(exchange)}"


def budget_report(exchange: str) -> str:
    """Return the subject on which the outcome of a granted request is told."""
    return f"control.budget.{token(exchange)}.report"


def backfill() -> str:
    """Return the subject on which a refill is asked for by hand (core request)."""
    return "control.backfill"


def budget_keeper(exchange: str) -> str:
    """Return the subject on which the keeper of an exchange's budget answers with its name (core request)."""
    return f"control.budget.{token(exchange)}.keeper"
