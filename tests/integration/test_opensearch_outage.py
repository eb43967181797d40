"""An OpenSearch that is killed loses nothing that was appended, and is searched again once it is back."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clusters import cluster_settings
from deadlines import STEP, allow
from search_conformance import assert_pages, varied
from servers import DEADLINE, QUICK_START
from tallystick.adapters.opensearch.index import OpenSearchIndex
from tallystick.errors import SearchDownError
from tallystick.ports import SearchRequest
from tallystick.query.terms import MatchAll
from tallystick.runtime.servers import opensearch
from tallystick.runtime.servers.local import LocalServer, free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Generator[Path]:
    # Away from pytest's folders, which as root no other account may search.
    made = Path(tempfile.mkdtemp(prefix="tallystick-opensearch-"))
    yield made
    shutil.rmtree(made)


def start(server: LocalServer, log_file: Path) -> "subprocess.Popen[bytes]":
    """Start a server."""
    with log_file.open("wb") as log:
        return subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=server.folder,
            env={**server.environment, **QUICK_START},
            **server.identity,
        )


@asynccontextmanager
async def running(server: LocalServer, folder: Path) -> AsyncGenerator[None]:
    """A server that is killed at the end."""
    process = start(server, folder / "log")
    try:
        await server.wait_ready(DEADLINE, folder / "log", lambda: process.poll() is None)
        yield
    finally:
        process.kill()
        process.wait()


async def test_a_killed_server_loses_nothing(folder: Path) -> None:
    allow(DEADLINE + STEP)
    server = await opensearch.prepare(folder, free_port(), print)
    async with OpenSearchIndex(cluster_settings(server.url, shared_events=20, timeout=60)) as index:
        async with running(server, folder):
            for end in (20, 40):
                await index.append(1, varied(end), through=end - 1)
        with pytest.raises(SearchDownError):
            await index.search(1, SearchRequest(MatchAll(), "newest", 5))
        with pytest.raises(SearchDownError):
            await index.append(1, varied(50), through=49)
        async with running(server, folder):
            await assert_pages(index, 1, varied(40), MatchAll(), limit=30)
            await index.append(1, varied(50), through=49)
            await assert_pages(index, 1, varied(50), MatchAll(), limit=30)
