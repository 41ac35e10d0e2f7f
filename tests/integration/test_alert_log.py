"""alert-log as Alertmanager meets it: notifications become log lines, and its configuration is there before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from tests.pipeline import TAPELINE, until

NOTIFICATION = {
    "version": "4",
    "status": "firing",
    "receiver": "everywhere",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "ProcessDown", "service": "normaliser", "job": "tapeline"},
            "annotations": {"summary": "normaliser does not answer", "runbook": "docs/runbook.md#processdown"},
        },
        {"status": "resolved", "labels": {"alertname": "DiskFull"}, "annotations": {}},
    ],
}


def post(port: int, body: bytes) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/alerts", data=body, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_alerts_become_log_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    own = {
        "TAPELINE_DATA_DIR": str(tmp_path),
        "TAPELINE_ALERT_LOG_PORT": "0",
        "TAPELINE_ALERT_LOG_TELEGRAM_TOKEN": "of-the-bot",
        "TAPELINE_ALERT_LOG_TELEGRAM_CHAT": "7",
        "TAPELINE_LOG_FORMAT": "json",
        "TAPELINE_ALERT_LOG_EMAIL_TO": "",
    }
    with log.open("wb") as output:
        process = subprocess.Popen([TAPELINE, "alert-log"], env={**os.environ, **own}, stdout=output, stderr=output)
    try:

        def said(event: str) -> list[dict[str, object]]:
            lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
            return [line for line in lines if line["event"] == event]

        (awaited,) = until(lambda: said("alerts_awaited"), "it listens")
        port = int(str(awaited["port"]))
        (receiver,) = yaml.safe_load(Path(str(awaited["path"])).read_text())["receivers"]
        assert receiver["telegram_configs"][0]["bot_token"] == "of-the-bot"
        assert post(port, json.dumps(NOTIFICATION).encode()) == 200
        assert post(port, b"{}") == 400
        (firing,) = said("alert_firing")
        assert (firing["level"], firing["name"], firing["value"]) == ("warning", "ProcessDown", "service=normaliser")
        assert firing["reason"] == "normaliser does not answer"
        assert [line["name"] for line in said("alert_resolved")] == ["DiskFull"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "of-the-bot" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_half_a_mail_setting_stops_the_start() -> None:
    own = {
        "TAPELINE_ALERT_LOG_EMAIL_TO": "desk@example.org",
        "TAPELINE_ALERT_LOG_SMTP_PASSWORD": "of-the-mail",
        "TAPELINE_NATS_PASSWORD": "of-the-bus",
    }
    done = subprocess.run([TAPELINE, "alert-log"], env={**os.environ, **own}, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr == b"tapeline alert-log: alerts by mail need email_to, email_from and smtp_server\n"
