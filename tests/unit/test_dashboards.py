"""Dashboards: current, provisioned, complete; every question is bounded and asks for tables and metrics that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from schemas.tables import BY_NAME, VIEWS
from tests import dashboards, grafana

ROOT = Path(__file__).parents[2]
QUERIES = grafana.queries()
SQL = [query for query in QUERIES if query.is_sql]
PROMQL = [query for query in QUERIES if not query.is_sql]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())["groups"]
OF_EVERY_PROCESS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
WORDS = {"by", "on", "or", "le", "and", "sum", "max", "min", "rate", "increase", "histogram_quantile", "vector"}


def test_what_grafana_loads_is_what_the_sources_say() -> None:
    made = dashboards.dashboards()
    assert {path: path.read_text() for path in dashboards.DASHBOARDS.glob("*.json")} == made, "run `make generate`"


def test_the_four_dashboards_are_there_with_every_variable() -> None:
    boards = grafana.boards()
    assert {board["title"] for board in boards.values()} == {"Market", "Arbitrage", "Data quality", "Operations"}
    assert len({board["uid"] for board in boards.values()}) == 4
    for board in boards.values():
        names = [variable["name"] for variable in board["templating"]["list"]]
        assert names == ["exchange", "market", "symbol", "interval"]


def test_grafana_is_told_where_dashboards_and_sources_are() -> None:
    folder = ROOT / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "tapeline.yml").read_text())["providers"]
    grafana_service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana_service["volumes"]
    sources = yaml.safe_load((folder / "datasources" / "tapeline.yml").read_text())["datasources"]
    known = {source["uid"]: source["type"] for source in sources}
    assert grafana_service["environment"]["GF_INSTALL_PLUGINS"] == known["clickhouse"]
    for _, panel in grafana.panels():
        asked = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(known[source["uid"]] == source["type"] for source in asked), panel["title"]


@pytest.mark.parametrize(("name", "panel"), [pytest.param(*one, id=one[1]["title"]) for one in grafana.panels()])
def test_a_panel_says_what_it_shows_and_in_what_unit(name: str, panel: dict[str, Any]) -> None:
    assert len(panel["description"]) > 20, name
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    steps = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert steps[0] is None
    assert steps[1:] == sorted(steps[1:])


def test_panels_stand_side_by_side_and_none_on_another() -> None:
    for name, board in grafana.boards().items():
        taken: dict[tuple[int, int], str] = {}
        for panel in board["panels"]:
            at = panel["gridPos"]
            for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
                assert cell[0] < 24
                assert taken.setdefault(cell, panel["title"]) == panel["title"], (name, cell)


@pytest.mark.parametrize("query", SQL, ids=str)
def test_a_statement_is_bounded_and_names_tables_that_exist(query: grafana.Query) -> None:
    named = re.findall(r"\bFROM (tapeline\.)?(\w+)", query.text)
    views = {view.name for view in VIEWS}
    assert named
    assert all(prefix for prefix, _ in named), named
    assert {table for _, table in named} <= set(BY_NAME) | views
    assert query.text.count("$__timeFilter(timestamp)") == len(named), "once for each table"


@pytest.mark.parametrize("query", PROMQL, ids=str)
def test_an_expression_asks_for_metrics_that_exist(query: grafana.Query) -> None:
    for path in ROOT.glob("services/**/metrics.py"):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    known = {sample for family in REGISTRY.collect() for sample in _samples(family)}
    known |= {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule} | OF_EVERY_PROCESS
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on) \([^)]*\)", "", query.text)
    asked = set(re.findall(r"[a-z_][a-z0-9_:]+", bare)) - WORDS
    assert asked
    assert asked <= known, asked - known


def _samples(family: Any) -> set[str]:
    """What a metric is called when it is asked for, by its type."""
    if family.type == "counter":
        return {f"{family.name}_total"}
    if family.type == "histogram":
        return {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return {family.name}
