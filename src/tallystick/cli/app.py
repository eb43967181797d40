"""The typer application: all commands, and what is the same for each of them."""

import os
import sys
from typing import Annotated

import typer

from tallystick import __version__
from tallystick.auth.cli import app as token_app
from tallystick.bench.cli import app as bench_app
from tallystick.cli.demo import demo
from tallystick.cli.followers import app as followers_app
from tallystick.cli.importing import import_command
from tallystick.cli.jobs import app as jobs_app
from tallystick.cli.processes import migrate_command, serve_command, up, worker_command
from tallystick.cli.queue import app as queue_app
from tallystick.cli.reading import load_settings
from tallystick.cli.tenants import app as tenants_app
from tallystick.errors import ConfigurationError, TallystickError
from tallystick.runtime.state import StateDirectory

_USAGE_ERROR = 2
_WITHOUT_DATABASE = ("up", "serve", "worker")
"""Commands that never look for a running instance: they start one, or are told where the database is."""

app = typer.Typer(
    name="tallystick",
    help="A self-hosted, multi-tenant audit log API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"tallystick {__version__}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    context: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A self-hosted, multi-tenant audit log API."""
    settings = load_settings()
    if context.invoked_subcommand in _WITHOUT_DATABASE:
        return
    run = StateDirectory.from_settings(settings).read_run()
    if run is None:
        return
    if run.database_url is not None and settings.database.url is None:
        os.environ["TALLYSTICK_DATABASE__URL"] = run.database_url
    for name, value in run.environment.items():
        os.environ.setdefault(name, value)


app.command("up")(up)
app.command("serve")(serve_command)
app.command("worker")(worker_command)
app.command("migrate")(migrate_command)
app.command("import")(import_command)
app.command("demo")(demo)
app.add_typer(token_app, name="token")
app.add_typer(tenants_app, name="tenants")
app.add_typer(jobs_app, name="jobs")
app.add_typer(followers_app, name="followers")
app.add_typer(queue_app, name="queue")
app.add_typer(bench_app, name="bench")


def run() -> None:
    """Run the command line. What a person must mend is said in one message, with exit code 2."""
    try:
        app()
    except ConfigurationError as error:
        typer.echo(f"tallystick: {error}", err=True)
        sys.exit(_USAGE_ERROR)
    except TallystickError as error:
        typer.echo(f"tallystick: {error.detail}", err=True)
        sys.exit(1)
