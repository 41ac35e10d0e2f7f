"""How Binance writes the frames of its busiest streams, recorded in 2021 and 2026: spot and USD-M futures.

Each form says what the parser of its channel in `binance.py` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec import Raw

from schemas import records
from schemas.records import Instrument
from services.shared.exchanges.forms import ChangeForm, Form, Forms, Told, ToldChange, filled, plain_name, written

Maker = Callable[[Instrument, bytes, int, bytes, "re.Pattern[bytes]"], "Form | ChangeForm"]
"""(instrument, beginning of its frames, the length of that, its name in them, pattern of the rest) -> the form."""

_TEXT, _INTEGER, _MICROS, _INT = Raw(b'"%b"'), Raw(b"%b"), Raw(b"%b000"), Raw(b"%d")
"""Places of a record: text, an integer as it stands, milliseconds as microseconds, an integer of ours."""

_PAIR, _SORT = '"ps":"<code>",', ',"st":1'
"""What futures frames have more since 2026."""


def _forms(suffix: str, patterns: Sequence[re.Pattern[bytes]], make: Maker) -> Forms:
    """Return the forms of a stream: the first pattern that fits a frame is that of the instrument's frames."""

    def of(instrument: Instrument, frame: bytes) -> Form | ChangeForm | None:
        name = plain_name(instrument.exchange_symbol)
        stream = plain_name(instrument.exchange_symbol.lower())
        if name is None or stream is None:
            return None
        head = b'{"stream":"%b@%b","data":' % (stream, suffix.encode())
        for pattern in patterns:
            if frame.startswith(head) and pattern.fullmatch(frame, len(head)):
                return make(instrument, head, len(head), name, pattern)
        return None

    return of


def _whose(instrument: Instrument) -> dict[str, object]:
    return {
        "exchange": instrument.exchange,
        "market": instrument.market,
        "symbol": instrument.symbol,
        "received_at": _INT,
        "source": "live",
    }


# -- quotes ------------------------------------------------------------------------------------------------------------

_BEST = '"b":"<number>","B":"<number>","a":"<number>","A":"<number>"'
_SPOT_QUOTE = written(f'{{"u":<id>,"s":"<name>",{_BEST}}}}}')
_QUOTE_2021 = written(
    f'{{"e":"bookTicker","u":<id>,"s":"<name>",{_BEST},"T":<millis>,"E":<millis>,"ps":"<code>","st":1}}}}',
    ',"ps":"<code>"',
    _SORT,
)
_ZERO = b"0."


def _empty(price: bytes) -> bool:
    return price[0] == 48 and not price.strip(_ZERO)  # 48: the digit 0


def _spot_quote(instrument: Instrument, head: bytes, at: int, name: bytes, pattern: re.Pattern[bytes]) -> Form:
    match = pattern.fullmatch
    fill = filled(
        records.Quote,
        **_whose(instrument),
        timestamp=_INT,
        timestamp_source="received",
        bid_price=_TEXT,
        bid_quantity=_TEXT,
        ask_price=_TEXT,
        ask_quantity=_TEXT,
        sequence=_INTEGER,
    )

    def read(frame: bytes, received_at: int) -> Told | None:
        found = match(frame, at) if frame.startswith(head) else None
        if found is None:
            return None
        number, symbol, bid, bid_quantity, ask, ask_quantity = found.groups()
        if symbol != name or _empty(bid) or _empty(ask):
            return None
        return int(number), fill((received_at, received_at, bid, bid_quantity, ask, ask_quantity, number))

    return read


def _quote(instrument: Instrument, head: bytes, at: int, name: bytes, pattern: re.Pattern[bytes]) -> Form:
    match = pattern.fullmatch
    fill = filled(
        records.Quote,
        **_whose(instrument),
        timestamp=_MICROS,
        timestamp_source="match",
        bid_price=_TEXT,
        bid_quantity=_TEXT,
        ask_price=_TEXT,
        ask_quantity=_TEXT,
        sequence=_INTEGER,
        sent_at=_MICROS,
    )

    def read(frame: bytes, received_at: int) -> Told | None:
        found = match(frame, at) if frame.startswith(head) else None
        if found is None:
            return None
        number, symbol, bid, bid_quantity, ask, ask_quantity, matched, sent = found.groups()
        if symbol != name or _empty(bid) or _empty(ask):
            return None
        return int(number), fill((matched, received_at, bid, bid_quantity, ask, ask_quantity, number, sent))

    return read


SPOT_QUOTES = _forms("bookTicker", [_SPOT_QUOTE], _spot_quote)
QUOTES = _forms("bookTicker", [_QUOTE_2021], _quote)


# -- trades ------------------------------------------------------------------------------------------------------------

_REST = '"f":<id>,"l":<id>,"T":<millis>,"m":<flag>'
_SPOT_TRADE = written(
    f'{{"e":"aggTrade","E":<millis>,"s":"<name>","a":<id>,"p":"<number>","q":"<number>",{_REST},"M":true}}}}'
)
_TRADE = written(f'{{"e":"aggTrade","E":<millis>,"a":<id>,"s":"<name>","p":"<number>","q":"<number>",{_REST}}}}}')
_TRADE_2026 = written(
    '{"e":"aggTrade","E":<millis>,"a":<id>,"s":"<name>","p":"<number>","q":"<number>","nq":"<number>",'
    f'{_REST},"st":1}}}}'
)


_IN_ORDER = {_SPOT_TRADE: (1, 3, 2, 4, 5, 6, 7, 8, 9), _TRADE: (1, 2, 3, 4, 5, 6, 7, 8, 9)}
"""Where in a form E, a, s, p, q, f, l, T and m stand; then nq, in the one that has it."""
_IN_ORDER[_TRADE_2026] = (1, 2, 3, 4, 5, 7, 8, 9, 10)


def _trade(instrument: Instrument, head: bytes, at: int, name: bytes, pattern: re.Pattern[bytes]) -> Form:
    match, order, has_rpi = pattern.fullmatch, _IN_ORDER[pattern], pattern is _TRADE_2026
    fill = filled(
        records.Trade,
        **_whose(instrument),
        timestamp=_MICROS,
        timestamp_source="match",
        price=_TEXT,
        quantity=_TEXT,
        side=_TEXT,
        trade_id=_TEXT,
        sequence=_INTEGER,
        first_trade_id=_INTEGER,
        last_trade_id=_INTEGER,
        trade_count=_INT,
        quantity_without_rpi=_TEXT if has_rpi else None,
        sent_at=_MICROS,
    )

    def read(frame: bytes, received_at: int) -> Told | None:
        found = match(frame, at) if frame.startswith(head) else None
        if found is None:
            return None
        sent, number, symbol, price, quantity, first, last, matched, maker = found.group(*order)
        if symbol != name:
            return None
        side = b"sell" if maker == b"true" else b"buy"
        count = int(last) - int(first) + 1
        more = (found[6], sent) if has_rpi else (sent,)
        body = fill((matched, received_at, price, quantity, side, number, number, first, last, count, *more))
        return int(number), body

    return read


TRADES = _forms("aggTrade", [_TRADE_2026, _TRADE, _SPOT_TRADE], _trade)


# -- book changes ------------------------------------------------------------------------------------------------------

_SPOT_CHANGE = written('{"e":"depthUpdate","E":<millis>,"s":"<name>","U":<id>,"u":<id>,"b":<levels>,"a":<levels>}}')
_CHANGE = written(
    '{"e":"depthUpdate","E":<millis>,"T":<millis>,"s":"<name>","ps":"<code>","U":<id>,"u":<id>,"pu":<id>,'
    '"b":<levels>,"a":<levels>,"st":1}}',
    _PAIR,
    _SORT,
)


def _change(instrument: Instrument, head: bytes, at: int, name: bytes, pattern: re.Pattern[bytes]) -> ChangeForm:
    match = pattern.fullmatch
    fill = filled(
        records.BookChange,
        **_whose(instrument),
        timestamp=_MICROS,
        timestamp_source="match",
        first_sequence=_INTEGER,
        last_sequence=_INTEGER,
        bids=_INTEGER,
        asks=_INTEGER,
        in_step=True,
        previous_sequence=_INTEGER,
        sent_at=_MICROS,
    )

    def read(frame: bytes, received_at: int) -> ToldChange | None:
        found = match(frame, at) if frame.startswith(head) else None
        if found is None:
            return None
        sent, matched, symbol, first, last, previous, bids, asks = found.groups()
        end = int(last)
        if symbol != name or end < int(first):
            return None
        body = fill((matched, received_at, first, last, bids, asks, previous, sent))
        return int(previous), end, int(matched) * 1_000, bids, asks, body

    return read


def _spot_change(instrument: Instrument, head: bytes, at: int, name: bytes, pattern: re.Pattern[bytes]) -> ChangeForm:
    match = pattern.fullmatch
    fill = filled(
        records.BookChange,
        **_whose(instrument),
        timestamp=_MICROS,
        timestamp_source="push",
        first_sequence=_INTEGER,
        last_sequence=_INTEGER,
        bids=_INTEGER,
        asks=_INTEGER,
        in_step=True,
        sent_at=_MICROS,
    )

    def read(frame: bytes, received_at: int) -> ToldChange | None:
        found = match(frame, at) if frame.startswith(head) else None
        if found is None:
            return None
        sent, symbol, first, last, bids, asks = found.groups()
        begin, end = int(first), int(last)
        if symbol != name or end < begin:
            return None
        return begin - 1, end, int(sent) * 1_000, bids, asks, fill((sent, received_at, first, last, bids, asks, sent))

    return read


SPOT_DEPTH = _forms("depth@100ms", [_SPOT_CHANGE], _spot_change)
DEPTH = _forms("depth@100ms", [_CHANGE], _change)


# -- candles -----------------------------------------------------------------------------------------------------------


def candles(interval: str) -> Forms:
    """Return the form of a candle that is not final yet; the final one is two records, and read in full."""
    bar = written(
        '{"e":"kline","E":<millis>,"s":"<name>","k":{"t":<millis>,"T":<millis>,"s":"<name>","i":"'
        f'{interval}","f":<id>,"L":<id>,"o":"<number>","c":"<number>","h":"<number>","l":"<number>","v":"<number>",'
        '"n":<id>,"x":false,"q":"<number>","V":"<number>","Q":"<number>","B":"0"}}}'
    )

    def make(instrument: Instrument, head: bytes, at: int, name: bytes, pattern: re.Pattern[bytes]) -> Form:
        match = pattern.fullmatch
        fill = filled(
            records.CandleUpdate,
            **_whose(instrument),
            timestamp=_MICROS,
            timestamp_source="open",
            interval=interval,
            open_price=_TEXT,
            high_price=_TEXT,
            low_price=_TEXT,
            close_price=_TEXT,
            volume=_TEXT,
            closed=False,
            quote_volume=_TEXT,
            trade_count=_INTEGER,
            taker_buy_volume=_TEXT,
            taker_buy_quote_volume=_TEXT,
            first_trade_id=_INTEGER,
            last_trade_id=_INTEGER,
            sent_at=_MICROS,
        )

        def read(frame: bytes, received_at: int) -> Told | None:
            found = match(frame, at) if frame.startswith(head) else None
            if found is None:
                return None
            sent, symbol, opened, _, again, f, l, o, c, h, low, v, n, q, bought, paid = found.groups()  # noqa: E741
            if symbol != name or again != name:
                return None
            body = fill((opened, received_at, o, h, low, c, v, q, n, bought, paid, f, l, sent))
            return int(sent) * 1_000, body

        return read

    return _forms(f"kline_{interval}", [bar], make)
