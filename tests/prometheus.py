"""Debian's Prometheus and Alertmanager over running services, with the rules as they are delivered or made faster.

Faster means: every duration of rules and configuration is divided by one number; expressions, thresholds and counts
of samples stay as they are. Rules that hold at this pace hold at the other.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests import grafana
from tests.pipeline import until

DELIVERED = Path(__file__).parents[1] / "deploy" / "prometheus"
PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def faster(duration: str, factor: float) -> str:
    """Divide a duration such as `5m`, to the millisecond."""
    return f"{round(int(duration[:-1]) * SECONDS[duration[-1]] * 1000 / factor)}ms"


def faster_rules(text: str, factor: float) -> str:
    """Divide each `for:` and each range of the rules."""
    rules = yaml.safe_load(text)
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[(\d+[smhd])\]", lambda found: f"[{faster(found[1], factor)}]", rule["expr"])
            if "for" in rule:
                rule["for"] = faster(rule["for"], factor)
    return str(yaml.safe_dump(rules, sort_keys=False, width=1000))


@contextmanager
def run_prometheus(
    folder: Path, health: Mapping[str, str], factor: float = 15, alertmanager: str | None = None
) -> Iterator[grafana.Prometheus]:
    """Run Prometheus with our configuration over the services at `health` (service -> URL).

    `factor` makes it so many times faster; `alertmanager` (host:port) is told what fires.
    """
    folder.mkdir(parents=True, exist_ok=True)
    configuration = yaml.safe_load((DELIVERED / "prometheus.yml").read_text())
    configuration["global"] = {name: faster(value, factor) for name, value in configuration["global"].items()}
    (folder / "rules.yml").write_text(faster_rules((DELIVERED / "rules.yml").read_text(), factor))
    del configuration["alerting"]
    if alertmanager is not None:
        configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [
        {"targets": [health[labels["service"]].removeprefix("http://")], "labels": labels}
        for labels in (target["labels"] for target in job["static_configs"])
        if labels["service"] in health
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    # Notices of what still fires are repeated each minute at the delivered pace.
    again = faster("1m", factor)
    command = [
        str(PROMETHEUS), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--rules.alert.resend-delay={again}",
    ]  # fmt: skip
    with _serving(command, folder / "prometheus.log") as address:
        yield grafana.Prometheus(f"http://{address}")


@contextmanager
def run_alertmanager(folder: Path, configuration: str, webhook: str, factor: float) -> Iterator[str]:
    """Run Alertmanager with alert-log's configuration, made faster; yields its host:port.

    `webhook` is where alert-log listens in fact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = yaml.safe_load(configuration)
    for name in ("group_wait", "group_interval"):
        whole["route"][name] = faster(whole["route"][name], factor)
    whole["receivers"][0]["webhook_configs"][0]["url"] = webhook
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(whole))
    command = [
        str(ALERTMANAGER), f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'state'}",
        "--cluster.listen-address=",
    ]  # fmt: skip
    with _serving(command, folder / "alertmanager.log") as address:
        yield address


@contextmanager
def _serving(command: list[str], log: Path) -> Iterator[str]:
    """Run a server on a free port, its log as JSON; yields its host:port once it is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--web.listen-address=127.0.0.1:0", "--log.format=json"], stdout=output, stderr=output
        )

    def ready() -> str | None:
        assert process.poll() is None, log.read_text()[-3000:]
        for line in log.read_text().splitlines():
            said: dict[str, Any] = json.loads(line)
            if said.get("msg") == "Listening on":
                try:
                    with urllib.request.urlopen(f"http://{said['address']}/-/ready", timeout=5):
                        return str(said["address"])
                except urllib.error.URLError:
                    return None
        return None

    try:
        yield until(ready, f"{Path(command[0]).name} is ready")
    finally:
        process.terminate()
        process.wait(30)
