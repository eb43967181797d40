"""The API over TLS of its own: requests, streams, exports, and what is refused."""

import json
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certificates import Authority
from doors import LiveDoor, live_door
from factories import event
from tallystick.errors import ConfigurationError
from tallystick.runtime.tls import server_context
from tallystick.settings import ApiSettings, Settings

LOGS = "/api/v1/logs"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest_asyncio.fixture
async def live(settings: Settings, authority: Authority) -> AsyncGenerator[LiveDoor]:
    shown = authority.certificate("api")
    api = ApiSettings(tls_certificate=shown.file, tls_key=shown.key)
    async with live_door(settings.model_copy(update={"api": api})) as opened:
        yield opened


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.file)


async def test_events_go_in_and_out_over_tls(live: LiveDoor, authority: Authority) -> None:
    trust = trusting(authority)
    async with (
        httpx.AsyncClient(base_url=live.url, headers=live.door.bearer(), verify=trust) as client,
        live.watch(live.door.token(), ssl=trust) as stream,
    ):
        assert json.loads(await stream.recv())["type"] == "heartbeat"
        sent = [event(metadata={"n": number, "padding": "x" * 2_000}) for number in range(200)]
        stored = await client.post(f"{LOGS}/bulk", json=sent)
        assert stored.status_code == 201
        assert stored.headers["strict-transport-security"] == "max-age=31536000"
        seen: list[int] = []
        while len(seen) < len(sent):
            frame = json.loads(await stream.recv())
            seen += [item["metadata"]["n"] for item in frame.get("items", [])]
        assert seen == list(range(len(sent)))
        exported = await client.get(f"{LOGS}/export")
        assert [json.loads(line)["metadata"]["n"] for line in exported.text.splitlines()] == seen


async def test_who_does_not_know_the_authority_or_speaks_plainly_gets_nothing(live: LiveDoor, tmp_path: Path) -> None:
    stranger = trusting(Authority(tmp_path, "stranger"))
    for url, verify in ((live.url, stranger), (live.url.replace("https", "http"), True)):
        async with httpx.AsyncClient(base_url=url, verify=verify) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/healthz")


async def test_old_versions_of_tls_are_refused(live: LiveDoor, authority: Authority) -> None:
    old = trusting(authority)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with httpx.AsyncClient(base_url=live.url, verify=old) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/healthz")


def test_what_cannot_be_used_is_named(authority: Authority, tmp_path: Path) -> None:
    ours, others = authority.certificate("ours"), authority.certificate("others")
    locked = tmp_path / "locked.key"
    key = load_pem_private_key(ours.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a password"),
        )
    )
    for settings, said in (
        (ApiSettings(tls_certificate=ours.file), "set both"),
        (ApiSettings(tls_key=ours.key), "set both"),
        (ApiSettings(tls_certificate=tmp_path / "missing", tls_key=ours.key), "No such file"),
        (ApiSettings(tls_certificate=ours.file, tls_key=others.key), "KEY_VALUES_MISMATCH"),
        (ApiSettings(tls_certificate=ours.file, tls_key=ours.file), "and its key without a password"),
        (ApiSettings(tls_certificate=ours.file, tls_key=locked), "and its key without a password"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            server_context(settings)
    assert server_context(ApiSettings()) is None
