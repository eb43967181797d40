"""Rings of master keys, in a file and in KMS: one suite for both."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from kms_servers import ask_kms, make_key
from tallystick.adapters.kms import KmsKeyRing
from tallystick.auth.keys import KeyKind, load_or_create, rotate
from tallystick.errors import ConfigurationError, KeysDownError
from tallystick.ports import KeyRing, MasterKeyLostError, Wrapped
from tallystick.privacy.local import LocalKeyRing
from tallystick.settings import KeySettings

KEY = bytes(range(32))
CONTEXT = {"tenant_id": "acme", "key_id": "k-1", "purpose": "data"}


@dataclass(frozen=True)
class Kind:
    """A ring under test.

    Attributes:
        rotated: Gives the ring as it is with another active key, the former one still held.
    """

    ring: KeyRing
    rotated: Callable[[], Awaitable[KeyRing]]


@pytest_asyncio.fixture(params=["local", "kms"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Kind]:
    if request.param == "local":
        ring = LocalKeyRing(load_or_create(tmp_path / "keys").master)

        async def rotated() -> KeyRing:
            rotate(tmp_path / "keys", KeyKind.MASTER)
            return ring

        yield Kind(ring, rotated)
        return
    settings: KeySettings = request.getfixturevalue("kms_settings")
    async with contextlib.AsyncExitStack() as stack:

        async def other() -> KeyRing:
            key_id = make_key(settings.endpoint or "")
            return await stack.enter_async_context(KmsKeyRing(settings.model_copy(update={"key_id": key_id})))

        yield Kind(await stack.enter_async_context(KmsKeyRing(settings)), other)


async def test_what_is_wrapped_is_unwrapped(kind: Kind) -> None:
    wrapped = await kind.ring.wrap(KEY, CONTEXT)
    assert wrapped.master_key_id == await kind.ring.active_id()
    assert KEY not in wrapped.content
    assert await kind.ring.unwrap(wrapped, CONTEXT) == KEY
    assert (await kind.ring.wrap(KEY, CONTEXT)).content != wrapped.content


@pytest.mark.parametrize(
    "context",
    [{}, {**CONTEXT, "tenant_id": "other"}, {**CONTEXT, "more": "x"}, {"tenant_id": "acme"}],
)
async def test_another_context_does_not_open_it(kind: Kind, context: dict[str, str]) -> None:
    wrapped = await kind.ring.wrap(KEY, CONTEXT)
    with pytest.raises(MasterKeyLostError):
        await kind.ring.unwrap(wrapped, context)
    with pytest.raises(MasterKeyLostError):
        await kind.ring.rewrap(wrapped, context)


async def test_what_was_altered_is_not_opened(kind: Kind) -> None:
    wrapped = await kind.ring.wrap(KEY, CONTEXT)
    for at in (-1, len(wrapped.content) // 2):
        content = bytearray(wrapped.content)
        content[at] ^= 1
        with pytest.raises(MasterKeyLostError):
            await kind.ring.unwrap(Wrapped(wrapped.master_key_id, bytes(content)), CONTEXT)


async def test_a_new_master_key_wraps_and_the_former_one_still_unwraps(kind: Kind) -> None:
    before = await kind.ring.wrap(KEY, CONTEXT)
    ring = await kind.rotated()
    assert await ring.active_id() != before.master_key_id
    assert await ring.unwrap(before, CONTEXT) == KEY
    after = await ring.rewrap(before, CONTEXT)
    assert after.master_key_id == await ring.active_id()
    assert await ring.unwrap(after, CONTEXT) == KEY
    assert await ring.unwrap(await ring.rewrap(after, CONTEXT), CONTEXT) == KEY


async def test_many_at_once(kind: Kind) -> None:
    keys = [bytes([number]) * 32 for number in range(40)]
    wrapped = await asyncio.gather(*(kind.ring.wrap(key, CONTEXT) for key in keys))
    assert await asyncio.gather(*(kind.ring.unwrap(each, CONTEXT) for each in wrapped)) == keys


async def test_a_master_key_that_is_not_there_is_lost(kind: Kind) -> None:
    wrapped = await kind.ring.wrap(KEY, CONTEXT)
    absent = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000"
    with pytest.raises(MasterKeyLostError):
        await kind.ring.unwrap(Wrapped(absent, wrapped.content), CONTEXT)


async def test_an_alias_names_a_key_in_kms(kms_settings: KeySettings) -> None:
    url = kms_settings.endpoint or ""
    ask_kms(url, "create_alias", AliasName="alias/of-a-test", TargetKeyId=kms_settings.key_id)
    async with KmsKeyRing(kms_settings.model_copy(update={"key_id": "alias/of-a-test"})) as ring:
        assert await ring.active_id() == kms_settings.key_id


async def test_a_key_that_is_named_wrongly_is_an_outage_and_not_a_loss(kms_settings: KeySettings) -> None:
    async with KmsKeyRing(kms_settings.model_copy(update={"key_id": "alias/misspelt"})) as ring:
        with pytest.raises(KeysDownError, match="NotFoundException"):
            await ring.wrap(KEY, CONTEXT)


async def test_another_region_is_an_outage_and_not_a_loss(kms_settings: KeySettings) -> None:
    async with KmsKeyRing(kms_settings) as ring:
        wrapped = await ring.wrap(KEY, CONTEXT)
    async with KmsKeyRing(kms_settings.model_copy(update={"region": "eu-west-1"})) as elsewhere:
        with pytest.raises(KeysDownError, match="NotFoundException"):
            await elsewhere.unwrap(wrapped, CONTEXT)


async def test_kms_that_does_not_answer_is_an_outage(kms_settings: KeySettings) -> None:
    settings = kms_settings.model_copy(update={"endpoint": "http://127.0.0.1:9", "timeout": 0.5})
    async with KmsKeyRing(settings) as ring:
        with pytest.raises(KeysDownError) as caught:
            await ring.wrap(KEY, CONTEXT)
    assert caught.value.retry_after
    assert caught.value.__cause__ is None
    assert "acme" not in str(caught.value)


async def test_kms_that_takes_too_long_is_an_outage(kms_settings: KeySettings) -> None:
    held = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        settings = kms_settings.model_copy(update={"endpoint": f"http://127.0.0.1:{port}", "timeout": 0.2})
        async with KmsKeyRing(settings) as ring:
            with pytest.raises(KeysDownError, match="does not answer"):
                await ring.unwrap(Wrapped("x", b"x"), CONTEXT)
    finally:
        held.set()
        server.close()
        await server.wait_closed()


async def test_kms_without_a_key_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigurationError, match="TALLYSTICK_KEYS__KEY_ID"):
        async with KmsKeyRing(KeySettings(kind="kms")):
            pass


async def test_no_key_is_logged(
    kind: Kind, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    wrapped = await kind.ring.wrap(b"0123456789abcdef0123456789abcdef", CONTEXT)
    with pytest.raises(MasterKeyLostError) as caught:
        await kind.ring.unwrap(wrapped, {})
    said = caplog.text + "".join(capfd.readouterr()) + repr(caught.value)
    assert "0123456789abcdef" not in said
    assert "MDEyMzQ1Njc4OWFiY2RlZ" not in said
