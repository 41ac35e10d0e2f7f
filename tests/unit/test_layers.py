"""Who may import whom: the table of docs/architecture.md, held by walking every import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("schemas", "services", "tests", "benchmarks")
CLIENTS = {"nats", "aiohttp", "websockets", "clickhouse_connect", "chdb", "prometheus_client", "structlog", "uvloop"}
IMPURE = CLIENTS | {"asyncio", "time", "logging", "socket", "requests", "urllib", "subprocess", "threading", "random"}
EXCEPTIONS = {
    # A data directory at rest is read without a server: by the engine itself, in this process.
    ("services/command_line/sql.py", "services.embedded_clickhouse.at_rest"),
    # Its core is measured in this process.
    ("services/command_line/bench_normaliser.py", "services.normaliser.core"),
}
SOURCES = sorted(path for top in ("schemas", "services") for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who is imported"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def pure_modules(folder: str) -> tuple[str, ...]:
    """The modules of a service that may do nothing but compute."""
    pure = {
        "normaliser": (
            "core",
            "backfill",
            "desk",
            "lane",
            "numbered_lanes",
            "poll_lane",
            "candle_lane",
            "clock_lane",
            "value_lane",
            "lanes",
            "windows",
            "book",
            "book_lane",
            "stream_book_lane",
            "gaps",
            "listings",
            "saving",
        ),
        "collector": ("budget", "core", "outbox", "plan", "pool", "questions", "universe"),
        "storage_batcher": ("core", "entry", "isolation"),
        "gap_backfill": ("core", "filling", "series", "answers", "findings", "questions"),
        "arbitrage_signal": (
            "exact",
            "fees",
            "terms",
            "inputs",
            "book",
            "leg",
            "walk",
            "opportunity",
            "pair",
            "alarms",
            "signals",
            "saved",
            "core",
            "capital",
            "figures",
            "charts",
        ),
    }
    return pure.get(folder, ())


def violations(path: Path) -> list[str]:
    name = path.relative_to(ROOT).as_posix()
    parts = path.relative_to(ROOT).parts
    bad: list[str] = []
    for module in imports(path):
        top = module.split(".")[0]
        if (name, module.rsplit(".", 1)[0]) in EXCEPTIONS:
            continue
        if parts[0] == "schemas":
            wrong = top in IMPURE or (top in OURS and top != "schemas")
        elif parts[:3] == ("services", "shared", "exchanges"):
            inside = module.startswith(("schemas", "services.shared.exchanges"))
            wrong = top in IMPURE or (top in OURS and not inside)
        elif parts[:3] == ("services", "shared", "runtime"):
            wrong = top in OURS and not module.startswith(("schemas", "services.shared.runtime"))
        else:
            service = parts[1]
            allowed = ("schemas", "services.shared", f"services.{service}")
            wrong = top in OURS and not module.startswith(allowed)
            if service == "exchange_simulator":
                # Its ledger must not share the parsers' code: it would share their misreadings.
                wrong |= module.startswith("services.shared.exchanges")
            if path.stem in pure_modules(service):
                wrong |= top in IMPURE or module.startswith("services.shared.runtime")
        if wrong:
            bad.append(module)
    return bad


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    assert violations(path) == []


def test_the_walk_finds_a_forbidden_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_layers.ROOT", tmp_path)
    bad = tmp_path / "schemas" / "bad.py"
    bad.parent.mkdir()
    bad.write_text("import asyncio\nfrom services.shared.runtime import bus\n")
    assert sorted(violations(bad)) == ["asyncio", "services.shared.runtime.bus"]


@pytest.mark.parametrize("service", ["normaliser", "collector", "storage_batcher", "arbitrage_signal"])
def test_the_pure_modules_are_there(service: str) -> None:
    assert all((ROOT / "services" / service / f"{name}.py").exists() for name in pure_modules(service))


def test_folders_without_python_hold_none() -> None:
    # `nats/__init__.py` would shadow the client library.
    for folder in ("nats", "clickhouse", "grafana", "deploy"):
        assert list((ROOT / folder).rglob("*.py")) == []


def test_subject_names_are_built_in_one_place() -> None:
    prefixes = ('"md.', '"raw.', '"gap.', '"dead.', '"checkpoint.', '"control.', '"signal.')
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if path.parts[len(ROOT.parts)] == "services"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(f"{quote}{prefix[1:]}" in line for prefix in prefixes for quote in ('"', 'f"', "f'"))
    ]
    assert found == []
