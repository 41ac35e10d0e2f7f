"""Dashboards as Grafana asks them: macros and variables expanded, statements sent, answers as rows.

The macros are those of Grafana's ClickHouse data source (github.com/grafana/clickhouse-datasource,
`pkg/macros/macros.go`), the variables Grafana's: `:singlequote` quotes each value of a list, and a regular expression
of PromQL joins them.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[1] / "grafana" / "dashboards"


@dataclass(frozen=True)
class View:
    """What a person has chosen: the range (seconds UTC), seconds between points, and each variable's values."""

    begin: int
    end: int
    interval_s: int
    variables: Mapping[str, Sequence[str]]

    def of(self, **variables: str) -> View:
        """Return this view with other values chosen."""
        return replace(self, variables={**self.variables, **{name: (value,) for name, value in variables.items()}})

    def sql(self, statement: str) -> str:
        """Expand a statement. Raises AssertionError for a macro or variable that is not known."""
        text = re.sub(r"\$\{(\w+)(?::(\w+))?\}", self._variable, statement)
        return re.sub(r"\$__(\w+)(?:\((\w+)\))?", self._macro, text)

    def promql(self, expression: str) -> str:
        """Expand an expression."""
        known = {"__rate_interval": "1m", "__range": f"{self.end - self.begin}s", "__interval": f"{self.interval_s}s"}
        known |= {name: f"({'|'.join(values)})" for name, values in self.variables.items()}
        return re.sub(r"\$(\w+)", lambda found: known[found[1]], expression)

    def _variable(self, found: re.Match[str]) -> str:
        values = self.variables[found[1]]
        if found[2] == "singlequote":
            return ",".join(f"'{value}'" for value in values)
        assert found[2] is None and len(values) == 1, f"{found[0]} stands for one value"
        return values[0]

    def _macro(self, found: re.Match[str]) -> str:
        name, argument = found[1], found[2]
        known = {
            "fromTime": f"toDateTime({self.begin})",
            "toTime": f"toDateTime({self.end})",
            "timeFilter": f"{argument} >= toDateTime({self.begin}) AND {argument} <= toDateTime({self.end})",
            "timeInterval": f"toStartOfInterval(toDateTime({argument}), INTERVAL {self.interval_s} second)",
            "interval_s": str(self.interval_s),
        }
        assert name in known, f"{found[0]} is no macro of the data source that is known here; known are {sorted(known)}"
        return known[name]


@dataclass(frozen=True)
class Query:
    """One question of a panel or of a variable."""

    dashboard: str
    panel: str
    text: str
    is_sql: bool
    instant: bool = False

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}"


def boards() -> dict[str, dict[str, Any]]:
    """Every dashboard by the name of its file, as Grafana loads it."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """(dashboard, panel) of all but headings."""
    for name, board in boards().items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield name, panel


def queries() -> list[Query]:
    """Every question of every panel and variable."""
    found = []
    for name, panel in panels():
        for target in panel["targets"]:
            text = target.get("rawSql") or target["expr"]
            found.append(Query(name, panel["title"], text, "rawSql" in target, target.get("instant", False)))
    for name, board in boards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found.append(Query(name, f"variable {variable['name']}", variable["query"], True))
    return found


def query(dashboard: str, panel: str) -> str:
    """The text of the only question of one panel."""
    (found,) = [one.text for one in queries() if (one.dashboard, one.panel) == (dashboard, panel)]
    return found


class Prometheus:
    """What a running Prometheus answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP interface; return `data` of the answer. Raises urllib.error.HTTPError where it refuses."""
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            said = json.loads(answer.read())
        assert said["status"] == "success", said
        return said["data"]

    def now(self, expression: str) -> dict[tuple[str, ...], float]:
        """Values now, by the labels' values in the labels' order."""
        result = self.get("/api/v1/query", query=expression)["result"]
        return {tuple(v for _, v in sorted(one["metric"].items())): float(one["value"][1]) for one in result}
