"""What each exchange may answer instead of history, in its own words: never a wrong row, and a clear status at last."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from services.gap_backfill.series import Series
from services.shared.exchanges.history import MINUTE_US
from services.shared.runtime.bus import Bus
from services.shared.runtime.clock import now_us
from tests.gap_asker_rig import SYMBOL, asking, serving

ROWS = 3
PAGE = "<html>maintenance</html>"


class Words(NamedTuple):
    """How an exchange says things: candles of these minutes, that there are none, and that it was asked too often."""

    candles: Any
    """Minutes since the epoch -> the body of an answer that holds candles opening then."""
    too_many: tuple[int, str]


def _rows(name: str, minutes: list[int]) -> list[Any]:
    """Return candles as rows of texts, the column order of Binance and MEXC spot or OKX's."""
    made: list[Any] = []
    for minute in minutes:
        at = minute * 60_000
        bar = ["1", "3", "0.5", "2", "10"]
        made.append(
            {
                "binance": [at, *bar, at + 59_999, "20", 4, "6", "12", "0"],
                "okx": [str(at), *bar, "10", "20", "1"],
                "bybit": [str(at), *bar, "20"],
                "gateio": {"t": minute * 60, "o": "1", "h": "3", "l": "0.5", "c": "2", "v": 10, "sum": "20"},
            }[name]
        )
    return made


def _deribit(minutes: list[int]) -> str:
    columns = {"open": 1.0, "high": 3.0, "low": 0.5, "close": 2.0, "volume": 10.0, "cost": 20.0}
    chart = {name: [value] * len(minutes) for name, value in columns.items()}
    result = {"status": "ok" if minutes else "no_data", "ticks": [minute * 60_000 for minute in minutes], **chart}
    return json.dumps({"jsonrpc": "2.0", "result": result})


def _mexc(minutes: list[int]) -> str:
    columns = {"open": 1.0, "high": 3.0, "low": 0.5, "close": 2.0, "vol": 10, "amount": 20.0}
    chart = {name: [value] * len(minutes) for name, value in columns.items()}
    return json.dumps({"success": True, "code": 0, "data": {"time": [minute * 60 for minute in minutes], **chart}})


def _okx(minutes: list[int]) -> str:
    return json.dumps({"code": "0", "msg": "", "data": _rows("okx", minutes)})


def _bybit(minutes: list[int]) -> str:
    result = {"category": "linear", "symbol": "BTCUSDT", "list": _rows("bybit", minutes)}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": 1})


EXCHANGES = {
    "binance": Words(
        lambda minutes: json.dumps(_rows("binance", minutes)), (429, '{"code":-1003,"msg":"Too many requests"}')
    ),
    "okx": Words(_okx, (429, '{"code":"50011","msg":"Too Many Requests","data":[]}')),
    "deribit": Words(_deribit, (429, '{"jsonrpc":"2.0","error":{"message":"too_many_requests","code":10028}}')),
    "gateio": Words(
        lambda minutes: json.dumps(_rows("gateio", minutes)), (429, '{"label":"TOO_MANY_REQUESTS","message":"slow"}')
    ),
    "mexc": Words(_mexc, (200, '{"success":false,"code":510,"message":"Requests are too frequent"}')),
    "bybit": Words(_bybit, (200, '{"retCode":10006,"retMsg":"Too many visits!","result":{},"time":1}')),
}


class Missing(NamedTuple):
    """Three candles of one minute that are missing, an hour ago."""

    first: int
    bounds: dict[str, int]

    @property
    def minutes(self) -> list[int]:
        return [self.first + place for place in range(ROWS)]


@pytest.fixture
def missing() -> Missing:
    first = now_us() // MINUTE_US - 60
    bounds = {"after_timestamp": first * MINUTE_US - 1, "before_timestamp": (first + ROWS) * MINUTE_US}
    return Missing(first, bounds)


def series_of(exchange: str) -> Series:
    return Series(exchange, "perp", SYMBOL, "candle", "1m")


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_every_bad_answer_is_passed_over_and_the_good_one_published(
    exchange: str, missing: Missing, bus: Bus
) -> None:
    words = EXCHANGES[exchange]
    good = words.candles(missing.minutes)
    wrong_range = words.candles([minute - 30 for minute in missing.minutes])
    bad = [(503, PAGE), (200, PAGE), (200, "[1"), (200, wrong_range), (200, words.candles([]))]
    async with serving([*bad, (200, good)]) as served:
        async with asking(bus, served, series_of(exchange), missing.bounds, bad_tries=20) as rig:
            await rig.until(lambda: rig.core.brought == ROWS)
            [frame] = await rig.frames()
        assert frame.body.decode() == good and frame.request == served.asked[-1]
        assert frame.wanted == "-".join(str(minute * MINUTE_US) for minute in (missing.minutes[0], missing.minutes[-1]))
        assert len(served.asked) == len(bad) + 1 and len(set(served.asked)) == 1


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_who_is_asked_too_often_is_given_a_pause_that_the_budget_is_told_of(
    exchange: str, missing: Missing, bus: Bus
) -> None:
    words = EXCHANGES[exchange]
    async with serving([words.too_many]) as served, asking(bus, served, series_of(exchange), missing.bounds) as rig:
        served.retry_after = "30"
        await rig.until(lambda: rig.reports)
        [filling] = rig.core.fillings.values()
        [work] = filling.works.values()
        await rig.until(lambda: work.failures)
        [report] = rig.reports
        assert report.status == words.too_many[0] and report.retry_after_s is not None and report.retry_after_s > 1
        assert work.due_at > now_us() and work.gap.status == "filling"
        assert not filling.refused and len(served.asked) == 1
        assert await rig.frames() == []


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize(("bad", "tries", "said"), [("empty", 3, "does not serve it"), ("earlier", 6, "begins at")])
async def test_answers_that_stay_bad_end_in_a_clear_status_and_no_row(
    exchange: str, bad: str, tries: int, said: str, missing: Missing, bus: Bus
) -> None:
    minutes = [] if bad == "empty" else [minute - 30 for minute in missing.minutes]
    async with serving([(200, EXCHANGES[exchange].candles(minutes))]) as served:
        async with asking(bus, served, series_of(exchange), missing.bounds) as rig:
            await rig.until(lambda: rig.core.states["g"].status == "unavailable")
            assert said in rig.core.states["g"].evidence
            assert "lost for good" in rig.core.states["g"].evidence and await rig.frames() == []
        assert len(served.asked) == tries
