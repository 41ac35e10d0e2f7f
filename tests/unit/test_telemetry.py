"""Metric names and log keys are closed lists: a search or a dashboard may rely on them."""

from __future__ import annotations

import ast
import importlib
from collections import Counter as Tally
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from services.normaliser.desk import Counters
from services.normaliser.metrics import DUPLICATES, FRAMES, RECORDS, Meter
from services.shared.runtime.logs import KEYS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "services").rglob("*.py"))
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/metrics.py"))
LEVELS = {"debug", "info", "warning", "error"}
BOUND = {"bind", *LEVELS}


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("service", SERVICES)
def test_a_metric_is_named_after_its_service_and_its_unit(service: str) -> None:
    module = importlib.import_module(f"services.{service}.metrics")
    found = [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]
    assert found
    for metric in found:
        name = metric.describe()[0].name
        assert name.startswith(f"{service}_"), name
        assert len(metric.describe()[0].documentation) > 10, name


def test_metrics_are_declared_in_metrics_modules_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        if path.name != "metrics.py"
        for call in calls(path)
        if (isinstance(call.func, ast.Name) and call.func.id in ("Gauge", "Histogram", "Summary"))
        or (isinstance(call.func, ast.Name) and call.func.id == "Counter" and len(call.args) > 1)
    ]
    assert wrong == []


def test_log_lines_use_known_keys_and_constant_events() -> None:
    wrong: list[str] = []
    for path in SOURCES:
        for call in calls(path):
            function = call.func
            if not isinstance(function, ast.Attribute) or function.attr not in BOUND:
                continue
            owner = function.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if name.strip("_") not in ("log", "logger"):
                continue
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            wrong += [f"{where} {word.arg}" for word in call.keywords if word.arg is not None and word.arg not in KEYS]
            if function.attr in LEVELS and not (call.args and isinstance(call.args[0], ast.Constant)):
                wrong.append(f"{where} event is not a constant")
    assert wrong == []


def sample(name: str, **labels: str) -> float:
    from prometheus_client import REGISTRY

    registry: CollectorRegistry = REGISTRY
    return registry.get_sample_value(name, labels) or 0.0


def test_the_normalisers_counters_reach_its_metrics_once() -> None:
    assert FRAMES and DUPLICATES and RECORDS
    before = sample("normaliser_frames_read_total"), sample("normaliser_records_made_total", kind="test")
    counters = Counters(frames=5, records=Tally(test=3))
    meter = Meter(15)
    meter.report(counters, pending=7)
    meter.report(counters, pending=7)
    counters.frames += 1
    meter.report(counters, pending=6)
    meter.restart()
    meter.report(Counters(frames=2), pending=0)
    assert sample("normaliser_frames_read_total") - before[0] == 8
    assert sample("normaliser_records_made_total", kind="test") - before[1] == 3
    assert sample("normaliser_messages_pending", partition="15") == 0
