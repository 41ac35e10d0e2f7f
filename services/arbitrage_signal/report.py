"""`tapeline arbitrage report`: a day's signals as one HTML file that needs no network, and the same as JSON."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, date, datetime, time
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import orjson
from pydantic import Field

from schemas.errors import PipelineError, SettingsError
from services.arbitrage_signal import charts, stored
from services.arbitrage_signal.figures import figures
from services.arbitrage_signal.terms import SECOND
from services.shared.runtime import flags
from services.shared.runtime.run import EXIT_BROKEN, EXIT_SETTINGS
from services.shared.runtime.settings import Settings
from services.shared.runtime.warehouse import Warehouse

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}"
    "svg{width:100%;font:11px system-ui,sans-serif}table{border-collapse:collapse;font-size:13px}"
    "td,th{padding:3px 10px;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child"
    "{text-align:left}.legend{list-style:none;padding:0;font-size:12px;columns:2}"
    ".legend span{display:inline-block;width:1em;height:.6em;margin-right:.5em}"
)

MOST_LINES = 8
"""Pairs whose spread is drawn: those that came nearest to a profit."""


class ReportSettings(Settings):
    """Which day, and where the report goes."""

    SECTION: ClassVar[str] = "arbitrage_report"

    day: date = Field(description="The day, UTC, such as 2026-11-21.")
    out: Path = Field(Path(), description="Folder for arbitrage-<date>.html and arbitrage-<date>.json.")


def page(data: dict[str, Any]) -> str:
    """Return the report as one HTML page."""
    quotes = ", ".join(sorted({row["quote"] for row in data["best"]})) or "quote currency"
    sections = (
        (
            "Net spread at the best prices, after fees, best of each minute",
            charts.lines(data["spreads"], "percent of the cost"),
        ),
        ("Opportunities by pair and hour of the day (UTC)", charts.hours(data["by_pair_and_hour"])),
        (
            "How long they lasted",
            charts.bars([(row["class"], row["count"]) for row in data["durations"]], "duration", "opportunities"),
        ),
        (
            "Profit by trade size, each opportunity taken when it opened",
            charts.bars([(row["size"], row["profit"]) for row in data["profit_by_size"]], f"size, {quotes}", quotes),
        ),
        (
            "Profit left after a delay, best size",
            charts.bars(
                [(f"{row['delay_s']:g} s", row["profit"]) for row in data["profit_by_delay"]],
                "delay from the signal to the trade",
                quotes,
            ),
        ),
    )
    body = "".join(f"<h2>{escape(title)}</h2>{chart}" for title, chart in sections)
    counts = (
        f"<p>{data['opportunities']} opportunities, {data['confirmed']} confirmed, {data['still_open']} still open.</p>"
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Arbitrage {escape(data["day"])}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Arbitrage, {escape(data['day'])}</h1>{counts}{body}"
        f"<h2>The best</h2>{_table(data['best'])}</body></html>\n"
    )


def _table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        opened = datetime.fromtimestamp(row["opened_at"] / SECOND, UTC)
        cells = (
            row["pair"],
            f"{opened:%H:%M:%S}",
            f"{row['duration_s']:.1f} s",
            f"{row['size']} {row['quote']}",
            f"{float(row['peak_net']):,.2f}",
            f"{float(row['peak_net_percent']):.3f}%",
            "yes" if row["confirmed"] else "no",
        )
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    heads = ("buy > sell", "opened", "lasted", "size", "peak net", "peak net", "confirmed")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


async def data_of(warehouse: Warehouse, day: date) -> dict[str, Any]:
    """Return what the report of a day shows. Raises Busy, Broken."""
    begin = int(datetime.combine(day, time(), UTC).timestamp()) * SECOND
    end = begin + stored.DAY_US
    opportunities = await stored.signals(warehouse, "arbitrage_opportunities", begin, end)
    spreads = await stored.nearest_spreads(warehouse, begin, end, MOST_LINES)
    return figures(day.isoformat(), begin, opportunities, spreads)


async def _work(settings: ReportSettings) -> list[Path]:
    async with Warehouse.of(settings, timeout_s=600) as warehouse:
        data = await data_of(warehouse, settings.day)
    stem = settings.out / f"arbitrage-{settings.day.isoformat()}"
    settings.out.mkdir(parents=True, exist_ok=True)
    html, plain = stem.with_suffix(".html"), stem.with_suffix(".json")
    html.write_text(page(data), encoding="utf-8")
    plain.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    return [html, plain]


def main() -> int:
    """Write a report; exit status 0, 1 when it cannot be done, 2 when a setting is wrong."""
    try:
        settings = ReportSettings.load(**flags.parse(ReportSettings, "tapeline arbitrage report", sys.argv[1:]))
        paths = asyncio.run(_work(settings))
    except SettingsError as error:
        sys.stderr.write(f"tapeline arbitrage report: {error}\n")
        return EXIT_SETTINGS
    except (PipelineError, OSError) as error:
        sys.stderr.write(f"tapeline arbitrage report: {error}\n")
        return EXIT_BROKEN
    sys.stdout.write("".join(f"{path}\n" for path in paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
