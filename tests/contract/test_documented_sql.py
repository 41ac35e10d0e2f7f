"""Every SQL statement of the README and the docs runs on the tables as they are declared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.runtime.migrations import migrate
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import ClickhouseServer, run_clickhouse

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def statements() -> list[tuple[str, str]]:
    """(page, statement) of every ```sql block, and of every `tapeline sql '...'`."""
    found: list[tuple[str, str]] = []
    for page in PAGES:
        text = page.read_text()
        for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL):
            found += [(page.name, part.strip()) for part in block.split(";") if part.strip()]
        found += [(page.name, part) for part in re.findall(r"tapeline sql '(SELECT [^'.]*tapeline\.[^']*)'", text)]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("sql")) as running:
        yield running


@pytest.fixture
async def warehouse(server: ClickhouseServer) -> Warehouse:
    made = Warehouse(server.url)
    await migrate(made)
    return made


def test_the_readme_has_statements() -> None:
    assert len([page for page, _ in statements() if page == "README.md"]) >= 4


@pytest.mark.parametrize(("page", "statement"), statements())
async def test_it_runs(warehouse: Warehouse, page: str, statement: str) -> None:
    await warehouse.query(statement)
    await warehouse.close()
