"""`tallystick queue`: messages that were given out too often without being done with."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tallystick.cli.reading import load_settings
from tallystick.ports import QueueKind

if TYPE_CHECKING:
    from tallystick.bootstrap.adapters import DeadLetterQueues

app = typer.Typer(name="queue", help="Look at dead letters, and give them out again.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

_KINDS: Final[tuple[QueueKind, ...]] = ("wake-ups", "jobs")

_Line = dict[str, Any]


@app.command("dead")
def dead(
    *,
    limit: Annotated[int, typer.Option(min=0, max=1_000, help="Most messages of a queue to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show how many messages were given out too often, and what some of them say. To look changes nothing."""

    async def look(queues: "DeadLetterQueues", kind: QueueKind) -> _Line:
        letters = await queues.dead(kind, limit)
        return {"kind": kind, "count": letters.count, "subjects": list(letters.subjects)}

    for line in _for_each(look, as_json=as_json):
        typer.echo(f"{line['kind']}: {line['count']} dead")
        for subject in line["subjects"]:
            typer.echo(f"  {subject}")


@app.command("redrive")
def redrive(*, as_json: AsJson = False) -> None:
    """Give dead messages out again, once what kept workers from being done with them is mended."""

    async def move(queues: "DeadLetterQueues", kind: QueueKind) -> _Line:
        return {"kind": kind, "moved": await queues.redrive(kind)}

    for line in _for_each(move, as_json=as_json):
        typer.echo(f"{line['kind']}: {line['moved']} given out again")


def _for_each(work: Callable[["DeadLetterQueues", QueueKind], Awaitable[_Line]], *, as_json: bool) -> list[_Line]:
    """Do something for each queue; returns what is left to say."""
    lines = asyncio.run(_work(work))
    if as_json:
        typer.echo(json.dumps({"queues": lines or []}))
        return []
    if lines is None:
        typer.echo("the embedded queue has no dead letters: what it tells lies in the database until it is done")
    return lines or []


async def _work(work: Callable[["DeadLetterQueues", QueueKind], Awaitable[_Line]]) -> list[_Line] | None:
    # The queue's client takes a second to load, which other commands need not wait for.
    from tallystick.bootstrap.adapters import dead_letters  # noqa: PLC0415

    async with dead_letters(load_settings()) as queues:
        return None if queues is None else [await work(queues, kind) for kind in _KINDS]
