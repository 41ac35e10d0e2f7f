"""Alert rules: each is tested, has its section in the runbook, and asks for metrics that exist."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

from benchmarks.alerts.faults import FAULTS
from services.alert_log.configuration import configuration
from services.alert_log.settings import AlertLogSettings
from tests.prometheus import faster_rules

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GROUPS = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDS = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
NOT_OURS = {"up"}


def tool(*command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (Debian: prometheus, prometheus-alertmanager)")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_rules_and_configuration() -> None:
    tool("promtool", "check", "rules", "rules.yml")
    tool("promtool", "check", "config", "prometheus.yml")


def test_every_alert_fires_on_its_fault_is_silent_before_and_clears() -> None:
    tool("promtool", "test", "rules", "rules_test.yml")


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_tested_three_times_and_has_a_section_in_the_runbook(rule: dict[str, object]) -> None:
    name = str(rule["alert"])
    cases = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    own = [[test for test in case["alert_rule_test"] if test["alertname"] == name] for case in cases]
    assert sum(len(tests) == 1 for tests in own) == 1, "silent in the run without faults"
    assert [[bool(test["exp_alerts"]) for test in tests] for tests in own if len(tests) == 3] == [[False, True, False]]
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert f"\n## {name}\n" in runbook
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"  # type: ignore[index]


def test_rules_made_faster_differ_by_one_number_alone(tmp_path: Path) -> None:
    """What `python -m benchmarks alerts` judges with."""
    text = (PROMETHEUS / "rules.yml").read_text()
    rules = yaml.safe_load(faster_rules(text, 20))["groups"]
    by_name = {rule["alert"]: rule for group in rules for rule in group["rules"] if "alert" in rule}
    stale = by_name["DataStale"]
    assert stale["expr"] == "sum by (exchange, market) (increase(collector_frames_received_total[15000ms])) == 0"
    assert (stale["for"], by_name["GapLeftOpen"]["for"]) == ("750ms", "30000ms")
    assert by_name["RateDropped"]["expr"].endswith("count_over_time(tapeline:frames:rate5m[4320000ms]) > 120")
    assert [rule.get("annotations") for group in rules for rule in group["rules"]] == [
        rule.get("annotations") for group in GROUPS for rule in group["rules"]
    ]
    (tmp_path / "rules.yml").write_text(faster_rules(text, 20))
    tool("promtool", "check", "rules", str(tmp_path / "rules.yml"))


def test_every_alert_has_a_fault_that_it_must_fire_on() -> None:
    known = {rule["alert"] for rule in ALERTS}
    assert {name for fault in FAULTS for name, _ in fault.fires} == known
    assert {name for fault in FAULTS for name in fault.consequences} <= known


def test_rules_ask_for_metrics_that_exist() -> None:
    for path in ROOT.glob("services/**/metrics.py"):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    known = {
        name + suffix
        for family in REGISTRY.collect()
        for name in (family.name,)
        for suffix in ("", "_total", "_bucket", "_count", "_sum")
    }
    text = "\n".join(str(rule["expr"]) for group in GROUPS for rule in group["rules"])
    asked = set(re.findall(r"\b(?:tapeline|collector|normaliser|storage_batcher|gap_backfill)_[a-z_]+", text))
    assert asked
    assert not asked - known - RECORDS - NOT_OURS


def test_alertmanager_sends_to_the_log_alone_unless_more_is_set(tmp_path: Path) -> None:
    plain = yaml.safe_load(configuration(AlertLogSettings.load()))
    assert plain["receivers"] == [
        {"name": "everywhere", "webhook_configs": [{"url": "http://alert-log:8070/alerts", "send_resolved": True}]}
    ]
    (tmp_path / "plain.yml").write_text(yaml.safe_dump(plain))
    tool("amtool", "check-config", str(tmp_path / "plain.yml"))


def test_alertmanager_sends_mail_and_telegram_by_settings(tmp_path: Path) -> None:
    settings = AlertLogSettings.load(
        email_to="desk@example.org",
        email_from="tapeline@example.org",
        smtp_server="mail.example.org:587",
        smtp_user="tapeline",
        smtp_password="of-the-mail",
        telegram_token="of-the-bot",
        telegram_chat=-100,
    )
    text = configuration(settings)
    receiver = yaml.safe_load(text)["receivers"][0]
    assert receiver["email_configs"][0]["auth_password"] == "of-the-mail"
    assert receiver["telegram_configs"][0]["chat_id"] == -100
    assert "of-the" not in repr(settings)
    (tmp_path / "whole.yml").write_text(text)
    tool("amtool", "check-config", str(tmp_path / "whole.yml"))
