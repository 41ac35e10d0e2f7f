"""Bad input to the whole pipeline: a clear message or a dead letter with its bytes, and nothing else stops."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import urllib.request
from base64 import b64decode
from pathlib import Path

import pytest

from tests.pipeline import ENVIRONMENT, TAPELINE, Pipeline, at_rest, run_pipeline, until

TRADE = '{{"stream":"{stream}","data":{{"e":"aggTrade","E":1626992750000,"a":{id},"s":"{symbol}","p":"{price}","q":"1",'
TRADE += '"f":{id},"l":{id},"T":1626992750000,"m":true}}}}'

BAD_FRAMES = {
    "truncated": '{"stream":"sushiusdt@bookTicker","data":{"e":"bookTicker","u":600859600999,"s":"SUSHI',
    "of another channel": (
        '{"stream":"sushiusdt@aggTrade","data":{"e":"bookTicker","u":600859600999,"s":"SUSHIUSDT","b":"7.6110","B":"2",'
        '"a":"7.6120","A":"297","T":1626992741012,"E":1626992741017}}'
    ),
    "not a number": TRADE.format(stream="sushiusdt@aggTrade", id=1, symbol="SUSHIUSDT", price="NaN"),
    "empty number": TRADE.format(stream="sushiusdt@aggTrade", id=1, symbol="SUSHIUSDT", price=""),
    "unknown symbol": TRADE.format(stream="nopeusdt@aggTrade", id=1, symbol="NOPEUSDT", price="1.5"),
    "not JSON": "\x00\x01 garbage",
}


def order_fault(pipeline: Pipeline, fault: dict[str, object]) -> None:
    port = int((pipeline.data_dir / "simulator" / "port").read_text())
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/simulator/fault", data=json.dumps(fault).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def replay_with_bad_frames(data: Path, recordings: Path, *arguments: str) -> tuple[int, str]:
    session = ("--replay", str(recordings), "--exchanges", "binance", "--pace", "6", "--until-drained")
    with run_pipeline(data, *session, *arguments) as pipeline:
        pipeline.addresses()
        until(lambda: pipeline.sql("SELECT count() AS n FROM tapeline.quotes")[0]["n"] > 50, "quotes are stored")
        for frame in BAD_FRAMES.values():
            order_fault(
                pipeline,
                {
                    "fault": "insert",
                    "exchange": "binance",
                    "market": "perp",
                    "frame": frame,
                    # On the connection that carries trades, as if it were one.
                    "behind": "sushiusdt@aggTrade",
                },
            )
        return pipeline.wait(), pipeline.log()


def test_bad_frames_are_refused_with_their_bytes_and_nothing_else_is(recordings: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    expectations = tmp_path / "expected.json"
    named = [{"sha256": hashlib.sha256(frame.encode()).hexdigest(), "reason": why} for why, frame in BAD_FRAMES.items()]
    expectations.write_text(json.dumps(named))
    status, log = replay_with_bad_frames(data, recordings, "--expect", str(expectations))
    assert status == 0, log[-6000:]
    letters = at_rest(data, "SELECT service, reason, subject, body FROM tapeline.dead_letters")
    assert sorted(b64decode(letter["body"]).decode() for letter in letters) == sorted(BAD_FRAMES.values())
    assert {letter["service"] for letter in letters} == {"normaliser"}
    reasons = {b64decode(letter["body"]).decode(): letter["reason"] for letter in letters}
    assert "'NaN'" in reasons[BAD_FRAMES["not a number"]]
    assert "''" in reasons[BAD_FRAMES["empty number"]]
    counted = at_rest(
        data,
        "SELECT (SELECT count() FROM tapeline.trades) AS trades, (SELECT count() FROM tapeline.quotes) AS quotes, "
        "(SELECT count() FROM tapeline.book_deltas) AS changes, "
        "(SELECT count() FROM tapeline.candle_updates) AS candles",
    )
    assert counted == [{"trades": 93, "quotes": 697, "changes": 941, "candles": 69}]
    assert at_rest(data, "SELECT * FROM tapeline.gap_detection_log") == []


def test_refusals_that_nobody_expected_decide_the_exit_status(recordings: Path, tmp_path: Path) -> None:
    status, log = replay_with_bad_frames(tmp_path / "data", recordings)
    assert status == 3, log[-6000:]
    assert f"Refused: {len(BAD_FRAMES)}" in log


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TAPELINE, "up", *arguments],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **environment, "PATH": "/usr/bin:/bin"},
        check=False,
        timeout=60,
    )


def test_a_taken_port_is_named_with_the_setting_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start(
            "--simulate", "--exchanges", "binance", "--data", str(tmp_path / "data"), TAPELINE_UP_NATS_PORT=str(port)
        )
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be opened" in done.stderr
    assert "TAPELINE_UP_NATS_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = start("--simulate", "--exchanges", "binance", "--data", str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    assert f"data directory {tmp_path}/file/data cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("TAPELINE_UP_NATS_PORT", "http", "valid integer"),
        ("TAPELINE_UP_PACE", "-1", "greater than or equal to 0"),
        ("TAPELINE_UP_SPEED", "1", "is not a setting; those of up are"),
        ("TAPELINE_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_setting_stops_the_start_by_name(tmp_path: Path, variable: str, value: str, allowed: str) -> None:
    done = start("--simulate", "--exchanges", "binance", "--data", str(tmp_path / "data"), **{variable: value})
    assert done.returncode == 2
    assert variable in done.stderr
    assert allowed in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was started"


def test_a_service_that_refuses_its_settings_ends_the_pipeline_with_its_words(tmp_path: Path) -> None:
    done = start(
        "--simulate",
        "--exchanges",
        "binance",
        "--data",
        str(tmp_path / "data"),
        TAPELINE_COLLECTOR_UNIVERSE="everything",
    )
    assert done.returncode == 2
    assert "TAPELINE_COLLECTOR_UNIVERSE is 'everything', which is not allowed" in done.stderr


def test_two_pipelines_do_not_share_a_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with run_pipeline(data, "--simulate", "--exchanges", "binance") as pipeline:
        pipeline.addresses()
        done = start("--simulate", "--exchanges", "binance", "--data", str(data))
        assert done.returncode == 1
        assert "in use by another `tapeline up`" in done.stderr
        assert pipeline.interrupt() == 0


def test_ctrl_c_while_it_starts_ends_it_cleanly(tmp_path: Path) -> None:
    with run_pipeline(tmp_path / "data", "--simulate", "--exchanges", "binance") as pipeline:
        until(lambda: pipeline.starts("collector"), "the last service is started")
        assert pipeline.interrupt() == 0, pipeline.log()[-4000:]
