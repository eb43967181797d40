"""`tallystick import`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tallystick.cli.reading import load_settings
from tallystick.errors import ConfigurationError
from tallystick.runtime.client import connect, read_token
from tallystick.runtime.importing import Importer, Position, load_position, progress_file, rejects_file
from tallystick.runtime.state import StateDirectory

_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TextColumn("{task.fields[stored]:,} events"),
    TimeRemainingColumn(),
)


def import_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="NDJSON, plain, gzip or zstd.")],
    *,
    tenant: Annotated[str | None, typer.Option(help="Tenant of events that name none; the token's by default.")] = None,
    url: Annotated[str | None, typer.Option(help="Base URL of the API; the running instance's by default.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Token with logs:import; the running instance's by default.")
    ] = None,
    skip: Annotated[bool, typer.Option(help="Skip events that are refused, and keep them beside the input.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Import old history. Broken off at any moment, it goes on where it was and stores nothing twice."""
    base, token = _instance(url, token_file)
    results: dict[str, Position] = {}
    console = Console(stderr=True, highlight=False)
    with connect(base, token) as client, Progress(*_COLUMNS, console=console, disable=as_json) as bars:
        importer = Importer(client, tenant, skip)
        for file in files:
            position = load_position(file)
            bar = bars.add_task(file.name, total=file.stat().st_size, stored=position.stored)
            try:
                results[str(file)] = importer.run(
                    file,
                    lambda count, bar=bar: bars.advance(bar, count),
                    lambda position, bar=bar: bars.update(bar, stored=position.stored),
                )
            except KeyboardInterrupt:
                bars.stop()
                raise ConfigurationError(f"broken off: the same command goes on from {progress_file(file)}") from None
    if as_json:
        typer.echo(json.dumps({file: asdict(position) for file, position in results.items()}))
        return
    for file, position in results.items():
        typer.echo(f"{file}: {position.stored:,} events in the log, {position.rejected:,} refused")
        if position.rejected:
            typer.echo(f"  refused lines and why: {rejects_file(Path(file))}")


def _instance(url: str | None, token_file: Path | None) -> tuple[str, str]:
    """Where to import to, and with which token."""
    if url is None or token_file is None:
        state = StateDirectory.from_settings(load_settings())
        run = state.read_run()
        if run is None:
            raise ConfigurationError(
                f"nothing runs on {state.home}: start it with `tallystick up`, or give --url and --token-file"
            )
        url, token_file = url or run.url, token_file or Path(run.token_file)
    return url, read_token(token_file)
