"""SIGKILL of the embedded ClickHouse: what was answered with 200 is there once, a retried token is not doubled.

What was under way may be known by its token and not be there, whole or in part (the storage-batcher's `mending` says
why): it is told a second time under another token, less what is there.
"""

from __future__ import annotations

import random
import threading
import urllib.error
import urllib.request
from pathlib import Path

from tests.clickhouse_server import ClickhouseServer, start_clickhouse

ROUNDS = 4
ROWS = 500
INSERT = (
    "INSERT INTO t SELECT * FROM input('batch UInt32, number UInt32') {only} "
    "SETTINGS insert_deduplication_token='{token}/{batch}' FORMAT JSONEachRow\n"
)
NOT_THERE = "WHERE (batch, number) NOT IN (SELECT batch, number FROM t)"


def insert(server: ClickhouseServer, batch: int, token: str = "t", only: str = "") -> bool:
    """Insert one batch under its own token; tell whether it was acknowledged."""
    rows = "".join(f'{{"batch":{batch},"number":{number}}}\n' for number in range(ROWS))
    try:
        server.query(INSERT.format(batch=batch, token=token, only=only) + rows)
    except urllib.error.HTTPError:
        raise
    except OSError:  # the server is gone: whether the batch was stored is not known
        return False
    return True


def test_nothing_acknowledged_is_lost_and_nothing_is_doubled(tmp_path: Path) -> None:
    moments = random.Random(20261121)
    server = start_clickhouse(tmp_path)
    server.query(
        "CREATE TABLE t (batch UInt32, number UInt32) ENGINE = MergeTree ORDER BY (batch, number) "
        "PARTITION BY number % 2 SETTINGS non_replicated_deduplication_window = 10000"
    )
    batch = 0
    try:
        for _ in range(ROUNDS):
            kill = threading.Timer(moments.uniform(0.05, 0.5), server.kill)
            kill.start()
            while insert(server, batch):
                batch += 1
            kill.join()
            server = start_clickhouse(tmp_path)
            stored = server.query(f"SELECT countIf(batch < {batch}), countIf(batch > {batch}) FROM t")
            assert stored == f"{batch * ROWS}\t0"
            for repeated in range(max(0, batch - 3), batch + 1):
                assert insert(server, repeated)
            assert insert(server, batch, f"mend-{batch}", NOT_THERE)
            batch += 1
            every = "SELECT count(), uniqExact(batch, number), uniqExact(batch) FROM t"
            assert server.query(every) == f"{batch * ROWS}\t{batch * ROWS}\t{batch}"
        assert batch > ROUNDS
    finally:
        server.stop()
