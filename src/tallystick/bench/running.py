"""Runs a measurement against an instance and prints its report: what all commands of the benchmark share."""

import json
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.bench.instance import Instance, instance_in
from tallystick.bench.report import Report, Say, as_json, show

Home = Annotated[
    Path | None,
    typer.Option(
        help="State directory to measure: its running instance, or one started there. Without it, a new one is made "
        "and removed again.",
    ),
]
LoadedHome = Annotated[Path, typer.Option(help="State directory with the loaded events; kept for reuse.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Output = Annotated[Path | None, typer.Option(help="Also write the JSON document to this file.")]

LOADED: Final = Path(".cache/bench")
DAYS: Final[Mapping[str, str]] = {"TALLYSTICK_DATABASE__PARTITION_INTERVAL": "day"}
"""Settings of an instance whose events are loaded."""

Measurement = Callable[[Instance, Say], Awaitable[Report]]


def run(
    measure: Measurement,
    home: Path | None,
    *,
    as_json: bool,
    output: Path | None,
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> None:
    """Measure, and print what was found."""
    report, versions = measured(measure, home, sayer(), settings or {}, options)
    print_report(report, versions, as_json_wanted=as_json, output=output)


def sayer() -> Say:
    """Tells a person what is being done."""
    console = Console(stderr=True)
    return lambda line: console.print(f"[dim]… {line}[/dim]", highlight=False)


@contextmanager
def progress_bar(title: str) -> Generator[Callable[[int, int], None]]:
    """Show a person how far something is: done, of how many in all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def measured(
    measure: Measurement, home: Path | None, say: Say, settings: Mapping[str, str], options: Sequence[str] = ()
) -> tuple[Report, dict[str, str]]:
    """Measure an instance, started where it does not run; gives the report and what it was measured on."""
    with instance_in(home, settings, options) as instance:
        return uvloop.run(_with_versions(measure, instance, say))


async def _with_versions(measure: Measurement, instance: Instance, say: Say) -> tuple[Report, dict[str, str]]:
    connection = await asyncpg.connect(instance.postgres().url)
    try:
        rows = await connection.fetch(
            "select name, setting from pg_settings where name = any($1)",
            ["server_version", "synchronous_commit", "fsync"],
        )
    finally:
        await connection.close()
    told = {row["name"]: row["setting"] for row in rows}
    versions = {
        "postgresql": told["server_version"],
        "synchronous_commit": told["synchronous_commit"],
        "fsync": told["fsync"],
        "api_processes": str(len(instance.groups()["api"])),
    }
    return await measure(instance, say), versions


def print_report(
    report: Report,
    versions: Mapping[str, str],
    *,
    as_json_wanted: bool,
    output: Path | None,
    beside: Mapping[str, object] | None = None,
) -> None:
    """Print a report; where one of its proofs fails, end with exit code 1.

    Args:
        report: What was measured.
        versions: Of what.
        as_json_wanted: Whether to print one JSON document, and no tables.
        output: A file for that document.
        beside: Further members of it.
    """
    document = json.dumps({**as_json(report, versions), **(beside or {})}, indent=2)
    if output is not None:
        output.write_text(document + "\n", encoding="utf-8")
    if as_json_wanted:
        typer.echo(document)
    else:
        show(report, versions, Console())
    if not report.passed:
        raise typer.Exit(1)
