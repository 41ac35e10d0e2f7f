"""Every SQL statement of the README, the docs and the services' pages runs on the tables as they are declared."""

from __future__ import annotations

import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.runtime.migrations import migrate
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import ClickhouseServer, run_clickhouse

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "services").glob("*/README.md")))
WRITTEN = (
    r"```sql\n(?P<block>.*?)```",
    r"`(?P<inline>(?:SELECT|WITH|INSERT|ALTER|CREATE|OPTIMIZE|SHOW|SYSTEM)\b[^`]*)`",
    r"'(?P<quoted>(?:SELECT|WITH)\b[^']*)'",
    r'"(?P<double>(?:SELECT|WITH)\b[^"]*)"',
    r"\?query=(?P<url>[^'\"`\s]+)",
)
"""The ways in which a page writes a statement."""
BEGINS = re.compile(r"\b(?:SELECT|INSERT INTO|INSERT\b.*SELECT)\b")
ABRIDGED = "..."
"""What stands for something in a form that is explained: such a text is no statement."""


def written(text: str) -> Iterator[tuple[range, str]]:
    """(where, statement) of everything on a page that is written as one, forms among them."""
    for found in re.finditer("|".join(WRITTEN), text, re.DOTALL):
        kind = str(found.lastgroup)
        whole = found[kind]
        for part in whole.split(";") if kind == "block" else [whole]:
            statement = urllib.parse.unquote_plus(part) if kind == "url" else part
            if statement.strip():
                yield range(*found.span()), statement.strip()


def statements() -> list[tuple[str, str]]:
    """(page, statement) of all that can be run."""
    return [
        (str(page.relative_to(ROOT)), statement)
        for page in PAGES
        for _, statement in written(page.read_text())
        if ABRIDGED not in statement
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_statement_of_a_page_is_left_out(page: Path) -> None:
    text = page.read_text()
    spans = [span for span, _ in written(text)]
    for found in BEGINS.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        assert any(found.start() in span for span in spans), f"{page.name}:{line} has a statement that nobody runs"


def test_pages_have_statements() -> None:
    pages = Counter(page for page, _ in statements())
    assert pages["README.md"] >= 6
    assert pages["docs/runbook.md"] >= 3
    assert pages["docs/arbitrage.md"] >= 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("sql")) as running:
        yield running


@pytest.fixture
async def warehouse(server: ClickhouseServer) -> Warehouse:
    made = Warehouse(server.url)
    await migrate(made)
    return made


@pytest.mark.parametrize(("page", "statement"), statements())
async def test_it_runs(warehouse: Warehouse, page: str, statement: str) -> None:
    await warehouse.query(statement)
    await warehouse.close()
