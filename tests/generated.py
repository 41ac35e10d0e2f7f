"""Texts that are generated from the code: `python -m tests.generated` writes them, a test holds them current."""

from __future__ import annotations

import re
from pathlib import Path

from schemas import accounts, json_schema, tables
from services.alert_log.settings import AlertLogSettings
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from services.collector.settings import CollectorSettings
from services.command_line.provision_settings import MigrateSettings, StreamsSettings
from services.command_line.settings import PipelineSettings
from services.embedded_clickhouse.settings import EmbeddedClickhouseSettings
from services.exchange_simulator.settings import SimulatorSettings
from services.gap_backfill.settings import GapBackfillSettings
from services.normaliser.settings import NormaliserSettings
from services.shared.exchanges import offered
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.flags import default_text
from services.shared.runtime.settings import Settings
from services.storage_batcher.settings import StorageBatcherSettings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SETTINGS = ROOT / "docs" / "settings.md"
RESULTS = ROOT / "benchmarks" / "results"
QUOTED = ("storage",)
ACCOUNTS = ROOT / "nats" / "accounts.conf"

SECTIONS: tuple[type[Settings], ...] = (
    PipelineSettings,
    CollectorSettings,
    GapBackfillSettings,
    NormaliserSettings,
    StorageBatcherSettings,
    StreamsSettings,
    MigrateSettings,
    ArbitrageSignalSettings,
    EmbeddedClickhouseSettings,
    SimulatorSettings,
    AlertLogSettings,
)


def settings_page() -> str:
    """Return docs/settings.md: every setting with its variable, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Generated from the code by `make generate`. From `tapeline.yaml` (shared ones at the top, a service's in its",
        "section), then these environment variables, then flags of the same name; the later one wins.",
        "",
        "## Shared by every service",
        "",
        *_rows(Settings, list(Settings.model_fields)),
    ]
    for section in SECTIONS:
        own = [name for name in section.model_fields if name not in Settings.model_fields]
        lines += ["", f"## Section `{section.SECTION}`", "", (section.__doc__ or "").strip().splitlines()[0], ""]
        lines += _rows(section, own)
    return "\n".join(lines) + "\n"


def _rows(section: type[Settings], names: list[str]) -> list[str]:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name in names:
        field = section.model_fields[name]
        description = (field.description or "").replace("|", "\\|")
        default = default_text(field.get_default(call_default_factory=True))
        lines.append(f"| `{section.variable(name)}` | `{default}` | {description} |")
    return lines


def tables_block() -> str:
    """Return the README's list of tables."""
    lines = ["| table | subjects | kept | holds |", "|---|---|---|---|"]
    for table in tables.TABLES:
        kept = _kept(table)
        lines.append(f"| `{table.name}` | `{table.subject}` | {kept} | {table.description} |")
    views = ", ".join(f"`{view.name}`" for view in tables.VIEWS)
    return "\n".join([*lines, "", f"Views: {views}."])


def _kept(table: tables.Table) -> str:
    if table.name == "candles":
        parts = [f"{interval} {days} days" for interval, days in tables.CANDLE_RETENTION_DAYS.items()]
        return ", ".join([*parts, "others for ever"])
    found = re.search(r"toIntervalDay\((\d+)\)", table.ttl or "")
    if found is None:
        return "for ever"
    return "1 day" if found[1] == "1" else f"{found[1]} days"


def kinds_block() -> str:
    """Return the README's table of what is collected: a kind of record by exchange market."""
    markets = [market for market in MARKETS.values() if not market.withdrawn]
    lines = [f"| | {' | '.join(f'{market.exchange} {market.market}' for market in markets)} |"]
    lines.append(f"|---|{'---|' * len(markets)}")
    for kind in offered.KINDS:
        cells = [" ".join(_sources(market, kind)) or "not offered" for market in markets]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sources(market: Market, kind: str) -> list[str]:
    """Return the streams and endpoints that a market's records of one kind come from."""
    channels, polled = offered.sources(market, kind)
    streams = [channel.stream("SYMBOL") or channel.name for channel in channels]
    if len(streams) > 1:
        streams = [f"{streams[0]} and {len(streams) - 1} more"]
    paths = dict.fromkeys(poll.endpoint for poll in polled)
    return [f"`{source}`" for source in (*streams, *paths)]


def results_block() -> str:
    """Return what the README quotes of `benchmarks/results/`: the last table of each in `QUOTED`, and its stamp."""
    found = []
    for name in QUOTED:
        text = (RESULTS / f"{name}.md").read_text()
        found.append(text[text.rindex("\n## ") :].split("\n\n", 1)[1].strip())
    return "\n\n".join(found)


def symbols_block() -> str:
    """Return what `python -m benchmarks symbols` told last."""
    kept = RESULTS / "symbols.md"
    return kept.read_text().strip() if kept.exists() else "Not measured yet."


def readme() -> str:
    """Return README.md with its generated blocks made anew."""
    text = README.read_text()
    blocks = {
        "tables": tables_block(),
        "kinds": kinds_block(),
        "symbols": symbols_block(),
        "results": results_block(),
    }
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text)  # type: ignore[misc]
    return text


def main() -> None:
    """Write every generated text."""
    json_schema.main()
    SETTINGS.write_text(settings_page())
    README.write_text(readme())
    ACCOUNTS.write_text(accounts.accounts_conf())


if __name__ == "__main__":
    main()
