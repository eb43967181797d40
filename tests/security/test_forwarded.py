"""Where a request comes from, behind proxies and past them: in access records, by HTTP and as a stream."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from access_events import awaited, recorded
from conftest import Connection
from doors import LiveDoor, live_door
from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.runtime.logging import add_request_id
from tallystick.settings import ApiSettings, RateSettings, Settings

LOGS = "/api/v1/logs"
CLIENT = "203.0.113.9"
ROOT = "1-67891233-abcdef012345678912345678"
THROUGH: Mapping[str, str] = {"x-forwarded-for": f"1.1.1.1, [2001:db8::9]:99, {CLIENT}:49152, 127.0.0.1"}
"""What arrives of a client that lies, through one proxy on this machine that was spoken to by another."""


def behind(settings: Settings, **changes: Any) -> Settings:
    """The same behind a proxy on this machine."""
    api = ApiSettings.model_validate({"trusted_proxies": ["127.0.0.0/8"], **changes})
    return settings.model_copy(update={"api": api})


@pytest_asyncio.fixture
async def live(settings: Settings) -> AsyncGenerator[LiveDoor]:
    async with live_door(behind(settings)) as opened:
        yield opened


async def ask(live: LiveDoor, *headers: Mapping[str, str], path: str = LOGS) -> httpx.Response:
    async with httpx.AsyncClient(base_url=live.url) as client:
        return await client.get(path, headers=[pair for each in headers for pair in each.items()])


async def test_a_record_names_the_client_behind_the_proxies(live: LiveDoor, owner: Connection) -> None:
    assert (await ask(live, live.door.bearer(), THROUGH)).status_code == 200
    assert [record["ip_address"] for record in await recorded(owner, phase="intent")] == [CLIENT]


async def test_a_header_in_several_lines_is_one_list(live: LiveDoor, owner: Connection) -> None:
    lines = ({"x-forwarded-for": value} for value in ("1.1.1.1", CLIENT, "127.0.0.1"))
    assert (await ask(live, live.door.bearer(), *lines)).status_code == 200
    assert [record["ip_address"] for record in await recorded(owner, phase="intent")] == [CLIENT]


async def test_a_stream_does_too(live: LiveDoor, owner: Connection) -> None:
    async with live.watch(live.door.token(), headers=THROUGH) as stream:
        assert json.loads(await stream.recv())["type"] == "heartbeat"
    assert [record["ip_address"] for record in await recorded(owner, phase="intent")] == [CLIENT]


async def test_so_does_a_refusal(live: LiveDoor, owner: Connection) -> None:
    assert (await ask(live, live.door.bearer("user"), THROUGH, path="/api/v1/access-logs")).status_code == 403
    assert [record["ip_address"] for record in await awaited(owner, "refused", 1)] == [CLIENT]


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
async def test_nobody_is_believed_whose_address_is_not_that_of_a_proxy(
    settings: Settings, owner: Connection, trusted: list[str]
) -> None:
    async with live_door(behind(settings, trusted_proxies=trusted)) as live:
        answer = await ask(live, live.door.bearer(), THROUGH, {"x-forwarded-proto": "https"})
        assert answer.status_code == 200
        assert "strict-transport-security" not in answer.headers
    assert [record["ip_address"] for record in await recorded(owner, phase="intent")] == ["127.0.0.1"]


@pytest.mark.parametrize(("hsts", "told"), [(600, "max-age=600"), (0, None)])
async def test_who_came_by_https_is_told_to_come_by_nothing_else(
    settings: Settings, hsts: int, told: str | None
) -> None:
    async with live_door(behind(settings, hsts=hsts)) as live:
        for path in ("/healthz", LOGS, "/nowhere"):
            for scheme, expected in (("https", told), ("http", None)):
                answer = await ask(live, {"x-forwarded-proto": scheme}, path=path)
                assert answer.headers.get("strict-transport-security") == expected


async def test_the_id_of_an_application_load_balancer_is_everywhere(live: LiveDoor, owner: Connection) -> None:
    balancer = {"x-amzn-trace-id": f"Self=1-67891234-12456789abcdef012345678a;Root={ROOT}"}
    with capture_logs([add_request_id]) as lines:
        answer = await ask(live, live.door.bearer(), balancer)
    assert answer.headers["x-request-id"] == ROOT
    assert [record["request_id"] for record in await recorded(owner, phase="intent")] == [ROOT]
    assert [line["request_id"] for line in lines if line["event"] == "request"] == [ROOT]


async def test_who_fails_too_often_is_told_to_wait(settings: Settings, owner: Connection) -> None:
    few = behind(settings).model_copy(update={"rates": RateSettings(failures_per_minute=2)})
    async with live_door(few) as live:
        wrong = {"authorization": "Bearer no.token.atall"}
        assert [(await ask(live, wrong, THROUGH)).status_code for _ in range(2)] == [401] * 2
        answer = await ask(live, wrong, THROUGH)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["ratelimit-policy"] == '"address";q=2;w=60'
        # Neither those with a token who share the address, nor anybody elsewhere, feel any of it.
        assert (await ask(live, live.door.bearer(), THROUGH)).status_code == 200
        assert (await ask(live, wrong, {"x-forwarded-for": "203.0.113.10"})).status_code == 401
        with pytest.raises(InvalidStatus, match="429"):
            await live.watch("no.token.atall", headers=THROUGH)
    refused = await recorded(owner, PLATFORM_TENANT, phase="refused")
    assert sum(record["metadata"]["count"] for record in refused) == 5
    assert {record["metadata"]["problem"] for record in refused} == {"unauthenticated"}
