"""The isolation probe finds nothing where tenants are kept apart, and whatever is to be found where they are not."""

import re
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from doors import LiveDoor, live_door
from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.model import Principal, Role
from tallystick.auth.operations import OPERATIONS, Operation
from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.probe.callers import Given, Signed
from tallystick.probe.model import Canary, Kind, Report, Verdict
from tallystick.probe.planting import tenant_names
from tallystick.probe.recipes import RECIPES, Inside, Owner, Recipe, Streamed
from tallystick.probe.service import Plan, probe
from tallystick.settings import Settings
from working import hurried, working

FIRST, SECOND = tenant_names(2)
NEVER = "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11"
THERE = {*OPERATIONS, "healthz", "readyz", "metrics"}
"""Every operation that there is; recipes for others wait for theirs."""


SILENT = {"run_job", "preview_masking", "clean_up"}
"""What shows nothing of whose it is: a new job, what settings that are alike make of an event, the count of nothing."""

FOR_PLATFORM_ADMINS = {"remove_tenant", "restore_tenant"}
"""What no role of a tenant may do in any tenant, whichever it is taken for."""


@asynccontextmanager
async def deployment(settings: Settings) -> AsyncGenerator[LiveDoor]:
    async with live_door(hurried(settings)) as live, working(live.door.services.settings):
        yield live


def plan(live: LiveDoor, **changes: Any) -> Plan:
    made = live.door.services
    tokens = Signed(made.settings.auth, made.keyring)
    platform = live.door.token("admin", platform=True)
    return replace(Plan(live.url, [FIRST, SECOND], tokens, platform, patience=20), **changes)


def unseen(_done: int, _total: int) -> None: ...


def question_of(canary: Canary) -> str:
    return canary.words["question"]


async def probed(live: LiveDoor, **changes: Any) -> Report:
    return await probe(plan(live, **changes), unseen)


def only(*names: str) -> dict[str, Any]:
    return {name: RECIPES[name] for name in names}


@pytest.mark.slow
async def test_nothing_is_found_where_tenants_are_kept_apart(settings: Settings) -> None:
    steps: list[tuple[int, int]] = []
    async with deployment(settings) as live:
        report = await probe(plan(live), lambda done, total: steps.append((done, total)))
        left = await live.door.client.get(
            "/api/v1/exports",
            params={"tenant_id": FIRST},
            headers=live.door.bearer("admin", platform=True),
        )
    assert report.findings == []
    assert report.verdict is Verdict.CLEAN
    assert report.controls == {name: 2 * len(known) for name, known in RECIPES.items() if name in THERE}
    assert set(report.attempts) == set(report.controls) == THERE
    assert steps == [(done, steps[-1][1]) for done in range(1, steps[-1][1] + 1)]
    assert left.json()["items"] == []


class OpenGate(Gate):
    """Lets everybody who has a token do everything everywhere."""

    async def authorise(self, principal: Principal, operation: Operation, tenant_id: str | None) -> Access:
        anybody = replace(principal, everywhere=True, roles=Role.ADMIN, scopes=None)
        return await super().authorise(anybody, operation, tenant_id)


class ConfusedGate(Gate):
    """Lets in whom it should, and then takes everybody to be where it saw them first."""

    homes: ClassVar[dict[str, str]]

    async def authorise(self, principal: Principal, operation: Operation, tenant_id: str | None) -> Access:
        access = await super().authorise(principal, operation, tenant_id)
        home = await self._tenancy.find(self.homes.setdefault(principal.subject, access.tenant.id))
        assert home is not None
        return replace(access, tenant=home)

    async def recheck(self, access: Access, operation: Operation) -> None:
        """It would notice at once: a stream names the tenant that it is let in to."""


class Gossip:
    """Puts the first words of anybody's body and query into a header of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._heard: list[bytes] = []
        self._asked: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self._asked) < 2:
            self._asked += re.findall(rb"canary[a-z]{20}", scope["query_string"])

        async def listen() -> MutableMapping[str, Any]:
            message = await receive()
            if len(self._heard) < 8:
                self._heard += re.findall(rb"canary[a-z]{20}", message.get("body", b""))
            return message

        async def tell(message: MutableMapping[str, Any]) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = [*message["headers"], (b"x-debug", b" ".join([*self._asked, *self._heard[:8]]))]
            await send(message)

        await self._app(scope, listen, tell)


def shape(line: str) -> str:
    """A request without what differs from run to run."""
    line = re.sub(r"canary[a-z]{20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|probe-canary-.", "*", line)
    return re.sub(r"=[^&]*", "=", line)


def shapes(*, asked_inside: bool = False) -> set[tuple[str, str]]:
    """Every recipe, but those for what needs no token, and on demand those that one's own tenant is not asked by."""
    canary = Canary(FIRST, "x", access_id=NEVER, cursors=dict.fromkeys(("events", "jobs", "exports", "access"), ""))
    found: set[tuple[str, str]] = set()
    for name, known in only(*THERE).items():
        for each in known:
            if isinstance(each, Streamed):
                found.add((name, shape(f"STREAM {each.path}?tenant_id={FIRST}")))
            elif each.owner is not Owner.NOBODY and not (asked_inside and each.inside is Inside.UNASKED):
                found.add((name, shape(each.ask(FIRST, canary).line)))
    return found


def leaking(report: Report) -> set[tuple[str, str]]:
    return {(each.operation, shape(each.request)) for each in report.of(Kind.LEAK)}


@pytest.mark.slow
async def test_every_recipe_finds_a_gate_that_lets_everybody_in(settings: Settings) -> None:
    async with deployment(settings) as live:
        live.door.services.gate.__class__ = OpenGate
        report = await probed(live)
    assert report.verdict is Verdict.LEAK
    assert leaking(report) >= shapes()


@pytest.mark.slow
async def test_every_recipe_finds_a_tenant_that_is_taken_for_another(settings: Settings) -> None:
    async with deployment(settings) as live:
        ConfusedGate.homes = {}
        live.door.services.gate.__class__ = ConfusedGate
        report = await probed(live)
    missed = shapes(asked_inside=True) - leaking(report)
    assert {name for name, _ in missed} <= SILENT | FOR_PLATFORM_ADMINS


@pytest.mark.slow
async def test_every_operation_finds_what_is_told_in_a_header(settings: Settings) -> None:
    async with deployment(settings) as live:
        stack = live.door.app.middleware_stack
        assert stack is not None
        live.door.app.middleware_stack = Gossip(stack)
        report = await probed(live)
    assert {each.operation for each in report.of(Kind.LEAK)} == THERE


async def test_an_operation_without_a_recipe_is_named(settings: Settings) -> None:
    async with deployment(settings) as live:
        report = await probed(live, recipes=only("read_event"))
    assert {each.operation for each in report.of(Kind.UNPROBED)} == THERE - {"read_event"}
    assert (report.verdict, report.verdict.exit_code) == (Verdict.UNDECIDED, 2)


async def test_a_probe_whose_control_fails_proves_nothing(settings: Settings) -> None:
    (reading,) = RECIPES["read_event"]
    assert isinstance(reading, Recipe)
    blind = replace(reading, shows=question_of)
    closed = replace(reading, shows=None, statuses=(204,))
    async with deployment(settings) as live:
        for tenant_id in (FIRST, SECOND):
            await live.door.make_tenant(tenant_id)
        known = {**only("list_tenants"), "read_event": [blind, closed]}
        report = await probed(live, recipes=known, platform=None)
    void = [(each.operation, each.reason) for each in report.of(Kind.VOID)]
    assert len(void) == 6
    assert {reason for name, reason in void if name == "read_event" and "show" not in reason} == {
        "the owner was answered 200"
    }
    assert ("list_tenants", "needs a platform admin's token for its positive control") in void
    assert report.verdict is Verdict.UNDECIDED


async def test_without_a_worker_nothing_can_be_told(settings: Settings) -> None:
    async with live_door(settings) as live:
        with pytest.raises(UnavailableError, match="does a worker run"):
            await probed(live, patience=1)


async def test_what_does_not_answer_is_no_leak(settings: Settings) -> None:
    async with live_door(settings) as live:
        nowhere = replace(plan(live), url="http://127.0.0.1:1", patience=0.5)
        with pytest.raises(UnavailableError):
            await probe(nowhere, unseen)
        with pytest.raises(ConfigurationError, match="OpenAPI"):
            await probe(replace(nowhere, url=f"{live.url}/healthz"), unseen)


async def test_tokens_of_another_issuer_can_be_given(settings: Settings) -> None:
    async with deployment(settings) as live:
        tokens: dict[str, dict[str, str]] = {}
        for tenant_id in (FIRST, SECOND):
            await live.door.make_tenant(tenant_id)
            tokens[tenant_id] = {role: live.door.token(role, tenant_id) for role in ("admin", "user")}
        names = ("read_event", "list_events", "stream_events")
        report = await probed(live, tokens=Given(tokens), platform=None, recipes=only(*names))
    assert [each for each in report.findings if each.kind is not Kind.UNPROBED] == []
    assert set(report.attempts) == set(names)
    with pytest.raises(ConfigurationError, match="two tenants"):
        Given({FIRST: tokens[FIRST]})
    with pytest.raises(ConfigurationError, match=SECOND):
        Given({FIRST: tokens[FIRST], SECOND: {"user": "x"}})


class Failing:
    """Fails where an event is read in another tenant than one."""

    def __init__(self, app: ASGIApp, spared: str) -> None:
        self._app = app
        self._spared = f"tenant_id={spared}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "/logs/0" not in scope["path"] or self._spared in scope["query_string"]:
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


async def test_a_server_that_fails_does_not_refuse(settings: Settings) -> None:
    async with deployment(settings) as live:
        stack = live.door.app.middleware_stack
        assert stack is not None
        live.door.app.middleware_stack = Failing(stack, FIRST)
        report = await probed(live, recipes=only("read_event"))
    void = report.of(Kind.VOID)
    assert report.of(Kind.LEAK) == []
    assert {"the server failed with 500" in each.reason or each.caller == "the owner" for each in void} == {True}
    assert any(each.caller == f"admin of {SECOND}" for each in void)
