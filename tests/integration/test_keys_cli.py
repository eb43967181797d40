import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from conftest import Connection
from kms_servers import make_key
from tallystick.auth.keys import load_or_create
from tallystick.cli import tokens as token_cli
from tallystick.cli.keys import app
from tallystick.errors import ConfigurationError, NotFoundError
from tallystick.settings import DatabaseSettings, KeySettings

RUN = CliRunner()


@pytest.fixture
async def _environment(
    monkeypatch: pytest.MonkeyPatch, database_settings: DatabaseSettings, tmp_path: Path, owner: Connection
) -> None:
    assert database_settings.url is not None
    monkeypatch.setenv("TALLYSTICK_DATABASE__URL", database_settings.url.get_secret_value())
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    await owner.execute("insert into tallystick.tenants (id, name, version) values ('acme', 'Acme', 1)")
    await owner.execute("insert into tallystick.logs (tenant_id, name) values ('acme', 'events'), ('acme', 'access')")


async def run(*arguments: str, code: int = 0) -> str:
    """Run the command in a thread, since it brings a loop of its own."""
    done = await asyncio.to_thread(RUN.invoke, app, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


async def keys(*arguments: str, code: int = 0) -> Any:
    return json.loads(await run(*arguments, "--json", code=code))


@pytest.mark.usefixtures("_environment")
async def test_the_life_of_keys_from_the_command_line(tmp_path: Path) -> None:
    first_master = load_or_create(tmp_path / "keys").master.active_id
    assert await keys("status") == {"active_master_key_id": first_master, "master_keys": []}
    first = await keys("rotate", "--tenant", "acme")
    second = await keys("rotate", "--tenant", "acme")
    assert (second["tenant"], second["purpose"]) == ("acme", "data")
    await keys("rotate", "--tenant", "acme", "--purpose", "digest")
    rotated = await keys("rotate-master")
    assert (rotated["new_master_key"], rotated["rewrapped"], rotated["lost"]) == (True, 3, [])
    assert rotated["master_key_id"] != first_master
    assert await keys("status") == {
        "active_master_key_id": rotated["master_key_id"],
        "master_keys": [
            {"master_key_id": rotated["master_key_id"], "keys": 3, "tenants": 1, "active": True, "held": True}
        ],
    }
    listed = (await keys("status", "--tenant", "acme"))["keys"]
    assert {(key["key_id"], key["active"], key["held"]) for key in listed if key["purpose"] == "data"} == {
        (first["key_id"], False, True),
        (second["key_id"], True, True),
    }
    for shown in (await run("status"), await run("status", "--tenant", "acme")):
        assert rotated["master_key_id"] in shown.replace("\n", "") or rotated["master_key_id"][:8] in shown
    everything = await keys("rotate-master", "--all")
    assert (everything["new_master_key"], everything["rewrapped"]) == (False, 3)


@pytest.mark.usefixtures("_environment")
async def test_a_rotation_is_recorded_for_the_tenant_and_the_platform(owner: Connection) -> None:
    await keys("rotate", "--tenant", "acme")
    await keys("rotate-master")
    rows = await owner.fetch(
        "select tenant_id, body from tallystick.events join tallystick.logs on logs.id = log_id order by log_id, seq"
    )
    told = [(row["tenant_id"], (event := json.loads(row["body"]))["action"], event["metadata"]) for row in rows]
    assert {action for _, action, _ in told} == {"keys.rotate"}
    phases = {
        tenant: [(said["operation"], said["phase"]) for whose, _, said in told if whose == tenant]
        for tenant in ("acme", "_platform")
    }
    once = [("tallystick keys rotate", "intent"), ("tallystick keys rotate", "outcome")]
    both = [*once, ("tallystick keys rotate-master", "intent"), ("tallystick keys rotate-master", "outcome")]
    assert phases == {"acme": once, "_platform": both}


@pytest.mark.usefixtures("_environment")
async def test_a_rotation_that_was_begun_is_ended_before_another_begins(tmp_path: Path) -> None:
    await keys("rotate", "--tenant", "acme")
    await asyncio.to_thread(RUN.invoke, token_cli.app, ["rotate-key", "--kind", "master"])
    begun = load_or_create(tmp_path / "keys").master.active_id
    ended = await keys("rotate-master")
    assert (ended["master_key_id"], ended["new_master_key"], ended["rewrapped"]) == (begun, False, 1)


@pytest.mark.usefixtures("_environment")
async def test_what_is_lost_is_named(tmp_path: Path) -> None:
    made = await keys("rotate", "--tenant", "acme")
    (tmp_path / "keys" / "master.json").unlink()
    (state,) = (await keys("status"))["master_keys"]
    assert (state["active"], state["held"]) == (False, False)
    assert "lost-keys" in await run("status")
    lost = (await keys("rotate-master", code=1))["lost"]
    assert [key["key_id"] for key in lost] == [made["key_id"]]


@pytest.mark.usefixtures("_environment")
async def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        await keys("rotate", "--tenant", "nobody")
    dropped = await asyncio.to_thread(RUN.invoke, token_cli.app, ["rotate-key", "--kind", "master", "--drop-old"])
    assert isinstance(dropped.exception, ConfigurationError)
    assert "never dropped" in str(dropped.exception)


@pytest.mark.usefixtures("_environment")
async def test_keys_are_moved_to_another_key_in_kms(monkeypatch: pytest.MonkeyPatch, kms_settings: KeySettings) -> None:
    url = kms_settings.endpoint or ""
    for name, value in (("KIND", "kms"), ("ENDPOINT", url), ("KEY_ID", kms_settings.key_id or "")):
        monkeypatch.setenv(f"TALLYSTICK_KEYS__{name}", value)
    await keys("rotate", "--tenant", "acme")
    new = make_key(url)
    monkeypatch.setenv("TALLYSTICK_KEYS__KEY_ID", new)
    moved = await keys("rotate-master")
    assert moved == {"master_key_id": new, "new_master_key": False, "rewrapped": 1, "lost": []}
    (state,) = (await keys("status"))["master_keys"]
    assert (state["master_key_id"], state["held"]) == (new, True)


@pytest.mark.usefixtures("_environment")
async def test_keys_that_came_by_environment_are_rotated_by_a_new_bundle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALLYSTICK_KEY_FILES", await run("bundle", "--new"))
    made = await keys("rotate", "--tenant", "acme")
    unchanged = await keys("rotate-master")
    assert (unchanged["new_master_key"], unchanged["rewrapped"]) == (False, 0)
    bundle = await run("bundle", "--rotate", "master")
    monkeypatch.setenv("TALLYSTICK_KEY_FILES", bundle)
    rotated = await keys("rotate-master")
    assert (rotated["new_master_key"], rotated["rewrapped"], rotated["lost"]) == (False, 1, [])
    assert rotated["master_key_id"] == json.loads(bundle)["master"]["active"]
    (listed,) = (await keys("status", "--tenant", "acme"))["keys"]
    assert (listed["key_id"], listed["master_key_id"]) == (made["key_id"], rotated["master_key_id"])
    assert not (tmp_path / "keys").exists()
