"""What `tallystick up` and its like tell a person: coloured in a terminal, plain elsewhere, JSON when asked."""

import json
import shlex
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.text import Text

from tallystick.runtime.servers.artifacts import Fetching
from tallystick.runtime.state import Run


def reporter(console: Console, *, quiet: bool) -> Callable[[str], None]:
    """A function that prints one line of progress.

    Where that cannot be written, as on a full disk, all else goes on: it is called by those who start anew what died.
    """

    def report(line: str) -> None:
        if quiet:
            return
        with suppress(OSError):
            console.print(Text.assemble(("● ", "dim cyan"), line), soft_wrap=True)

    return report


def fetch_display(console: Console, *, quiet: bool) -> Fetching:
    """A `Fetching` that shows a bar while something is fetched."""
    report = reporter(console, quiet=quiet)

    @contextmanager
    def fetching(name: str, total: int) -> Generator[Callable[[int], None]]:
        report(f"fetching {name}, {total / 1_000_000:.0f} MB, this first time only")
        columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn())
        with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
            task = progress.add_task(name, total=total)
            yield lambda here: progress.update(task, completed=min(here, total))

    return fetching


def announcer(console: Console, *, as_json: bool) -> Callable[[Run], None]:
    """A function that says where a running instance is and how to begin with it."""

    def announce(run: Run) -> None:
        if as_json:
            print(json.dumps(asdict(run)), flush=True)  # noqa: T201 - the command's output
            return
        rows = (
            ("API", f"{run.url}/api/v1"),
            ("Docs", run.docs_url),
            ("Tenant", run.tenant_id),
            ("Token", run.token_file),
        )
        console.print(Text("\nTallystick is running; Ctrl-C stops it.", style="bold green"))
        for name, value in rows:
            console.print(Text.assemble((f"  {name:<8}", "dim"), value), soft_wrap=True)
        token = f'"Authorization: Bearer $(cat {shlex.quote(run.token_file)})"'
        event = '{"action":"user.login","resource_type":"session","user_id":"ada"}'
        for purpose, command in (
            (
                "Store an event:",
                f"curl -sS {run.url}/api/v1/logs -H {token} -H 'Content-Type: application/json' -d '{event}'",
            ),
            ("Read it back:", f"curl -sS '{run.url}/api/v1/logs?limit=1' -H {token}"),
        ):
            console.print(Text(f"\n{purpose}", style="dim"))
            console.print(Text(command), soft_wrap=True)
        console.print()

    return announce
