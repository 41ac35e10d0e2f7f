"""`tapeline bench`: what this machine can do, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from services.shared.runtime import logs

app = typer.Typer(name="bench", help="What this machine can do, measured.", no_args_is_help=True)


@app.command()
def pipeline(
    events_per_s: Annotated[
        float, typer.Option("--rate", "--events-per-s", help="Exchange frames a second that are sent.", min=1)
    ] = 10_000,
    seconds: Annotated[float, typer.Option(help="Length of the measurement.", min=3)] = 60,
    symbols: Annotated[int, typer.Option(help="Instruments that share the events.", min=1)] = 100,
    normalisers: Annotated[int, typer.Option(help="Normalisers that share the partitions.", min=1)] = 1,
    batchers: Annotated[int, typer.Option(help="Storage batchers that share the tables.", min=1)] = 1,
    ledger: Annotated[
        bool, typer.Option(help="Compare the tables with what was sent; without it nothing is proven.")
    ] = True,
    rehearsed: Annotated[
        bool | None,
        typer.Option(
            help="The simulator prepares the run, then only sends it; else it makes it up on the way. "
            "Default: up to 110 symbols.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Keep the run's data here (default: a temporary folder).", metavar="DIR")
    ] = None,
) -> None:
    """Drive simulated Binance futures through every service, NATS and ClickHouse, and measure the whole road.

    An event is one exchange frame: 50% book changes, 40% quotes, 6% trades, 4% candles. Exit status: 0 the rate was
    sustained (the newest row younger than 2 s and not ageing) and the tables equal what was sent; 1 it was not
    sustained; 4 the tables differ.
    """
    from services.command_line import bench_pipeline
    from services.command_line.settings import PipelineSettings

    if rehearsed is None:
        rehearsed = symbols <= bench_pipeline.MOST_REHEARSED
    plan = bench_pipeline.Plan(events_per_s, seconds, symbols, normalisers, batchers, ledger, rehearsed)
    settings = PipelineSettings.load()
    log = logs.configure(settings.model_copy(update={"log_level": "warning"}), "bench")
    raise typer.Exit(uvloop.run(bench_pipeline.run(plan, settings, log, data, as_json=json)))


@app.command()
def normaliser(
    recordings: Annotated[
        Path, typer.Option(help="The folder of recorded sessions.", envvar="TAPELINE_RECORDINGS", metavar="DIR")
    ] = Path("../shared/recordings"),
    rounds: Annotated[int, typer.Option(help="The best of so many counts.", min=1)] = 15,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Take recorded frames through the normaliser's core, beside orjson alone and cryptofeed's playback of them.

    Exit status: 0; 2 there are no recordings; 4 the records differ from those of frames that are read in full.
    """
    from services.command_line import bench_normaliser

    raise typer.Exit(bench_normaliser.run(recordings, rounds, as_json=json))
