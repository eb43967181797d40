"""The command `tallystick bench scenario`."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from tallystick.bench.running import AsJson, Output, print_report
from tallystick.bench.scenarios.catalogue import DEFAULTS, Defaults, Name, scenario
from tallystick.bench.scenarios.display import showing
from tallystick.bench.scenarios.figures import LATE_MS
from tallystick.bench.scenarios.page import page
from tallystick.bench.scenarios.running import Plan, run
from tallystick.bench.scenarios.target import aim
from tallystick.errors import ConfigurationError

_LEAST: Final = {Name.TENANTS: 2, Name.NOISY: 2}


def scenario_command(  # noqa: PLR0913  (each is an option)
    name: Annotated[Name, typer.Argument(help="Which.")],
    *,
    url: Annotated[str, typer.Option(help="Base URL of the deployment: the load balancer's.")],
    token_file: Annotated[
        Path,
        typer.Option(
            help="Token of a platform admin, who makes the tenants; or a JSON object of tenants and a token for each."
        ),
    ],
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificates that are trusted, in PEM; the system's by default.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=1, help="Seconds, after a short warm-up; the scenario's own by default.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=1, help="Events a second; the scenario's own by default.")] = None,
    tenants: Annotated[int | None, typer.Option(min=1, help="How many; the scenario's own by default.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that send.")] = 1,
    connections: Annotated[int, typer.Option(min=1, help="Most connections at once, of all processes.")] = 256,
    late: Annotated[
        float, typer.Option(min=1, help="Milliseconds that the generator itself may be late at its p99.")
    ] = LATE_MS,
    report: Annotated[Path | None, typer.Option(help="Also write a page with plots to this file.")] = None,
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Put realistic load on any deployment by its URL, prove that nothing was lost, and report what it was like.

    Ctrl-C ends it early, with a report of what was measured. The exit status is 1 where the proof fails.
    """
    own = DEFAULTS[name]
    wanted = Defaults(duration or own.seconds, rate or own.rate, tenants or own.tenants)
    if wanted.tenants < (least := _LEAST.get(name, 1)):
        raise ConfigurationError(f"the scenario {name} needs {least} tenants")
    target = aim(url, token_file, wanted.tenants, ca_file)
    options = {
        "url": target.url,
        "token-file": token_file,
        **({"ca-file": ca_file} if ca_file is not None else {}),
        "duration": f"{wanted.seconds:g}",
        "rate": f"{wanted.rate:g}",
        "tenants": wanted.tenants,
        "processes": processes,
        "connections": connections,
        **({"late": f"{late:g}"} if late != LATE_MS else {}),
    }
    words = (word for option, value in options.items() for word in (f"--{option}", str(value)))
    command = shlex.join(["tallystick", "bench", "scenario", name, *words])
    plan = Plan(scenario(name, wanted), target, processes, connections, late, command)
    with showing(plan.scenario, quiet=as_json) as (watch, watch_reading):
        measured = run(plan, watch, watch_reading)
    if report is not None:
        report.write_text(page(measured), encoding="utf-8")
    beside = {"timeline": asdict(measured.timeline), "command_line": command}
    print_report(measured.report, measured.facts, as_json_wanted=as_json, output=output, beside=beside)
