"""`tapeline`: one program for everything a person or a container starts."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
import uvloop
from rich.console import Console

from schemas.errors import PipelineError, SettingsError
from services.command_line import arbitrage, bench
from services.shared.runtime import logs
from services.shared.runtime.run import EXIT_BROKEN, EXIT_SETTINGS
from services.shared.runtime.settings import Settings

app = typer.Typer(
    name="tapeline",
    help="Records what crypto exchanges say, completely and exactly: NATS subjects, ClickHouse tables, signals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(arbitrage.app)
app.add_typer(bench.app)

DataDir = Annotated[Path | None, typer.Option("--data", help="The pipeline's data directory.", metavar="DIR")]


def _names(text: str | None) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


@app.command()
def up(
    simulate: Annotated[bool, typer.Option("--simulate", help="Generated markets in place of the exchanges.")] = False,
    replay: Annotated[
        Path | None, typer.Option(help="Recorded sessions in place of the exchanges.", metavar="DIR")
    ] = None,
    pace: Annotated[
        float | None, typer.Option(help="Of a replay: 1 as recorded, N times that, 0 as fast as it is read.")
    ] = None,
    exchanges: Annotated[str | None, typer.Option(help="Such as binance,okx.")] = None,
    symbols: Annotated[str | None, typer.Option(help="Such as BTC-USDT,BTC-USDT-PERP; simulated: how many.")] = None,
    for_: Annotated[float | None, typer.Option("--for", help="End after so many seconds.", metavar="SECONDS")] = None,
    until_drained: Annotated[
        bool, typer.Option("--until-drained", help="End when a simulated session is in the tables.")
    ] = False,
    data: DataDir = None,
    expect: Annotated[
        Path | None, typer.Option(help="Frames that will rightly be refused, and why.", metavar="FILE")
    ] = None,
) -> None:
    """Run the whole pipeline on this machine: NATS, ClickHouse and every service, supervised.

    Ctrl-C drains: what was received is stored before it ends. Exit status: 0 nothing lost, nothing refused; 1 broken;
    2 a setting is wrong; 3 something was refused; 4 something was lost.
    """
    from services.command_line import up as pipeline
    from services.command_line.settings import PipelineSettings

    settings = PipelineSettings.load(
        simulate=simulate or None,
        replay=replay,
        pace=pace,
        exchanges=_names(exchanges),
        symbols=_names(symbols),
        data_dir=data,
    )
    log = logs.configure(settings, "up")
    raise typer.Exit(uvloop.run(pipeline.up(settings, log, for_s=for_, drained=until_drained, expectations=expect)))


PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""A service reads its own flags, `--help` among them: each of its settings is one."""


def _service(context: typer.Context, package: str) -> None:
    """Become a service: the same process, so that signals and exit status are its own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", f"services.{package}", *context.args])


@app.command(context_settings=PASS_ON)
def collector(context: typer.Context) -> None:
    """Record frames: exchanges to raw.> on NATS."""
    _service(context, "collector")


@app.command(context_settings=PASS_ON)
def normaliser(context: typer.Context) -> None:
    """Turn frames into records: raw.> to md.>, gap.> and dead.normaliser."""
    _service(context, "normaliser")


@app.command("storage-batcher", context_settings=PASS_ON)
def storage_batcher(context: typer.Context) -> None:
    """Store records: md.>, gap.> and dead.> to ClickHouse tables."""
    _service(context, "storage_batcher")


@app.command("gap-backfill", context_settings=PASS_ON)
def gap_backfill(context: typer.Context) -> None:
    """Refill what is missing: gap.> and the tables' holes to the exchanges' history and back to raw.>."""
    _service(context, "gap_backfill")


@app.command("arbitrage-signal", context_settings=PASS_ON)
def arbitrage_signal(context: typer.Context) -> None:
    """Find what could be bought here and sold there at a profit: quotes and books of md.> to signal.>."""
    _service(context, "arbitrage_signal")


@app.command("exchange-simulator", context_settings=PASS_ON)
def exchange_simulator(context: typer.Context) -> None:
    """Serve simulated exchanges on loopback: recorded sessions or generated markets."""
    _service(context, "exchange_simulator")


@app.command("embedded-clickhouse", context_settings=PASS_ON)
def embedded_clickhouse(context: typer.Context) -> None:
    """Serve ClickHouse's HTTP interface over the embedded engine."""
    _service(context, "embedded_clickhouse")


@app.command("alert-log", context_settings=PASS_ON)
def alert_log(context: typer.Context) -> None:
    """Log what Alertmanager says, and write its configuration from the settings."""
    _service(context, "alert_log")


@app.command()
def migrate(
    retention: Annotated[
        bool, typer.Option(help="Whether rows leave after their table's time; off for recordings years old.")
    ] = True,
) -> None:
    """Bring ClickHouse's tables up to what is declared. Safe to repeat."""
    from services.command_line.provision_settings import MigrateSettings
    from services.shared.runtime.migrations import migrate as run
    from services.shared.runtime.warehouse import Warehouse

    async def work() -> list[str]:
        settings = MigrateSettings.load()
        warehouse = Warehouse.of(settings)
        try:
            return await run(warehouse, retention=retention, cluster=settings.cluster)
        finally:
            await warehouse.close()

    _report(asyncio.run(work()), "tables are up to date")


@app.command()
def streams() -> None:
    """Bring NATS's streams, buckets and bots' consumers up to what is declared. Safe to repeat."""
    from services.command_line.provision_settings import StreamsSettings
    from services.shared.runtime.bus import connect
    from services.shared.runtime.provision import provision

    async def work() -> list[str]:
        settings = StreamsSettings.load()
        log = logs.configure(settings, "streams")
        bus = await connect(settings, "streams", log, asyncio.Event())
        try:
            return await provision(bus, settings.ring_bytes, settings.replicas, settings.bots)
        finally:
            await bus.close()

    _report(asyncio.run(work()), "streams are up to date")


def _report(lines: list[str], nothing: str) -> None:
    for line in lines or [nothing]:
        sys.stdout.write(f"{line}\n")


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="The question, such as 'SELECT count() FROM tapeline.trades'.")],
    data: DataDir = None,
    output: Annotated[str | None, typer.Option("--format", help="A ClickHouse format, such as CSV or JSON.")] = None,
) -> None:
    """Ask the tables of the running pipeline, or of a data directory at rest."""
    from services.command_line.sql import query

    watched = sys.stdout.isatty()
    settings = Settings.load(data_dir=data)
    answer = query(settings.data_dir, statement, output or ("PrettyCompact" if watched else "TSV"))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


@app.command()
def sub(
    subject: Annotated[str, typer.Argument(help="A subject or filter, such as 'md.trade.>'.")],
    data: DataDir = None,
    count: Annotated[int | None, typer.Option(help="End after so many messages.", min=1)] = None,
) -> None:
    """Follow a subject: each message once it is stored, one a line."""
    from services.command_line.pipeline import running
    from services.command_line.sub import follow

    settings = Settings.load(data_dir=data)
    pipeline = running(settings.data_dir)
    if pipeline is not None:
        settings = settings.model_copy(update={"nats_url": pipeline.nats_url})
    log = logs.configure(settings.model_copy(update={"log_level": "error"}), "sub")
    asyncio.run(follow(settings, subject, count, log))


@app.command()
def status(
    data: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show services, lag, rows per table, freshness per exchange and gaps."""
    from services.command_line.status import collect, show

    settings = Settings.load(data_dir=data)
    log = logs.configure(settings.model_copy(update={"log_level": "error"}), "status")
    found = collect(settings.data_dir, log)
    if as_json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        show(found, Console())


Backups = Annotated[Path, typer.Argument(help="The folder of backups.", metavar="FOLDER")]
BackupName = Annotated[str | None, typer.Option("--name", help="Which backup; none: the newest.")]


@app.command()
def backup(
    folder: Backups,
    incremental: Annotated[bool, typer.Option("--incremental", help="Store what the last backup has not.")] = False,
    data: DataDir = None,
) -> None:
    """Store every table in a folder, with checksums; a backup that was interrupted goes on where it was."""
    from services.command_line.backup_commands import run_backup

    _report([run_backup(data, folder, incremental)], "")


@app.command()
def restore(
    folder: Backups,
    name: BackupName = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare the files with their checksums.")] = False,
    data: DataDir = None,
) -> None:
    """Put a backup's rows into tables that `tapeline migrate` has made, and compare what is there then."""
    from services.command_line.backup_commands import run_check, run_restore

    _report([run_check(folder, name) if check else run_restore(data, folder, name)], "")


@app.command()
def gaps(
    data: DataDir = None,
    exchange: Annotated[str | None, typer.Option(help="Of this exchange only.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Of this symbol only.")] = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind only, such as trade or candle.")] = None,
    closed: Annotated[bool, typer.Option("--all", help="Those too that are filled, or lost for good.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Show what is missing, by symbol and kind, the most urgent first."""
    from services.command_line import gaps as log

    settings = Settings.load(data_dir=data)
    found = log.collect(settings.data_dir, exchange, symbol, kind, closed=closed)
    if as_json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        log.show(found, log.totals(settings.data_dir), Console(width=None if sys.stdout.isatty() else 160))


@app.command()
def backfill(
    exchange: Annotated[str, typer.Option(help="Such as binance.")],
    symbol: Annotated[str, typer.Option(help="Such as BTC-USDT-PERP.")],
    kind: Annotated[str, typer.Option(help="Such as trade or candle.")],
    from_: Annotated[str, typer.Option("--from", help="Such as 2026-11-20T12:00; UTC where it says nothing.")],
    to: Annotated[str, typer.Option("--to", help="Likewise; not included.")],
    interval: Annotated[str | None, typer.Option(help="Of candles: this one only.")] = None,
    data: DataDir = None,
) -> None:
    """Refill what is missing of a window by hand. Exit status: 0 all is there, 4 something is lost for good."""
    from schemas.backfill import BackfillRequest
    from services.command_line import backfill as by_hand
    from services.command_line.prove import instant

    settings = Settings.load(data_dir=data)
    log = logs.configure(settings.model_copy(update={"log_level": "error"}), "backfill")
    request = BackfillRequest(exchange, symbol, kind, instant(from_), instant(to), interval=interval)
    console = Console(width=None if sys.stdout.isatty() else 160)

    async def work() -> int:
        answer = await by_hand.ask(settings, request, log)
        return await by_hand.follow(settings.data_dir, answer, console)

    raise typer.Exit(asyncio.run(work()))


@app.command()
def prove(
    symbol: Annotated[str, typer.Option(help="Such as BTC-USDT-PERP.")],
    from_: Annotated[str, typer.Option("--from", help="Such as 2026-11-20T12:00; UTC where it says nothing.")],
    to: Annotated[str, typer.Option("--to", help="Likewise; not included.")],
    exchange: Annotated[str | None, typer.Option(help="Of this exchange only.")] = None,
    kinds: Annotated[str | None, typer.Option(help="Such as trade,candle; none: the main ones.")] = None,
    data: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array, times in microseconds.")] = False,
) -> None:
    """Prove for every stretch of time that all is there, or say what is missing, or that nothing was said.

    Exit status: 0 nothing is missing, 4 something is.
    """
    from services.command_line import prove as proof

    settings = Settings.load(data_dir=data)
    prover = proof.Prover(settings.data_dir, symbol, proof.instant(from_), proof.instant(to))
    found = prover.prove(exchange, _names(kinds) or proof.DEFAULT_KINDS)
    if as_json:
        sys.stdout.buffer.write(proof.as_json(found))
    else:
        proof.show(found, Console(width=None if sys.stdout.isatty() else 160))
    raise typer.Exit(4 if proof.missing(found) else 0)


@app.command()
def precheck(
    exchanges: Annotated[str | None, typer.Option(help="Such as binance,okx; none: all.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for each channel's first frame.", min=0.1)] = 15.0,
    url: Annotated[
        list[str] | None,
        typer.Option(help="Another address, such as binance.perp=ws://host/path or binance.perp=http://host/path."),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of a certificate authority; default: TAPELINE_EXCHANGE_CA_FILE.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Ask the exchanges for one frame of every channel and one answer of every endpoint, and say whether it is read.

    Exit status: 0 all that came was parsed, 1 something was not, or did not answer.
    """
    from services.command_line import precheck as first_contact

    ws_urls: dict[str, str] = {}
    rest_urls: dict[str, str] = {}
    for given in url or ():
        market, equals, address = given.partition("=")
        if not equals or "://" not in address:
            raise SettingsError(f"--url is {given!r}; allowed is <exchange>.<market>=<address>")
        (ws_urls if address.startswith("ws") else rest_urls)[market] = address
    ca_file = Settings.load(exchange_ca_file=ca).exchange_ca_file
    found = uvloop.run(first_contact.precheck(_names(exchanges) or (), ws_urls, rest_urls, wait, ca_file))
    if json_output:
        sys.stdout.buffer.write(first_contact.as_json(found))
    else:
        first_contact.show(found, Console(width=None if sys.stdout.isatty() else 160))
    raise typer.Exit(EXIT_BROKEN if not all(item.ok for item in found) else 0)


def main() -> None:
    """Run the command line; an error of ours is one line, not a traceback."""
    try:
        app()
    except SettingsError as error:
        sys.stderr.write(f"tapeline: {error}\n")
        sys.exit(EXIT_SETTINGS)
    except PipelineError as error:
        sys.stderr.write(f"tapeline: {error}\n")
        sys.exit(EXIT_BROKEN)
    except BrokenPipeError:
        # Whoever read us has gone (`| head`): that is no error, and Python must not complain while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
