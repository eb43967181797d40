"""A PostgreSQL of its own for a test session or a module, in a folder that goes with it."""

import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tallystick.runtime.postgres import EmbeddedPostgres, socket_directory

_SECONDS = 60


@contextmanager
def running_postgres(state: Path, settings: Mapping[str, str]) -> Generator[EmbeddedPostgres]:
    """Run a server until the block ends.

    Args:
        state: Its folder, which is removed then.
        settings: Of the server.
    """
    server = EmbeddedPostgres(state / "data", socket_directory(state), state / "postgres.log", settings)
    try:
        server.initialise()
        process = server.start()
        server.wait_ready(_SECONDS, lambda: process.poll() is None)
        yield server
        server.stop("immediate")
        process.wait(_SECONDS)
    finally:
        shutil.rmtree(state)
