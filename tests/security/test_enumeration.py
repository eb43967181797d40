"""What is somebody else's is answered as what never was, and takes the same way through the code."""

import ast
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from appending import append, created, post
from doors import Door
from factories import event

ROOT = Path(__file__).parents[2]
LOGS, JOBS, EXPORTS = "/api/v1/logs", "/api/v1/jobs", "/api/v1/exports"
NEVER = "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11"


@pytest_asyncio.fixture
async def theirs(door: Door) -> AsyncGenerator[dict[str, str]]:
    """Ids of an event, a job and an export of another tenant."""
    await door.make_tenant("other")
    other = door.bearer("admin", "other", subject="admin@example.com")
    found = created(await post(door, event(tenant_id="other"), token=other))["id"]
    await append(door, event())  # so that one's own log has an event in the same place
    job = await door.client.post(JOBS, json={"kind": "rebuild_index"}, headers=other)
    export = await door.client.post(EXPORTS, json={}, headers=other)
    yield {"event": found, "job": job.json()["id"], "export": export.json()["id"]}


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("event", "GET", LOGS + "/{}"),
        ("job", "GET", JOBS + "/{}"),
        ("job", "POST", JOBS + "/{}/cancel"),
        ("export", "GET", EXPORTS + "/{}"),
        ("export", "GET", EXPORTS + "/{}/content"),
        ("export", "DELETE", EXPORTS + "/{}"),
    ],
)
async def test_anothers_id_is_answered_as_one_that_never_was(
    door: Door, theirs: dict[str, str], kind: str, method: str, path: str
) -> None:
    never = theirs["event"][:-6] + "0" * 6 if kind == "event" else NEVER

    async def told(what: str) -> tuple[int, dict[str, str], Any]:
        headers = {**door.bearer(), "x-request-id": "r1"}
        answer = await door.client.request(method, path.format(what), headers=headers)
        named = answer.text.replace(what, "…")
        return (
            answer.status_code,
            {name: value for name, value in answer.headers.items() if "ratelimit" not in name},
            named,
        )

    assert await told(theirs[kind]) == await told(never)
    assert (await told(never))[0] == 404


SECRETS = {"mac", "digest", "signature", "secret", "token", "password", "key_bytes"}
"""Names of what must not be compared so that a clock tells how much of it was right."""


def test_secrets_are_compared_in_constant_time() -> None:
    """By `hmac.compare_digest`. Tokens are found by their SHA-256, and signatures verified by libraries."""
    found: list[str] = []
    downloads = ROOT / "src/tallystick/runtime/servers/artifacts.py"  # their digests are published
    for file in sorted(set((ROOT / "src").rglob("*.py")) - {downloads}):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
                sides = [node.left, *node.comparators]
                names = {side.id for side in sides if isinstance(side, ast.Name)}
                names |= {side.attr for side in sides if isinstance(side, ast.Attribute)}
                if {name.lstrip("_") for name in names} & SECRETS and not any(map(_is_literal, sides)):
                    found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def _is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)
