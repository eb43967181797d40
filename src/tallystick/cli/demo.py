"""`tallystick demo`."""

import json
import shlex
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tallystick.cli.reading import load_settings
from tallystick.errors import ConfigurationError
from tallystick.runtime.demo.filling import STRUCK, Filled, fill
from tallystick.runtime.demo.incident import NETWORK, victim_of
from tallystick.runtime.state import Run, StateDirectory

app = typer.Typer(add_completion=False)


@app.command()
def demo(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Fill the running instance with a company's activity, and an incident to look into."""
    state = StateDirectory.from_settings(load_settings())
    run = state.read_run()
    if run is None:
        raise ConfigurationError(f"nothing runs on {state.home}: start it with `tallystick up`, then try again")
    console = Console(highlight=False)
    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TextColumn("events"))
    with Progress(*columns, console=console, disable=as_json) as bars:

        def progress(tenant_id: str, done: int, total: int) -> None:
            if tenant_id not in tasks:
                tasks[tenant_id] = bars.add_task(tenant_id, total=total)
            bars.update(tasks[tenant_id], completed=done)

        results = fill(run, state.home / "demo.json", progress)
    if as_json:
        typer.echo(json.dumps({"url": run.url, "tenants": [asdict(result) for result in results]}))
    else:
        _say(console, run, results)


def _say(console: Console, run: Run, results: list[Filled]) -> None:
    stored, known = sum(result.stored for result in results), sum(result.known for result in results)
    console.print(Text(f"\n{stored} events stored, {known} were there already.", style="bold green"))
    console.print(Text(f"\nThe night before last somebody got into {STRUCK.name}. Follow it:", style="bold"))
    console.print(Text(f'\nexport AUTH="Authorization: Bearer $(cat {shlex.quote(run.token_file)})"'), soft_wrap=True)
    victim = victim_of(STRUCK).user_id
    for question, query in (
        ("What was serious?", "min_severity=CRITICAL"),
        ("Who came from that network?", f"ip={NETWORK}&limit=20"),
        ("Which of them got in?", f"ip={NETWORK}&action=user.login"),
        ("What did that account do?", f"user_id={victim}&limit=50"),
        ("Who gave it its rights, and who took them?", f"action=role.changed&resource_id={victim}"),
        ("What left the house?", f"action=export.completed&user_id={victim}"),
        ("How did it end?", "resource_type=incident"),
    ):
        url = f"{run.url}/api/v1/logs?tenant_id={STRUCK.tenant_id}&{query}"
        console.print(Text(f"\n{question}", style="dim"))
        console.print(Text(f'curl -sS -H "$AUTH" {shlex.quote(url)}'), soft_wrap=True)
    console.print()
