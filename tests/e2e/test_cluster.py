"""The production picture under load while each of its parts is killed, and then rolled to a new release."""

import asyncio
import itertools
import json
import re
import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from deadlines import STEP, allow
from installations import until
from local_clusters import ROOT, RunningCluster, local_cluster
from tallystick import __version__

KILLED = ("OpenSearch", "ElasticMQ", "worker 1", "Valkey", "API process 1", "HAProxy", "PostgreSQL")
RETRYABLE = (429, 502, 503, 504)
GOING_ON_ELSEWHERE = 1012
SEARCH_DOWN = "503 The search index does not answer"
PROGRESS = 40
"""Requests that are answered after a kill before the next one."""

_SINGLES, _BULKS, _READERS = 3, 2, 2
_BULK = 20
_LONGEST_PAUSE = 0.5
_PACE = 0.05
"""Seconds of a client from an answer to its next request: the load is to go on, not to fill the machine."""


@dataclass
class Ledger:
    """What the clients know.

    Attributes:
        acknowledged: The id of each event that was, by the mark that its client gave it.
        streamed: The marks that came over the stream, in their order.
        answered: Requests that were, of writers and readers.
        troubles: What clients saw beside answers that they wanted, by what happened meanwhile.
        meanwhile: What happens now.
        stop: Whether writers and readers have done enough.
        last_seq: The seq at which the stream may end, once it is known.
    """

    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    streamed: list[str] = field(default_factory=list[str])
    answered: int = 0
    troubles: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    meanwhile: str = "nothing"
    stop: bool = False
    last_seq: int | None = None

    def trouble(self, what: str) -> None:
        """Note what a client must put up with."""
        self.troubles.setdefault(self.meanwhile, Counter())[what] += 1


@pytest_asyncio.fixture
async def cluster() -> AsyncGenerator[RunningCluster]:
    # Workers look at once for what a lost message would have told; streams are read through by their tests.
    async with local_cluster(TALLYSTICK_QUEUE__SWEEP_INTERVAL="2") as running:
        yield running


async def answer_to(
    cluster: RunningCluster, client: httpx.AsyncClient, ledger: Ledger, *request: Any, **options: Any
) -> httpx.Response:
    """Ask as a client should: again, with the same key, while it is told or must guess that this may help."""
    while True:
        try:
            answer = await client.request(*request, **options)
        except httpx.TransportError as error:
            ledger.trouble(type(error).__name__)
            await asyncio.sleep(0.05)
            continue
        if answer.status_code in (200, 201):
            ledger.answered += 1
            await asyncio.sleep(_PACE)
            return answer
        assert answer.status_code in RETRYABLE, f"{answer.status_code} {answer.text}\n{cluster.faults()}"
        assert answer.headers["content-type"] == "application/problem+json"
        ledger.trouble(f"{answer.status_code} {answer.json()['title']}")
        await asyncio.sleep(min(float(answer.headers["retry-after"]), _LONGEST_PAUSE))


def marked(mark: str) -> dict[str, str]:
    return {"action": "cluster.tried", "resource_type": "thing", "request_id": mark, "message": "all of it is kept"}


async def write_singles(cluster: RunningCluster, ledger: Ledger, name: str) -> None:
    async with cluster.client() as client:
        for number in itertools.count():
            if ledger.stop:
                return
            mark = f"{name}-{number}"
            sent = {**marked(mark), "event_id": mark}
            ledger.acknowledged[mark] = (await answer_to(cluster, client, ledger, "POST", "/logs", json=sent)).json()[
                "id"
            ]


async def write_bulks(cluster: RunningCluster, ledger: Ledger, name: str) -> None:
    async with cluster.client() as client:
        for number in itertools.count():
            if ledger.stop:
                return
            marks = [f"{name}-{number}-{part}" for part in range(_BULK)]
            key = {"idempotency-key": f"{name}-{number}"}
            events = [marked(mark) for mark in marks]
            answer = await answer_to(cluster, client, ledger, "POST", "/logs/bulk", json=events, headers=key)
            ledger.acknowledged |= dict(zip(marks, answer.json()["ids"], strict=True))


async def read(cluster: RunningCluster, ledger: Ledger) -> None:
    """List, and search for what is in the events."""
    async with cluster.client() as client:
        for number in itertools.count():
            if ledger.stop:
                return
            asked = {"limit": "20", **({"q": "kept"} if number % 2 else {})}
            answer = await answer_to(cluster, client, ledger, "GET", "/logs", params=asked)
            assert all(item["action"] == "cluster.tried" for item in answer.json()["items"])


async def watch(cluster: RunningCluster, ledger: Ledger) -> None:
    """Watch from the first event to the last, and go on after every break where it was."""
    after = -1
    url, headers, trust = cluster.picture["url"].replace("https", "wss"), cluster.headers, cluster.trust
    while ledger.last_seq is None or after < ledger.last_seq:
        place = f"{url}/api/v1/logs/stream?after_seq={after}"
        try:
            async with connect(place, ssl=trust, additional_headers=headers, compression=None) as stream:
                async for message in stream:
                    frame: dict[str, Any] = json.loads(message)
                    ledger.streamed += [item["request_id"] for item in frame.get("items", ())]
                    after = frame["seq"]
                    if ledger.last_seq is not None and after >= ledger.last_seq:
                        return
        except (ConnectionClosed, InvalidHandshake, OSError) as error:
            pause = broken_off(error, ledger, after)
            await asyncio.sleep(pause)


def broken_off(error: Exception, ledger: Ledger, after: int) -> float:
    """Judge how a stream ended; returns the seconds after which to come back."""
    if isinstance(error, ConnectionClosed):
        code = error.rcvd.code if error.rcvd else 1006
        if error.rcvd and code == GOING_ON_ELSEWHERE:
            assert int(error.rcvd.reason) == after, "what it was told to go on after is what it has"
            return 0
        assert code in (1006, 1011, 1013), error
        ledger.trouble(f"stream closed with {code}")
    elif isinstance(error, InvalidStatus):
        assert error.response.status_code in RETRYABLE
        ledger.trouble(f"stream refused with {error.response.status_code}")
    else:
        ledger.trouble(f"stream {type(error).__name__}")
    return 0.05


async def progress(ledger: Ledger) -> None:
    enough = ledger.answered + PROGRESS
    await until(lambda: ledger.answered >= enough, STEP)


async def kill_each(cluster: RunningCluster, ledger: Ledger) -> None:
    """Kill one of each; the first takes longest to come back, so the others are killed meanwhile."""
    killed: dict[str, int] = {}
    for name in KILLED:
        ledger.meanwhile = f"{name} killed"
        killed[name] = cluster.kill(name)
        if name != KILLED[0]:
            await cluster.back(name, killed[name])
        await progress(ledger)
    for name, before in killed.items():
        await cluster.back(name, before)
    await cluster.all_serve()


async def calm(ledger: Ledger) -> None:
    """Wait until nobody has trouble any more: a server that is back is not at once what it was."""
    ledger.meanwhile = "recovering"
    async with asyncio.timeout(STEP):
        while True:
            before = ledger.troubles.get(ledger.meanwhile, Counter[str]()).total()
            await progress(ledger)
            if ledger.troubles.get(ledger.meanwhile, Counter[str]()).total() == before:
                return


def next_release(folder: Path) -> tuple[Path, str]:
    """This release with another version and one more migration; returns its tree and version."""
    for part in ("src", "packages"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    version = f"{__version__}.post1"
    init = folder / "src" / "tallystick" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{__version__}"', f'"{version}"'))
    migrations = folder / "src" / "tallystick" / "database" / "migrations"
    newest = max(int(match[0]) for file in migrations.glob("*.sql") if (match := re.match(r"\d+", file.name)))
    (migrations / f"{newest + 1:04}_something_more.sql").write_text(
        "alter table tallystick.tenants add column something_more text;\n"
        "create table tallystick.something_more (id int primary key);\n"
    )
    return folder, version


async def stored_marks(cluster: RunningCluster) -> dict[str, str]:
    """The id of each stored event by its mark, read in order of seq, which has no gap."""
    found: dict[str, str] = {}
    after = -1
    async with cluster.client() as client:
        while True:
            asked = {"order": "seq", "after_seq": str(after), "limit": "1000"}
            answer = await client.get("/logs", params=asked)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            items = page["items"]
            assert [item["seq"] for item in items] == list(range(after + 1, after + 1 + len(items)))
            for item in items:
                assert item["request_id"] not in found, "an event is there twice"
                found[item["request_id"]] = item["id"]
            after += len(items)
            if page["next"] is None:
                return found


@pytest.mark.slow
async def test_kills_lose_and_double_nothing_and_a_roll_is_not_even_noticed(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    allow(4 * STEP)
    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch(cluster, ledger))
        clients = [
            *(group.create_task(write_singles(cluster, ledger, f"single-{n}")) for n in range(_SINGLES)),
            *(group.create_task(write_bulks(cluster, ledger, f"bulk-{n}")) for n in range(_BULKS)),
            *(group.create_task(read(cluster, ledger)) for _ in range(_READERS)),
        ]
        await progress(ledger)
        await kill_each(cluster, ledger)
        await calm(ledger)

        tree, version = next_release(tmp_path / "next")
        ledger.meanwhile = "rolled"
        await cluster.roll(tree)
        await progress(ledger)
        ledger.stop = True
        await asyncio.wait(clients)
        stored = await stored_marks(cluster)
        ledger.last_seq = len(stored) - 1
        await asyncio.wait_for(watching, STEP)

    print(f"{len(stored):,} events; troubles of clients: {ledger.troubles}")  # noqa: T201  # for -s
    assert stored == ledger.acknowledged
    assert ledger.streamed == list(stored)
    # On a busy machine OpenSearch may not answer in time, which is no matter of the roll.
    rolled = set(ledger.troubles.get("rolled", ())) - {SEARCH_DOWN}
    assert not rolled, "a roll is no reason for anybody to try again"
    assert any(ledger.troubles.values()), "the kills were felt"
    async with httpx.AsyncClient(base_url=cluster.picture["url"], verify=cluster.trust) as client:
        assert (await client.get("/openapi.json")).json()["info"]["version"] == version
    await found_by_search(cluster, len(stored))


async def found_by_search(cluster: RunningCluster, size: int) -> None:
    """Every event is in the index, which is compared with the log event by event once it has caught up."""
    async with asyncio.timeout(STEP), cluster.client() as client:
        while True:
            answer = await client.get("/logs", params={"q": "kept", "limit": "1"})
            assert answer.status_code == 200, answer.text
            if answer.json()["indexed_through"] == size - 1:
                break
            await asyncio.sleep(0.1)
    await cluster.command("-m", "tallystick", "followers", "verify", "--tenant", "default")
