"""`tallystick probe`: whether any tenant of a running deployment can reach what is another's."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tallystick.auth.keyring import open_keyring
from tallystick.auth.model import Role
from tallystick.cli.reading import load_settings
from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.probe.callers import Given, Signed, Tokens
from tallystick.probe.model import Verdict
from tallystick.probe.planting import tenant_names
from tallystick.probe.report import as_json, show, write_metrics
from tallystick.probe.service import CONCURRENCY, PATIENCE, Plan, probe
from tallystick.runtime.client import read_token
from tallystick.runtime.state import StateDirectory
from tallystick.settings import Settings

app = typer.Typer(add_completion=False)

_LEAST_TENANTS: Final = 2
_MOST_TENANTS: Final = 8


@app.command()
def probe_command(
    *,
    url: Annotated[str | None, typer.Option(help="Base URL of the API; the running instance's by default.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Token of a platform admin; the running instance's by default.")
    ] = None,
    tenants: Annotated[
        int, typer.Option(min=_LEAST_TENANTS, max=_MOST_TENANTS, help="Canary tenants; each is tried by all others.")
    ] = 3,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="TENANT:ROLE=FILE",
            help="A token of another issuer, for one role in a tenant that there is; may be given again. Then none is "
            "signed here. Two tenants at least, an admin's token of each.",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Most requests at once.")] = CONCURRENCY,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds for which a busy deployment is asked again.")
    ] = PATIENCE,
    metrics_file: Annotated[
        Path | None, typer.Option(help="Also write metrics to this file, for node_exporter's textfile collector.")
    ] = None,
    as_json_wanted: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Try to reach each canary tenant's data as every role of every other, on every path.

    The exit status is 0 when nothing was reached, 1 when something was, and 2 when it could not be told.
    """
    settings = load_settings()
    run = StateDirectory.from_settings(settings).read_run()
    if url is None:
        if run is None:
            raise ConfigurationError("nothing runs here: name a deployment with --url, or start one: `tallystick up`")
        url = run.url
    if token_file is None and run is not None and run.url == url:
        token_file = Path(run.token_file)
    platform = None if token_file is None else read_token(settings.home / token_file)
    if platform is None and not given:
        raise ConfigurationError("name a platform admin's token with --token-file, or tokens of tenants with --as")
    names, tokens = _who(settings, tenants, given or [])
    plan = Plan(url.rstrip("/"), names, tokens, platform, concurrency, patience)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json_wanted, transient=True) as bar:
        task: TaskID = bar.add_task("probing", total=None)
        try:
            report = asyncio.run(probe(plan, lambda done, total: bar.update(task, completed=done, total=total)))
        except UnavailableError as error:
            # To have no answer is not to know: 1 is for leaks alone.
            raise ConfigurationError(error.detail) from error
    if metrics_file is not None:
        write_metrics(report, metrics_file)
    if as_json_wanted:
        typer.echo(json.dumps(as_json(report)))
    else:
        show(report, Console())
    if report.verdict is not Verdict.CLEAN:
        raise typer.Exit(report.verdict.exit_code)


def _who(settings: Settings, count: int, given: list[str]) -> tuple[list[str], Tokens]:
    """The tenants, and how to become anybody in them."""
    if not given:
        return tenant_names(count), Signed(settings.auth, open_keyring(settings))
    tokens = defaultdict[str, dict[str, str]](dict)
    for each in given:
        who, _, file = each.partition("=")
        tenant_id, _, role = who.rpartition(":")
        if not tenant_id or not file or role not in [known.value for known in Role]:
            raise ConfigurationError(f"--as takes TENANT:ROLE=FILE with a role of user, auditor or admin; not `{each}`")
        tokens[tenant_id][role] = read_token(Path(file))
    return list(tokens), Given(tokens)
