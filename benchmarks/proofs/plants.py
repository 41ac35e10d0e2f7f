"""Losing things on purpose at one hop of a running pipeline, and knowing what was lost.

A stream's message is deleted before its reader has it: the reader is paused first, and what it may have been sent
meanwhile dies with it. It goes on from its checkpoint.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nats.js import JetStreamContext

import nats
from benchmarks.proofs.losses import Loss, Series
from schemas import frames, streams, subjects, tables
from services.shared.exchanges.declaration import Numbering
from services.shared.exchanges.registry import MARKETS
from tests.pipeline import Pipeline, until

SECOND_US = 1_000_000
KNOWING_US = SECOND_US
"""How long a frame may be on its way, beside how late it was handed out."""
DROPPED = ("trade", "book_change")
"""What the exchange numbers: nobody can know of any other kind that the exchange said it."""
PROVED = ("trade", "quote", "book_change", "ticker", "candle_update", "index_price", "liquidation")
"""Kinds that are deleted from streams and tables; candles, from their table only."""
BY_NUMBER = (Numbering.CONTIGUOUS, Numbering.SPANS)


class Planter:
    """Loses things of one pipeline. The same seed, the same choices."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self._pipeline = pipeline
        self._chance = random.Random(seed)
        self.losses: list[Loss] = []
        self.planted: dict[str, int] = dict.fromkeys(("simulator", "raw", "md", "table"), 0)
        self.lag = KNOWING_US
        """A frame says when it came: when it was said is so much before at most, microseconds."""
        self.candles: dict[tuple[Series, str], set[int]] = {}
        """Open times of the candles that were deleted, by series and interval."""

    # -- simulator -------------------------------------------------------------------------------------------------

    def drop(self, count: int, pause_s: float) -> None:
        """Have the simulator swallow so many frames of kinds with numbers, one after the other."""
        port = int((self._pipeline.data_dir / "simulator" / "port").read_text())
        markets = sorted(self._markets())
        for _ in range(count):
            exchange, market = self._chance.choice(markets)
            kind = self._chance.choice([kind for kind in DROPPED if kind != "trade" or numbered((exchange, market))])
            order = {"fault": "drop", "exchange": exchange, "market": market, "kind": kind}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/simulator/fault", json.dumps(order).encode())
            urllib.request.urlopen(request, timeout=60).close()
            time.sleep(pause_s)

    def read_ledger(self, since: int) -> None:
        """Note what the simulator has swallowed, as its ledger says, from `since` on, and how late it hands out."""
        for path in sorted((self._pipeline.data_dir / "ledger").glob("*.parquet")):
            exchange, market, kind = path.name.split("-")[0].split(".")
            if kind not in DROPPED:
                continue
            sent = pq.read_table(path)
            late = pc.max(pc.subtract(sent["handed_out_at"], sent["timestamp"]).cast("int64")).as_py()
            self.lag = max(self.lag, KNOWING_US + (late or 0))
            for row in sent.filter(pc.field("fault") == "drop").to_pylist():
                said, handed = (round(row[name].timestamp() * SECOND_US) for name in ("timestamp", "handed_out_at"))
                if handed < since:
                    continue
                series = (exchange, market, row["symbol"], kind)
                self.losses.append(Loss("simulator", series, min(said, handed), max(said, handed)))
                if kind == "book_change":
                    self.losses.append(Loss("simulator", (*series[:3], "orderbook"), said, handed, sure=False))
                self.planted["simulator"] += 1
        self.losses = [one._replace(first=one.last - self.lag) if one.hop == "raw" else one for one in self.losses]

    def read_resyncs(self) -> None:
        """Note the changes that were not sent while a stream was asked for anew because of a loss before.

        They are on record as gaps; taken for what they say only where the ledger has no such change as sent.
        """
        sent: dict[Series, list[int]] = {}
        for path in sorted((self._pipeline.data_dir / "ledger").glob("*.book_change-*.parquet")):
            exchange, market, kind = path.name.split("-")[0].split(".")
            for row in pq.read_table(path, columns=["symbol", "last_sequence"]).to_pylist():
                sent.setdefault((exchange, market, row["symbol"], kind), []).append(row["last_sequence"])
        for gap in self._pipeline.sql(
            "SELECT exchange, market, symbol, first_missing, last_missing, toUnixTimestamp64Micro(after_timestamp) AS "
            "first, toUnixTimestamp64Micro(before_timestamp) AS last FROM tapeline.gap_detection_log WHERE kind = "
            "'book_change' AND evidence LIKE 'a snapshot at % follows %' AND last_missing IS NOT NULL "
            "SETTINGS output_format_json_quote_64bit_integers = 0"
        ):
            series = (gap["exchange"], gap["market"], gap["symbol"], "book_change")
            if not any(gap["first_missing"] <= number <= gap["last_missing"] for number in sent.get(series, ())):
                self.losses.append(Loss("resync", series, gap["first"], gap["last"], sure=False))

    # -- streams ---------------------------------------------------------------------------------------------------

    async def delete_raw(self, count: int, gather_s: float) -> None:
        """Delete so many messages with market data from RAW that the normaliser has not read."""
        await self._delete(streams.RAW.name, "normaliser", count, gather_s, self._of_raw)

    async def delete_md(self, count: int, gather_s: float) -> None:
        """Delete so many records from MD that the storage-batcher has not read."""
        await self._delete(streams.MD.name, "storage-batcher", count, gather_s, self._of_md)

    async def _delete(
        self, stream: str, reader: str, count: int, gather_s: float, losses_of: Callable[[Any], list[Loss]]
    ) -> None:
        client = await nats.connect(self._pipeline.addresses()["nats_url"])
        try:
            js = client.jetstream()
            process = self._pipeline.starts(reader)[-1]
            os.kill(process, signal.SIGSTOP)
            begin = (await js.stream_info(stream)).state.last_seq
            end = begin
            while end - begin < 20 * count:  # whoever writes it may be behind
                self._pipeline.check()
                await asyncio.sleep(gather_s)
                end = (await js.stream_info(stream)).state.last_seq
            places = list(range(begin + 1, end + 1))
            self._chance.shuffle(places)
            deleted = 0
            for place in places:
                deleted += await self._delete_one(js, stream, place, losses_of)
                if deleted == count:
                    break
            os.kill(process, signal.SIGKILL)
            self.planted["raw" if stream == streams.RAW.name else "md"] += deleted
        finally:
            await client.close()
        until(lambda: len(self._pipeline.starts(reader)) and self._pipeline.starts(reader)[-1] != process, reader)

    async def _delete_one(
        self, js: JetStreamContext, stream: str, place: int, losses_of: Callable[[Any], list[Loss]]
    ) -> bool:
        try:
            message = await js.get_msg(stream, place)
        except nats.js.errors.NotFoundError:
            return False  # a checkpoint that its successor replaced
        losses = losses_of(message)
        if not losses or not await js.delete_msg(stream, place):
            return False
        self.losses += losses
        return True

    def _of_raw(self, message: Any) -> list[Loss]:
        if not any(token in message.subject for token in self._subjects_of_channels()):
            return []
        found = []
        for frame in frames.unpack(message.subject, message.headers, message.data or b""):
            channel = MARKETS[frame.exchange, frame.market].channels.get(frame.channel)
            if channel is None:  # what is said of connections, or was asked for
                continue
            first = frame.received_at
            for kind in channel.kinds:
                series = (frame.exchange, frame.market, frame.symbol, kind)
                sure = kind in PROVED and frame.symbol != subjects.ALL
                found.append(Loss("raw", series, first, frame.received_at, sure))
                if kind == "book_change":
                    found.append(Loss("raw", (*series[:3], "orderbook"), first, frame.received_at, sure=False))
        return found if any(loss.sure for loss in found) else []

    def _subjects_of_channels(self) -> set[str]:
        names = {name for market in self._markets() for name in MARKETS[market].channels}
        return {f".{name}." for name in (*names, subjects.PACKED)}

    def _of_md(self, message: Any) -> list[Loss]:
        prefix, kind, *_ = message.subject.split(".")
        if prefix != "md" or kind not in PROVED:
            return []
        record = orjson.loads(message.data)
        series = (record["exchange"], record["market"], record["symbol"], kind)
        at = record["timestamp"] if kind == "trade" and numbered(series[:2]) else record["received_at"]
        return [Loss("md", series, at, at)]

    # -- tables ----------------------------------------------------------------------------------------------------

    def delete_rows(self, count: int, first: int, last: int) -> None:
        """Delete so many rows received from `first` until before `last`, one of a series and minute at most."""
        found = [(kind, row) for kind in (*PROVED, "orderbook", "candle") for row in self._rows(kind, first, last)]
        self._chance.shuffle(found)
        chosen: dict[str, list[dict[str, Any]]] = {}
        for kind, row in found[:count]:
            chosen.setdefault(kind, []).append(row)
        for kind, rows in chosen.items():
            hashes = ", ".join(str(row["hash"]) for row in rows)
            self._pipeline.sql(f"DELETE FROM {_name(kind)} WHERE {_hash(kind)} IN ({hashes})")
            for row in rows:
                series = (row["exchange"], row["market"], row["symbol"], kind)
                if kind == "candle":
                    self.candles.setdefault((series, row["interval"]), set()).add(row["at"])
                by_time = kind == "candle" or (kind == "trade" and numbered(series[:2]))
                at = row["at"] if by_time else row["received"]
                self.losses.append(Loss("table", series, at, at))
                self.planted["table"] += 1

    def _rows(self, kind: str, first: int, last: int) -> list[dict[str, Any]]:
        """Return one row of each series and minute."""
        clock = "timestamp" if kind == "candle" else "received_at"
        return self._pipeline.sql(
            f"SELECT exchange, market, symbol, {'interval, ' if kind == 'candle' else ''}"
            "toUnixTimestamp64Micro(timestamp) AS at, toUnixTimestamp64Micro(received_at) AS received, "
            f"{_hash(kind)} AS hash FROM {_name(kind)} WHERE {clock} >= fromUnixTimestamp64Micro({first}) AND {clock} "
            f"< fromUnixTimestamp64Micro({last}) ORDER BY hash "
            f"LIMIT 1 BY exchange, market, symbol, toStartOfMinute({clock}) "
            "SETTINGS output_format_json_quote_64bit_integers = 0"
        )

    def _markets(self) -> set[tuple[str, str]]:
        found = self._pipeline.sql("SELECT DISTINCT exchange, market FROM tapeline.connections")
        return {(row["exchange"], row["market"]) for row in found}


_TABLE_OF = {table.record.KIND: table for table in tables.TABLES}


def _name(kind: str) -> str:
    return f"{tables.DATABASE}.{_TABLE_OF[kind].name}"


def _hash(kind: str) -> str:
    """Return what tells a row from all others of its table."""
    return f"cityHash64(toString(tuple({', '.join(column.name for column in _TABLE_OF[kind].columns)})))"


def numbered(market: tuple[str, ...]) -> bool:
    """Whether an exchange numbers its trades without holes."""
    return MARKETS[market[0], market[1]].channels["trades"].numbering in BY_NUMBER
