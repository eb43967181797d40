"""Each layer of isolation holds alone: the others are taken away, and nothing of another tenant comes through."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, ClassVar

import asyncpg
import httpx
import pytest

from appending import append
from conftest import Connection
from doors import Door, open_door, upgrade
from factories import event
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.model import Principal, Role
from tallystick.auth.operations import Operation
from tallystick.database.pools import Connection as Session
from tallystick.database.pools import Database, LogFunction
from tallystick.export.model import Finished
from tallystick.export.queries import finish_export
from tallystick.objects.store import Objects
from tallystick.ports import Hits, SearchRequest
from tallystick.query.terms import MatchAll
from tallystick.settings import Settings
from working import hurried, working

OWN, OTHER = "own", "other"
SECRET = "canaryofanothertenant"  # pragma: allowlist secret
LOGS = "/api/v1/logs"


@dataclass(frozen=True)
class House:
    """An application with two tenants: each has the same events, but for one word."""

    door: Door
    own_log: int
    other_log: int
    event_id: str

    async def ask(self, path: str, *, method: str = "GET", body: Any = None, **query: str) -> httpx.Response:
        """As an admin of one's own tenant."""
        headers = self.door.bearer("admin", OWN)
        return await self.door.client.request(method, path, params=query, json=body, headers=headers)


@asynccontextmanager
async def house(settings: Settings, owner: Connection) -> AsyncGenerator[House]:
    async with open_door(settings) as door:
        platform = door.bearer("admin", platform=True)
        for tenant_id, word in ((OWN, "harmless"), (OTHER, SECRET)):
            await door.make_tenant(tenant_id)
            told = {"action": word, "resource_id": word, "request_id": word, "message": word}
            await append(door, *[event(tenant_id=tenant_id, **told) for _ in range(3)], token=platform)
        rows = await owner.fetch("select id, tenant_id from tallystick.logs where name = 'events'")
        logs = {row["tenant_id"]: row["id"] for row in rows}
        listed = await door.client.get(LOGS, params={"tenant_id": OTHER}, headers=platform)
        assert SECRET in listed.text
        yield House(door, logs[OWN], logs[OTHER], listed.json()["items"][0]["id"])


READS: tuple[tuple[str, dict[str, str]], ...] = (
    (LOGS, {}),
    (LOGS, {"order": "seq"}),
    (LOGS, {"q": SECRET, "highlight": "true"}),
    (LOGS, {"action": SECRET}),
    (f"{LOGS}/export", {"format": "ndjson"}),
    (f"{LOGS}/export", {"format": "csv", "q": SECRET}),
    (f"{LOGS}/correlated/{SECRET}", {}),
    (f"/api/v1/resources/invoice/{SECRET}/history", {}),
)
"""Everything that answers with events."""


class OpenGate(Gate):
    """No token layer: whoever has any token may do everything everywhere."""

    async def authorise(self, principal: Principal, operation: Operation, tenant_id: str | None) -> Access:
        anybody = replace(principal, everywhere=True, roles=Role.ADMIN, scopes=None)
        return await super().authorise(anybody, operation, tenant_id)


class OneLog(Database):
    """Sessions of one log alone, whichever is asked for."""

    __slots__ = ()
    log: ClassVar[int]

    @asynccontextmanager
    async def log_session(self, log_id: int, snapshot: str | None = None) -> AsyncGenerator[Session]:
        del log_id
        async with super().log_session(self.log, snapshot) as session:
            yield session

    async def log_fetch(self, function: LogFunction, log_id: int, *arguments: object) -> list[asyncpg.Record]:
        del log_id
        return await super().log_fetch(function, self.log, *arguments)

    async def logs_fetch(
        self, log_ids: Sequence[int], afters: Sequence[int], sinces: Sequence[datetime | None], most: int, budget: int
    ) -> list[asyncpg.Record]:
        return await super().logs_fetch([self.log for _ in log_ids], afters, sinces, most, budget)


async def test_without_the_token_layer_a_session_shows_its_own_log_alone(settings: Settings, owner: Connection) -> None:
    """Whatever the layers above let through, and wherever they believe to be."""
    async with house(settings, owner) as built:
        built.door.services.gate.__class__ = OpenGate
        for path, query in READS:  # the gate is open: it all comes through
            assert SECRET in (await built.ask(path, tenant_id=OTHER, **query)).text, path
        OneLog.log = built.own_log
        object.__setattr__(built.door.services.database, "__class__", OneLog)  # it is frozen
        for path, query in READS:
            answer = await built.ask(path, tenant_id=OTHER, **query)
            assert answer.status_code == 200
            assert SECRET not in answer.text, path
        assert (await built.ask(f"{LOGS}/{built.event_id}", tenant_id=OTHER)).status_code == 404


class LyingIndex(TantivyIndex):
    """Answers questions about one log with what it finds in another."""

    lies: ClassVar[dict[int, int]]

    async def search(self, log_id: int, request: SearchRequest) -> Hits:
        return await super().search(self.lies.get(log_id, log_id), request)


async def test_an_index_that_answers_with_anothers_places_shows_nothing(settings: Settings, owner: Connection) -> None:
    async with working(hurried(settings)), house(hurried(settings), owner) as built:
        index = built.door.services.search._index  # pyright: ignore[reportPrivateUsage]
        assert isinstance(index, TantivyIndex)
        while (await index.state(built.other_log)).through < 2:  # a worker says nothing when it is done
            pass
        LyingIndex.lies = {built.own_log: built.other_log}
        index.__class__ = LyingIndex
        lied = await index.search(built.own_log, SearchRequest(query=MatchAll(), order="newest", limit=10))
        assert len(lied.hits) == 3  # it does lie
        for path, query in READS:
            answer = await built.ask(path, tenant_id=OWN, **query)
            assert answer.status_code == 200
            assert SECRET not in answer.text, path


async def test_without_the_views_the_token_layer_refuses(settings: Settings, owner: Connection) -> None:
    """The views show every log here, as they would to the tables' owner."""
    await owner.execute(
        "create or replace view tallystick.log_events as"
        " select seq, received_at, occurred_at, leaf_hash, body from tallystick.events"
    )
    async with house(settings, owner) as built:
        platform = built.door.bearer("admin", platform=True)
        mixed = await built.door.client.get(LOGS, params={"tenant_id": OWN}, headers=platform)
        assert SECRET in mixed.text  # there are no views
        for role in ("user", "auditor", "admin"):
            headers = built.door.bearer(role, OWN)
            for path, query in (*READS, (f"{LOGS}/{built.event_id}", {}), (f"{LOGS}/stats", {})):
                answer = await built.door.client.get(path, params={"tenant_id": OTHER, **query}, headers=headers)
                assert answer.status_code == 403, path
                assert SECRET not in answer.text
            stream = await upgrade(built.door.app, f"{LOGS}/stream", {"tenant_id": OTHER}, headers)
            assert stream.status_code == 403


@pytest.mark.parametrize("where", ["another tenant's", "another export's", "a way round"])
async def test_an_object_from_outside_of_its_own_folder_is_not_sent(
    settings: Settings, owner: Connection, where: str
) -> None:
    """A row that names another's object, by a mistake or by somebody who can write it, opens nothing."""
    async with house(settings, owner) as built:
        made = [await built.ask("/api/v1/exports", method="POST", body={"tenant_id": OWN}) for _ in range(2)]
        mine, beside = (each.json()["id"] for each in made)
        theirs = {
            "another tenant's": f"tenants/{OTHER}/exports/{mine}/x",
            "another export's": f"tenants/{OWN}/exports/{beside}/x",
            "a way round": f"tenants/{OWN}/exports/{mine}/../../../{OTHER}/exports/x",
        }[where]

        async def content() -> AsyncGenerator[bytes]:
            yield SECRET.encode()

        objects = Objects.from_settings(settings.objects, settings.home)
        own = f"tenants/{OWN}/exports/{mine}/x"
        for key in {own, theirs} - {key for key in (theirs,) if ".." in key}:
            await objects.put(key, content())
        digest = sha256(SECRET.encode()).digest()
        await owner.execute("update tallystick.jobs set state = 'running' where id = $1::text::uuid", mine)
        async with built.door.services.database.worker_session() as connection:
            assert await finish_export(connection, mine, Finished(own, 1, len(SECRET), digest, None), 3600)
        await owner.execute("update tallystick.jobs set state = 'succeeded' where id = $1::text::uuid", mine)
        fetched = await built.ask(f"/api/v1/exports/{mine}/content", tenant_id=OWN)
        assert (fetched.status_code, fetched.text) == (200, SECRET)
        await owner.execute("update tallystick.exports set object = $2 where job_id = $1::text::uuid", mine, theirs)
        refused = await built.ask(f"/api/v1/exports/{mine}/content", tenant_id=OWN)
        assert refused.status_code == 410
        assert SECRET not in refused.text
