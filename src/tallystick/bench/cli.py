"""The command `tallystick bench` and its subcommands."""

import asyncio
from typing import Annotated, Literal

import typer

from tallystick.bench import (
    access,
    arriving,
    counting,
    crowding,
    everything,
    exporting,
    freshness,
    indexing,
    loading,
    masking,
    reading,
    removing,
    searching,
    sizes,
    streaming,
    writing,
)
from tallystick.bench.instance import Instance
from tallystick.bench.report import Figure, Report, Say, joined
from tallystick.bench.running import (
    DAYS,
    LOADED,
    AsJson,
    Home,
    LoadedHome,
    Output,
    measured,
    print_report,
    progress_bar,
    run,
    sayer,
)
from tallystick.bench.scenarios.cli import scenario_command
from tallystick.bench.writing import Plan

app = typer.Typer(name="bench", help="Measure speed and memory.", no_args_is_help=True)
app.command("scenario")(scenario_command)

Duration = Annotated[float, typer.Option(min=1, help="Seconds of one repetition.")]
Rounds = Annotated[int, typer.Option(min=1, help="Repetitions, in turns with what is compared; medians count.")]


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
    run(
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
    run(
        lambda instance, say: writing.bulk(instance, Plan(duration, rounds), say, raw_copy=copy),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("masking")
def masking_command(
    *, home: Home = None, duration: Duration = 20, rounds: Rounds = 3, as_json: AsJson = False, output: Output = None
) -> None:
    """Measure single and bulk requests of a tenant that masks by default, in turns with those of one that does not."""
    run(
        lambda instance, say: masking.masking(instance, Plan(duration, rounds), say),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("access")
def access_command(
    *,
    home: Home = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each kind of read, on each side.")] = 5,
    rounds: Rounds = 3,
    events: Annotated[int, typer.Option(min=500, help="Events that are there to be read.")] = access.EVENTS,
    rate: Annotated[float, typer.Option(min=1, help="Events a second that arrive beside reads.")] = arriving.RATE,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure reads with their record in the access log, in turns with the same reads that nobody records."""
    plan = access.AccessPlan(events, seconds, rounds, rate)
    with progress_bar("reading") as bar:
        report = measured(lambda instance, _: access.access(instance, plan, bar), home, lambda _: None, {})
    print_report(*report, as_json_wanted=as_json, output=output)


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
    run(lambda instance, say: writing.copy(instance, Plan(duration, rounds), say), home, as_json=as_json, output=output)


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
    run(
        lambda instance, say: writing.baseline(instance, Plan(duration, rounds), say),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("load")
def load(
    *,
    home: LoadedHome = LOADED,
    events: Annotated[
        int, typer.Option(min=1_000, help="Events of one tenant; nineteen more get a hundredth each.")
    ] = (10_000_000),
    partitions: Annotated[int, typer.Option(min=1, max=140, help="Days, a partition each.")] = 90,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Fill a state directory with stored events by COPY, in minutes. Does nothing where that is done already."""
    with progress_bar("loading") as bar:

        async def measure(instance: Instance, _: Say) -> Report:
            began = asyncio.get_running_loop().time()
            filled = await loading.load(instance.postgres().url, events, partitions, bar)
            took = asyncio.get_running_loop().time() - began
            facts = {"partitions": filled.partitions, "first_day": filled.first_day, "home": str(home)}
            rate = filled.events / took if took > 1 else 0.0
            return Report("load", (Figure(f"{filled.events:,} events of {loading.HOT}", rate, took, facts=facts),))

        report = measured(measure, home, lambda _: None, DAYS)
    print_report(*report, as_json_wanted=as_json, output=output)


@app.command("reads")
def reads(
    *,
    home: LoadedHome = LOADED,
    duration: Duration = 60,
    rate: Annotated[float, typer.Option(min=1, help="Reads a second, of the four kinds in turn.")] = reading.RATE,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure newest-50, a deep page, a two-day range and by-id at a constant rate, on what `load` made."""
    run(
        lambda instance, say: reading.reads(instance, duration, say, rate=rate),
        home,
        as_json=as_json,
        output=output,
        settings=DAYS,
    )


@app.command("search")
def search(
    *,
    home: LoadedHome = LOADED,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each kind of question.")] = 15,
    rate: Annotated[float, typer.Option(min=1, help="Events a second that arrive meanwhile.")] = arriving.RATE,
    together: Annotated[int, typer.Option(min=1, max=1_000, help="Events of a request that arrives.")] = 1,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Ask the plain application, too; of at most three million events.")
    ] = False,
    engine: Annotated[
        Literal["tantivy", "opensearch"], typer.Option(help="Which engine an instance that is started here uses.")
    ] = "tantivy",
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure searches of eight kinds on what `load` made, alone and while events arrive."""

    async def measure(instance: Instance, say: Say) -> Report:
        await reading.loaded(instance)
        say("waiting until all is indexed")
        with progress_bar("indexing") as bar:
            indexed = await indexing.until_indexed(instance, bar)
        size = Report("sizes", (await sizes.bytes_per_event(instance, engine),))
        found = await searching.search(
            instance, seconds, say, engine=sizes.ENGINES[engine], rate=rate, together=together, baseline=baseline
        )
        return joined("search", [indexed, size, found])

    run(measure, home, as_json=as_json, output=output, settings=DAYS, options=("--search", engine))


@app.command("export")
def export(
    *,
    home: LoadedHome = LOADED,
    rounds: Rounds = 2,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure an export of all events that `load` made, in turns with COPY of the same bodies in the same order."""
    run(
        lambda instance, say: exporting.export(instance, rounds, say),
        home,
        as_json=as_json,
        output=output,
        settings=DAYS,
    )


@app.command("stats")
def stats(
    *,
    home: LoadedHome = LOADED,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each kind of question.")] = 15,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure statistics of twelve kinds on what `load` made, once rollups and index hold all of it."""
    run(
        lambda instance, say: counting.stats(instance, seconds, say),
        home,
        as_json=as_json,
        output=output,
        settings=DAYS,
    )


@app.command("freshness")
def freshness_command(
    *,
    home: Home = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long.")] = 60,
    rate: Annotated[float, typer.Option(min=50, help="Events a second, in requests of 50.")] = 5_000,
    count: Annotated[int, typer.Option("--tenants", min=1, help="Tenants that write, in turn.")] = 20,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure how soon an event is found, and how soon it is in the index, while many tenants write."""
    run(
        lambda instance, say: freshness.freshness(instance, seconds, say, rate=rate, count=count),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("stream")
def stream(
    *,
    home: Home = None,
    scenario: Annotated[
        list[streaming.Scenario] | None, typer.Option(help="Which; repeat it for several. All without it.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each.")] = 30,
    warm_up: Annotated[
        float, typer.Option(min=0, help="Seconds before these, whose delays stand apart.")
    ] = streaming.WARM_UP_SECONDS,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure how soon watchers see what is stored: by filters, everything of one tenant, and beside idle ones."""
    run(
        lambda instance, say: streaming.streams(instance, seconds, say, scenario or list(streaming.SCENARIOS), warm_up),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("retention")
def retention(
    *,
    home: Home = None,
    events: Annotated[
        int, typer.Option(min=900, help="Events of the partition that is dropped; a ninth as many leave in batches.")
    ] = removing.EVENTS,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of writing before each removal.")] = 60,
    rate: Annotated[float, typer.Option(min=1, help="Events a second that are written meanwhile.")] = arriving.RATE,
    passed: Annotated[
        bool, typer.Option("--passed", help="Move the followers' cursors, instead of waiting until all is indexed.")
    ] = False,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure what writers feel while retention removes a log's events in batches, and drops a whole partition."""
    plan = removing.RemovalPlan(events, seconds, rate, passed)
    report = measured(lambda instance, _: removing.removal(instance, plan, progress_bar), home, lambda _: None, {})
    print_report(*report, as_json_wanted=as_json, output=output)


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
    run(
        lambda instance, say: crowding.tenants(instance, Plan(duration, rounds), say, count=count),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("noisy")
def noisy(
    *, home: Home = None, duration: Duration = 20, rounds: Rounds = 5, as_json: AsJson = False, output: Output = None
) -> None:
    """Measure what others feel of a tenant that offers ten times what the server can take."""
    run(
        lambda instance, say: crowding.noisy(instance, Plan(duration, rounds), say),
        home,
        as_json=as_json,
        output=output,
    )


@app.command("memory")
def memory(*, home: Home = None, duration: Duration = 300, as_json: AsJson = False, output: Output = None) -> None:
    """Sample an API process's memory while its queue is full."""
    run(lambda instance, say: crowding.memory(instance, Plan(duration, 1), say), home, as_json=as_json, output=output)


@app.command("all")
def all_command(
    *,
    loaded_home: LoadedHome = LOADED,
    duration: Duration = 20,
    rounds: Rounds = 3,
    count: Annotated[int, typer.Option(min=2, help="Tenants.")] = 2_000,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Measure everything in one run: writes on a new instance, reads on what `load` made."""
    say = sayer()
    plan = Plan(duration, rounds)

    async def fresh(instance: Instance, say: Say) -> Report:
        return await everything.on_a_new_instance(instance, plan, say, progress_bar, count)

    async def read(instance: Instance, say: Say) -> Report:
        return await reading.reads(instance, duration * rounds, say)

    found = [measured(fresh, None, say, {}), measured(read, loaded_home, say, DAYS)]
    report = joined("all", [report for report, _ in found])
    print_report(report, found[0][1], as_json_wanted=as_json, output=output)
