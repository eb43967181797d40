"""Secrets sent to an installation are nowhere on its disk: not in the database, its WAL, the index, nor in our logs."""

import asyncio
import gzip
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest
import zstandard

from installations import DEADLINE, Instance, installation
from masking_corpus import NAMES, Lot, Sample, corpus
from tallystick.privacy.masking.presets import PRESETS
from tallystick.runtime.client import read_token

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_EVENTS = 800
_WORD = "plainlyseen"
"""In every event, and no secret: what is not found either proves nothing."""

_USUAL = frozenset((*PRESETS["default"].names, *PRESETS["default"].detectors))


def _planted(lot: Lot) -> Iterator[tuple[dict[str, Any], str]]:
    """Events with a secret each, at any place and depth."""
    known = [sample for sample in corpus(seed=lot.random.randrange(2**32)) if _is_found(sample)]
    for sample in lot.random.sample(known, _EVENTS - 200):
        assert sample.secret is not None
        yield sample.event, sample.secret
    names = [name for rule, names in NAMES.items() if rule in _USUAL for name in names]
    for _ in range(200):
        secret = lot.token(16)
        tree: Any = {lot.random.choice(names): lot.random.choice([secret, [secret], {"x": [1, secret]}])}
        for _ in range(lot.random.randrange(4)):
            tree = lot.random.choice([[tree], {lot.text(4): tree, "n": 1}, [0, {"k": [tree]}]])
        yield {lot.random.choice(["before", "after", "metadata"]): {"t": tree}}, secret


def _is_found(sample: Sample) -> bool:
    """Whether it is of the preset that tenants have, and not one of those that the corpus knows to be missed."""
    return sample.secret is not None and sample.rule in _USUAL and not sample.hard


def _event(lot: Lot, fields: dict[str, Any], number: int) -> dict[str, Any]:
    event = {"action": f"{_WORD}.sent", "resource_type": "thing", "resource_id": f"{_WORD}-{number}", **fields}
    if number % 3 == 0:
        event["event_id"] = f"event-{number}-{lot.text(6)}"
    return event


def _written(lot: Lot, value: Any) -> bytes:
    """JSON as a client may write it: letters escaped or not, with spaces or without."""
    text = json.dumps(value, ensure_ascii=lot.random.random() < 0.5, indent=lot.random.choice([None, 1]))
    if lot.random.random() < 0.3:
        text = re.sub(r"(?<=[a-z])([a-z])(?=[a-z])", lambda match: f"\\u{ord(match[1]):04x}", text)
    return text.encode()


def _encoded(lot: Lot, body: bytes) -> tuple[bytes, dict[str, str]]:
    match lot.random.randrange(3):
        case 0:
            return gzip.compress(body), {"content-encoding": "gzip"}
        case 1:
            return zstandard.compress(body), {"content-encoding": "zstd"}
        case _:
            return body, {}


async def _send(client: httpx.AsyncClient, lot: Lot, events: list[dict[str, Any]]) -> None:
    """Send all of them: alone, in bulk, again, in ways that are refused, and to see what would become of them."""
    rest = list(events)
    while rest:
        part, rest = rest[: (count := lot.random.choice([1, 1, 2, 30]))], rest[count:]
        path = "/logs" if count == 1 else "/logs/bulk"
        body, headers = _encoded(lot, _written(lot, part[0] if count == 1 else part))
        headers |= {"content-type": "application/json"}
        key = {"idempotency-key": lot.text(8)} if lot.random.random() < 0.3 else {}
        for _ in range(1 + bool(key)):
            answer = await client.post(path, content=body, headers={**headers, **key})
            assert answer.status_code == 201, answer.text
        one = part[0]
        if "event_id" in one:
            again = await client.post("/logs", json=one)
            assert again.status_code == 201, again.text
            changed = await client.post("/logs", json={**one, "request_id": "other"})
            assert changed.status_code == 409, changed.text
        if lot.random.random() < 0.2:
            assert (await client.post("/logs", json={**one, "colour": "red"})).status_code == 422
            assert (await client.post("/logs", content=json.dumps(one)[:-1])).status_code == 422
            assert (await client.post("/logs/mask", json={"event": one})).status_code == 200


async def _until_indexed(database: Connection) -> None:
    async with asyncio.timeout(DEADLINE):
        while await database.fetchval(  # noqa: ASYNC110 - by another process, which sends no signal
            "select exists(select from tallystick.logs log left join tallystick.cursors cursor"
            " on cursor.log_id = log.id and cursor.follower = 'search'"
            " where log.size - 1 > coalesce(cursor.seq, -1))"
        ):
            await asyncio.sleep(0.1)


def _spellings(secret: str) -> set[bytes]:
    """A secret as it might stand in a file: as it is, as JSON, as words of an index."""
    quoted = json.dumps(secret)[1:-1]
    return {form.encode().lower() for form in (secret, quoted, json.dumps(quoted)[1:-1])}


def _contents(home: Path) -> Iterator[tuple[Path, bytes]]:
    for file in home.rglob("*"):
        if file.is_file():
            yield file.relative_to(home), file.read_bytes().lower()


async def _checkpointed(instance: Instance) -> Connection:
    """A connection as the owner, once the events are in the database's files."""
    assert instance.run.database_url is not None
    database: Connection = await asyncpg.connect(instance.run.database_url)
    await _until_indexed(database)
    superuser: Connection = await asyncpg.connect(
        instance.run.database_url.replace("tallystick_owner@", "postgres@", 1)
    )
    await superuser.execute("checkpoint")
    await superuser.close()
    return database


@pytest.mark.slow
async def test_no_planted_secret_is_on_disk() -> None:
    lot = Lot(random.Random(20))  # noqa: S311 - none of these secrets opens anything
    planted = list(_planted(lot))
    events = [_event(lot, fields, number) for number, (fields, _) in enumerate(planted)]
    secrets = {form for _, secret in planted if len(secret) > 9 for form in _spellings(secret)}
    assert len(secrets) > 400
    pattern = re.compile(b"|".join(re.escape(form) for form in sorted(secrets, key=len, reverse=True)))

    async with installation(measured=False) as instance:
        token = read_token(Path(instance.run.token_file))
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=f"{instance.run.url}/api/v1", headers=headers, timeout=60) as client:
            await _send(client, lot, events)
        database = await _checkpointed(instance)
        bodies = [row["body"] for row in await database.fetch("select body from tallystick.events")]
        answers = [str(row["answer"]) for row in await database.fetch("select answer from tallystick.retry_keys")]
        await database.close()
        files = dict(_contents(instance.state.home))

    assert sum(_WORD in body for body in bodies) == len(events)
    for text in (*bodies, *answers):  # TOAST may have compressed what no file shows
        found = pattern.search(text.encode().lower())
        assert found is None, (found, text)
    seen = {file.parts[0] for file, content in files.items() if _WORD.encode() in content}
    assert len(seen) >= 2, f"neither the database nor the index has them: {seen}"
    assert any("pg_wal" in file.parts and _WORD.encode() in content for file, content in files.items())
    for file, content in files.items():
        found = pattern.search(content)
        assert found is None, (file, found)
