"""The door by which a running cluster is told to roll: a Unix socket, one line each way and one for each step."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias, cast

from tallystick.errors import ConfigurationError

Report: TypeAlias = Callable[[str], None]
Rolling: TypeAlias = Callable[[Path, Report], Awaitable[None]]

_DONE: Final = "done"


@asynccontextmanager
async def listening(socket: Path, roll: Rolling) -> AsyncGenerator[None]:
    """Take orders until the block ends.

    Args:
        socket: Where; only who runs the cluster may speak to it.
        roll: What an order does.
    """
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(own := cast("asyncio.Task[None]", asyncio.current_task()))
        own.add_done_callback(serving.discard)

        def tell(kind: str, text: str) -> None:
            writer.write(json.dumps({kind: text}).encode() + b"\n")

        try:
            tree = Path(json.loads(await reader.readline())["roll"])
            await roll(tree, lambda line: tell("step", line))
            tell(_DONE, "")
        except ConfigurationError as error:
            tell("failed", str(error))
        except (ValueError, KeyError, TypeError):
            tell("failed", "this is no order")
        finally:
            writer.close()

    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(serve, socket)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        for task in serving:  # what it was about to start would be ended by nobody
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def order_roll(socket: Path, tree: Path, report: Report) -> None:
    """Tell a running cluster to roll to the release in a tree, and wait until it has.

    Raises:
        ConfigurationError: None runs, or it did not go well.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        raise ConfigurationError(f"no cluster listens on {socket}: start one with `make cluster`") from None
    try:
        writer.write(json.dumps({"roll": str(tree)}).encode() + b"\n")
        async for line in reader:
            said = json.loads(line)
            if _DONE in said:
                return
            if "failed" in said:
                raise ConfigurationError(said["failed"])
            report(said["step"])
    finally:
        writer.close()
    raise ConfigurationError("the cluster ended while it rolled")
