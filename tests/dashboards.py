"""Grafana's dashboards: `grafana/source/*.yaml` is what a person edits, `grafana/dashboards/*.json` what Grafana loads.

A source names a dashboard's rows of panels. A panel has `title`, `description`, and `sql` (a statement in the words of
Grafana's ClickHouse data source) or `promql` (legend -> expression); the rest may be left out:

* `type`: timeseries (default), bars, stat, table, candlestick; `width` of 24 and `height` in grid units;
* `unit`, `decimals`, `max`; `units`: column of a table -> unit; `thresholds`: value -> colour from there on;
* `series`: how a series is named; `repeat`: a variable that gives each of its values a panel;
* `min_interval`: shortest interval; `instant`: PromQL of the range's end only.

Two words in capitals stand for what many panels share: INSTRUMENTS for the filter by instrument and time, which is in
the order of every table's sort key, SERIES and PAIR for names of series.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "grafana" / "source"
DASHBOARDS = ROOT / "grafana" / "dashboards"

CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "clickhouse"}
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}

INSTRUMENTS = (
    "exchange IN (${exchange:singlequote}) AND market IN (${market:singlequote}) "
    "AND symbol IN (${symbol:singlequote}) AND $__timeFilter(timestamp)"
)
SERIES = {
    "SERIES": "${__field.labels.exchange} ${__field.labels.symbol}",
    "PAIR": (
        "${__field.labels.exchange} ${__field.labels.symbol} / "
        "${__field.labels.other_exchange} ${__field.labels.other_symbol}"
    ),
}
FORMATS = {"table": ("table", 1), "timeseries": ("timeSeries", 0), "candlestick": ("table", 1)}
"""By type of panel: the query type and format that the ClickHouse data source knows it by."""
KNOWN = {
    "title", "type", "description", "sql", "promql", "width", "height", "unit", "units", "decimals", "max",
    "thresholds", "series", "repeat", "min_interval", "instant",
}  # fmt: skip

_LISTED = " UNION DISTINCT ".join(
    f"SELECT DISTINCT {{column}} FROM tapeline.{table} WHERE {{before}}$__timeFilter(timestamp)"
    for table in ("tickers", "candles")
)
"""What a variable can be: all that told its figures of 24 hours, or closed a candle, within the range."""
VARIABLES: dict[str, dict[str, Any]] = {
    "exchange": {"before": "", "default": None},
    "market": {"before": "exchange IN (${exchange:singlequote}) AND ", "default": None},
    "symbol": {
        "before": "exchange IN (${exchange:singlequote}) AND market IN (${market:singlequote}) AND ",
        "default": "BTC-USDT-PERP",
    },
}
INTERVALS = ("1m", "5m", "30m", "4h", "1d")


def dashboards() -> dict[Path, str]:
    """Return every dashboard's file and what it must hold."""
    made = {}
    for source in sorted(SOURCES.glob("*.yaml")):
        board = _dashboard(source.stem, yaml.safe_load(source.read_text()))
        made[DASHBOARDS / f"{source.stem}.json"] = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
    return made


def main() -> None:
    """Write every dashboard."""
    for path, text in dashboards().items():
        path.write_text(text)


def _dashboard(name: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "uid": f"tapeline-{name}",
        "title": source["title"],
        "description": source["description"],
        "tags": ["tapeline"],
        "editable": False,
        "graphTooltip": 1,
        "links": [
            {"type": "dashboards", "title": "tapeline", "tags": ["tapeline"], "keepTime": True, "includeVars": True}
        ],
        "panels": _placed(source["rows"]),
        "refresh": "30s",
        "schemaVersion": 41,
        "templating": {"list": [_variable(variable) for variable in source["variables"]]},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
    }


def _placed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows and panels where they stand: from left to right, as many side by side as have room."""
    made: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": row["title"],
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
            }
        )
        top, left, tallest = top + 1, 0, 0
        for source in row["panels"]:
            width, height = source.get("width", 12), source.get("height", 8)
            if left + width > 24:
                top, left, tallest = top + tallest, 0, 0
            place = {"x": left, "y": top, "w": width, "h": height}
            made.append({"id": len(made) + 1, "gridPos": place, **_panel(source)})
            left, tallest = left + width, max(tallest, height)
        top += tallest
    return made


def _panel(source: dict[str, Any]) -> dict[str, Any]:
    unknown = set(source) - KNOWN
    if unknown:
        raise ValueError(f"panel {source['title']!r} says {sorted(unknown)}; known are {sorted(KNOWN)}")
    kind = source.get("type", "timeseries")
    panel: dict[str, Any] = {
        "type": "timeseries" if kind == "bars" else kind,
        "title": source["title"],
        "description": source["description"],
        "datasource": CLICKHOUSE if "sql" in source else PROMETHEUS,
        "fieldConfig": {"defaults": _defaults(source, kind), "overrides": _overrides(source)},
        "options": _options(kind),
        "targets": _targets(source, "timeseries" if kind in ("bars", "stat") else kind),
    }
    if "repeat" in source:
        panel |= {"repeat": source["repeat"], "repeatDirection": "h", "maxPerRow": 2}
    if "min_interval" in source:
        panel["interval"] = source["min_interval"]
    return panel


def _targets(source: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    if "sql" in source:
        query_type, number = FORMATS[kind]
        return [
            {
                "refId": "A",
                "datasource": CLICKHOUSE,
                "editorType": "sql",
                "queryType": query_type,
                "format": number,
                "rawSql": re.sub(r"\bINSTRUMENTS\b", lambda _: INSTRUMENTS, source["sql"]).strip(),
            }
        ]
    instant = source.get("instant", False)
    return [
        {
            "refId": chr(ord("A") + number),
            "datasource": PROMETHEUS,
            "editorMode": "code",
            "expr": expression,
            "legendFormat": legend,
            "instant": instant,
            "range": not instant,
            "format": "table" if instant else "time_series",
        }
        for number, (legend, expression) in enumerate(source["promql"].items())
    ]


def _defaults(source: dict[str, Any], kind: str) -> dict[str, Any]:
    steps = source.get("thresholds", {0: "green"})
    made: dict[str, Any] = {
        "unit": source.get("unit", "short" if kind in ("timeseries", "bars") else "none"),
        "thresholds": {
            "mode": "absolute",
            # The first colour holds from minus infinity on.
            "steps": [
                {"color": colour, "value": None if number == 0 else value}
                for number, (value, colour) in enumerate(steps.items())
            ],
        },
    }
    if "series" in source:
        made["displayName"] = SERIES.get(source["series"], source["series"])
    for name in ("decimals", "max"):
        if name in source:
            made[name] = source[name]
    if kind == "bars":
        made["custom"] = {"drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0, "stacking": {"mode": "normal"}}
    if kind == "timeseries":
        made["custom"] = {"drawStyle": "line", "showPoints": "auto", "spanNulls": False}
        if "thresholds" in source:
            made["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    if kind == "table" and "thresholds" in source:
        made["custom"] = {"cellOptions": {"type": "color-text"}}
        made["color"] = {"mode": "thresholds"}
    return made


def _overrides(source: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "unit", "value": unit}]}
        for column, unit in source.get("units", {}).items()
    ]


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "auto"}
    if kind == "table":
        return {"cellHeight": "sm", "showHeader": True}
    if kind == "candlestick":
        return {"mode": "candles+volume", "includeAllFields": False}
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _variable(name: str) -> dict[str, Any]:
    if name == "interval":
        chosen = INTERVALS[0]
        return {
            "name": name,
            "label": "Candles",
            "type": "custom",
            "query": ",".join(INTERVALS),
            "current": {"text": chosen, "value": chosen},
            "options": [{"text": one, "value": one, "selected": one == chosen} for one in INTERVALS],
        }
    known = VARIABLES[name]
    default = known["default"]
    chosen_one = {"text": [default], "value": [default]} if default else {"text": ["All"], "value": ["$__all"]}
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": CLICKHOUSE,
        "query": _LISTED.format(column=name, before=known["before"]),
        "current": chosen_one,
        "includeAll": True,
        "multi": True,
        "refresh": 2,
        "sort": 1,
    }


if __name__ == "__main__":
    main()
