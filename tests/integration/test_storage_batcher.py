"""From subject to table through real servers: every value, every batch rule, every refusal."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.storage_batcher_bench import TRADE_VALUES, message, run_bench, trade, trade_values


async def test_every_trade_is_stored_once_and_as_it_was_sent(tmp_path: Path) -> None:
    async with run_bench(tmp_path) as bench:
        trades = [trade(number) for number in range(3_000)]
        batcher = bench.start()
        last = await bench.publish([message(record) for record in trades])
        status = await bench.stored(batcher, last)
        assert await bench.rows(TRADE_VALUES) == [trade_values(record) for record in trades]
        assert status["tables"]["trades"]["rows"] == 3_000  # type: ignore[index]
        assert batcher.end(signal.SIGTERM) == 0
