"""The typer application: all commands, and what is the same for each of them."""

import os
import sys
from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from tallystick import __version__
from tallystick.cli.importing import import_command
from tallystick.cli.processes import migrate_command, serve_command, up, worker_command
from tallystick.cli.reading import load_settings
from tallystick.errors import ConfigurationError, TallystickError
from tallystick.runtime.state import StateDirectory

_USAGE_ERROR = 2
_WITHOUT_DATABASE = ("up", "serve", "worker")
"""Commands that never look for a running instance: they start one, or are told where the database is."""

_GROUPS: Final = {
    "token": "tallystick.cli.tokens",
    "tenants": "tallystick.cli.tenants",
    "jobs": "tallystick.cli.jobs",
    "followers": "tallystick.cli.followers",
    "queue": "tallystick.cli.queue",
    "keys": "tallystick.cli.keys",
    "retention": "tallystick.cli.retention",
    "bench": "tallystick.bench.cli",
}
"""Groups of commands, and the module of each."""

_COMMANDS: Final = {"demo": "tallystick.cli.demo", "probe": "tallystick.cli.probe"}
"""Commands that need much which no other does, and the module of each."""


class _Commands(TyperGroup):
    """All commands. To load every group would be a third of what a start takes, so only what is named is loaded.

    Help names all.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - what typer hands over
        super().__init__(**options)
        self.commands = _Groups(self.commands)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - what typer hands over
        """Name them, as completion does."""
        return list(self.commands)


class _Groups(UserDict[str, Any]):
    """Commands by name, and those and groups that are still to be loaded."""

    def __init__(self, commands: Mapping[str, Any]) -> None:
        super().__init__({**commands, **dict.fromkeys((*_COMMANDS, *_GROUPS))})

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - what typer keeps to itself
        if self.data[name] is None:
            make, module = (get_group, _GROUPS[name]) if name in _GROUPS else (get_command, _COMMANDS[name])
            self.data[name] = make(import_module(module).app)
            self.data[name].name = name
        return self.data[name]


app = typer.Typer(
    name="tallystick",
    cls=_Commands,
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
