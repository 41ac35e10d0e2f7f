"""Every recorded session that can be replayed, at once, through the whole pipeline: nothing refused, nothing lost."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline import at_rest, run_pipeline

# Rows that each session makes, as the recordings' own page counts its frames; of book changes, how many
# the exchange's own rule accepts behind its snapshot.
ACCEPTED = {
    ("binance", "perp"): 752,
    ("binance", "spot"): 172,
    ("bybit_v2", "perp"): 4268,
    ("deribit", "option"): 36,
    ("gateio", "perp"): 316,
    ("gateio", "spot"): 159,
    ("okx", "future"): 98,
    ("okx", "perp"): 92,
    ("okx", "spot"): 97,
}
CHANGES = {
    **ACCEPTED,
    ("binance", "perp"): 764,
    ("binance", "spot"): 177,
    ("gateio", "perp"): 352,
    ("gateio", "spot"): 172,
}
TRADES = {"binance": 93, "bybit_v2": 251, "gateio": 9, "okx": 74}
TICKERS = {"deribit": 89, "gateio": 22, "okx": 28}


def test_all_sessions_arrive_whole(recordings: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with run_pipeline(data, "--replay", str(recordings), "--until-drained") as pipeline:
        assert pipeline.wait() == 0, pipeline.log()[-6000:]
        assert "sessions_left_out" not in pipeline.log()

    def counted(what: str, table: str, by: str) -> dict[object, int]:
        rows = at_rest(data, f"SELECT {by}, {what} AS n FROM tapeline.{table} GROUP BY {by}")
        return {tuple(row.values())[:-1]: row["n"] for row in rows}

    assert counted("count()", "book_deltas", "exchange, market") == CHANGES
    assert counted("countIf(in_step)", "book_deltas", "exchange, market") == ACCEPTED
    assert counted("count()", "trades", "exchange") == {(name,): count for name, count in TRADES.items()}
    assert counted("count()", "tickers", "exchange") == {(name,): count for name, count in TICKERS.items()}
    crossed = "notEmpty(bids) AND notEmpty(asks) AND bids[1][1] >= asks[1][1]"
    assert at_rest(data, f"SELECT count() AS n FROM tapeline.orderbooks WHERE {crossed}") == [{"n": 0}]
    assert at_rest(data, "SELECT * FROM tapeline.dead_letters") == []
    assert at_rest(data, "SELECT * FROM tapeline.gap_detection_log") == []
