"""The command `tallystick bench` and its subcommands."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.bench import crowding, loading, reading, writing
from tallystick.bench.instance import Instance, instance_in
from tallystick.bench.report import Figure, Report, as_json, joined, show
from tallystick.bench.writing import Plan, Say
from tallystick.bench.wrk import find

app = typer.Typer(name="bench", help="Measure speed and memory.", no_args_is_help=True)

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
Duration = Annotated[float, typer.Option(min=1, help="Seconds of one repetition.")]
Rounds = Annotated[int, typer.Option(min=1, help="Repetitions, in turns with what is compared; medians count.")]

_LOADED: Final = Path(".cache/bench")
_DAYS: Final[Mapping[str, str]] = {"TALLYSTICK_DATABASE__PARTITION_INTERVAL": "day"}

Measurement = Callable[[Instance, Say], Awaitable[Report]]


@app.command("single")
def single(
    *,
    home: Home = None,
    duration: Duration = 20,
    rounds: Rounds = 3,
    baseline: Annotated[bool, typer.Option(help="In turns with the plain application.")] = True,
    with_bulk: Annotated[
        bool, typer.Option("--with-bulk", help="Also beside another tenant's bodies of 10,000 events.")
    ] = False,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure POST /logs: 32 keep-alive connections."""
    plan = Plan(duration, rounds)
    _run(
        lambda instance, say: writing.single(instance, plan, say, baseline=baseline, with_bulk=with_bulk),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("bulk")
def bulk(
    *,
    home: Home = None,
    duration: Duration = 20,
    rounds: Rounds = 3,
    copy: Annotated[bool, typer.Option(help="In turns with raw binary COPY.")] = True,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure POST /logs/bulk: 500 events, 4 keep-alive connections."""
    _run(
        lambda instance, say: writing.bulk(instance, Plan(duration, rounds), say, raw_copy=copy),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("copy")
def copy(
    *,
    home: Home = None,
    duration: Duration = 10,
    rounds: Rounds = 3,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure raw binary COPY by one connection into the same table definition."""
    _run(
        lambda instance, say: writing.copy(instance, Plan(duration, rounds), say), home, as_json=as_json, output=output
    )


@app.command("baseline")
def baseline(
    *,
    home: Home = None,
    duration: Duration = 20,
    rounds: Rounds = 3,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure the plain application of bench/baseline on the same PostgreSQL server."""
    _run(
        lambda instance, say: writing.baseline(instance, Plan(duration, rounds), say),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("load")
def load(
    *,
    home: LoadedHome = _LOADED,
    events: Annotated[
        int, typer.Option(min=1_000, help="Events of one tenant; nineteen more get a hundredth each.")
    ] = (10_000_000),
    partitions: Annotated[int, typer.Option(min=1, max=140, help="Days, a partition each.")] = 90,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Fill a state directory with stored events by COPY, in minutes. Does nothing where that is done already."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task("loading", total=None)

        async def measure(instance: Instance, _: Say) -> Report:
            began = asyncio.get_running_loop().time()
            filled = await loading.load(
                instance.postgres().url,
                events,
                partitions,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
            took = asyncio.get_running_loop().time() - began
            facts = {"partitions": filled.partitions, "first_day": filled.first_day, "home": str(home)}
            rate = filled.events / took if took > 1 else 0.0
            return Report("load", (Figure(f"{filled.events:,} events of {loading.HOT}", rate, took, facts=facts),))

        report = _measured(measure, home, lambda _: None, _DAYS)
    _print(*report, as_json_wanted=as_json, output=output)


@app.command("reads")
def reads(
    *,
    home: LoadedHome = _LOADED,
    duration: Duration = 60,
    rate: Annotated[float, typer.Option(min=1, help="Reads a second, of the four kinds in turn.")] = reading.RATE,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure newest-50, a deep page, a two-day range and by-id at a constant rate, on what `load` made."""
    _run(
        lambda instance, say: reading.reads(instance, duration, say, rate=rate),
        home,
        as_json=as_json,
        output=output,
        settings=_DAYS,
    )


@app.command("tenants")
def tenants(
    *,
    home: Home = None,
    duration: Duration = 15,
    rounds: Rounds = 2,
    count: Annotated[int, typer.Option(min=2, help="Tenants; a hundred of them are active.")] = 2_000,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure writes of one tenant, and of a hundred among 2,000."""
    _run(
        lambda instance, say: crowding.tenants(instance, Plan(duration, rounds), say, count=count),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("noisy")
def noisy(
    *, home: Home = None, duration: Duration = 20, rounds: Rounds = 2, as_json: AsJson = False, output: Output = None
) -> None:
    """Measure what others feel of a tenant that offers ten times what the server can take."""
    _run(
        lambda instance, say: crowding.noisy(instance, Plan(duration, rounds), say),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("memory")
def memory(*, home: Home = None, duration: Duration = 300, as_json: AsJson = False, output: Output = None) -> None:
    """Sample an API process's memory while its queue is full."""
    _run(lambda instance, say: crowding.memory(instance, Plan(duration, 1), say), home, as_json=as_json, output=output)


@app.command("all")
def everything(
    *,
    loaded_home: LoadedHome = _LOADED,
    duration: Duration = 20,
    rounds: Rounds = 3,
    count: Annotated[int, typer.Option(min=2, help="Tenants.")] = 2_000,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure everything in one run: writes on a new instance, reads on what `load` made."""
    say = _sayer()
    plan = Plan(duration, rounds)

    async def writes(instance: Instance, say: Say) -> Report:
        return joined(
            "writes",
            [
                await writing.single(instance, plan, say, baseline=True, with_bulk=True),
                await writing.bulk(instance, plan, say, raw_copy=True),
                await crowding.noisy(instance, plan, say),
                await crowding.tenants(instance, plan, say, count=count),
                await crowding.memory(instance, Plan(duration * rounds, 1), say),
            ],
        )

    async def read(instance: Instance, say: Say) -> Report:
        return await reading.reads(instance, duration * rounds, say)

    found = [_measured(writes, None, say, {}), _measured(read, loaded_home, say, _DAYS)]
    report = joined("all", [report for report, _ in found])
    _print(report, found[0][1], as_json_wanted=as_json, output=output)


def _run(
    measure: Measurement,
    home: Path | None,
    *,
    as_json: bool,
    output: Path | None,
    settings: Mapping[str, str] | None = None,
) -> None:
    report, versions = _measured(measure, home, _sayer(), settings or {})
    _print(report, versions, as_json_wanted=as_json, output=output)


def _sayer() -> Say:
    console = Console(stderr=True)
    return lambda line: console.print(f"[dim]… {line}[/dim]", highlight=False)


def _measured(
    measure: Measurement, home: Path | None, say: Say, settings: Mapping[str, str]
) -> tuple[Report, dict[str, str]]:
    find()
    with instance_in(home, settings) as instance:
        return asyncio.run(_with_versions(measure, instance, say))


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


def _print(report: Report, versions: Mapping[str, str], *, as_json_wanted: bool, output: Path | None) -> None:
    document = json.dumps(as_json(report, versions), indent=2)
    if output is not None:
        output.write_text(document + "\n", encoding="utf-8")
    if as_json_wanted:
        typer.echo(document)
    else:
        show(report, versions, Console())
    if not report.passed:
        raise typer.Exit(1)
