"""`tallystick retention`, and `tallystick tenants remove` and `restore`, over a real database and a worker."""

import asyncio
import getpass
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from conftest import Connection
from factories import make_log
from removals import left
from stored_events import DAY_US, Row, now_us, partitions_back, put
from tallystick.cli import retention as retention_cli
from tallystick.cli import tenants as tenants_cli
from tallystick.errors import ConfigurationError, ConflictError, NotFoundError
from tallystick.settings import DatabaseSettings, Settings
from working import hurried, working

RUN = CliRunner()


@pytest.fixture
async def log_id(
    monkeypatch: pytest.MonkeyPatch, database_settings: DatabaseSettings, tmp_path: Path, owner: Connection
) -> int:
    """The events of `acme`: twelve that are nine days old, and five of yesterday."""
    assert database_settings.url is not None
    monkeypatch.setenv("TALLYSTICK_DATABASE__URL", database_settings.url.get_secret_value())
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    await partitions_back(owner, 14)
    events = await make_log(owner, "acme")
    await make_log(owner, "acme", "access")
    await make_log(owner, "other")
    await make_log(owner, "other", "access")
    now = now_us() // 1000 * 1000
    times = [now - 9 * DAY_US] * 12 + [now - DAY_US] * 5
    await put(owner, events, [Row(us, us, {"action": "view", "resource_type": "page"}) for us in times])
    return events


async def run(app: typer.Typer, *arguments: str, code: int = 0) -> str:
    """Run the command in a thread, since it brings a loop of its own."""
    done = await asyncio.to_thread(RUN.invoke, app, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


async def retention(*arguments: str, code: int = 0) -> Any:
    # A worker of the same process may write lines of its own before.
    return json.loads((await run(retention_cli.app, *arguments, "--json", code=code)).splitlines()[-1])


async def tenants(*arguments: str) -> Any:
    return json.loads(await run(tenants_cli.app, *arguments, "--json"))


async def test_a_policy_is_set_looked_at_and_applied(
    log_id: int, owner: Connection, database_settings: DatabaseSettings, tmp_path: Path
) -> None:
    shown = await retention("show", "acme")
    assert [(each["log"], each["policy_days"], each["minimum_days"]) for each in shown["logs"]] == [
        ("events", None, 7),
        ("access", None, 90),
    ]
    assert shown["last_run"] is None
    assert "never applied" in await run(retention_cli.app, "show")
    told = await retention("set", "acme", "events", "8")
    assert (told["policy_days"], told["kept_days"], told["would_go"], told["would_go_more"]) == (8, 8, 12, False)
    settings = hurried(Settings(home=tmp_path, database=database_settings))
    async with working(settings):
        job = await retention("run", "acme")  # or that of the day, which the worker may have begun by itself
        assert (job["kind"], job["state"]) == ("apply_retention", "succeeded")
        assert "0 events removed" in await run(retention_cli.app, "run")
    assert await left(owner, log_id) == [12, 13, 14, 15, 16]
    shown = await retention("show", "acme")
    assert (shown["logs"][0]["would_go"], shown["last_run"]["state"]) == (0, "succeeded")
    assert "8 days" in await run(retention_cli.app, "show", "acme")
    assert (await retention("set", "acme", "events", "none"))["kept_days"] is None


async def test_while_a_run_waits_it_is_the_answer(log_id: int) -> None:
    assert log_id
    mine = await retention("run", "acme", "--no-wait")
    assert mine["created_by"] == {"issuer": "tallystick:cli", "subject": getpass.getuser()}
    assert (mine["tenant_id"], mine["state"]) == ("acme", "queued")
    assert (await retention("run", "acme", "--no-wait"))["id"] == mine["id"]
    others = await retention("run", "other", "--no-wait")
    whole = await retention("run", "--no-wait")
    assert len({mine["id"], others["id"], whole["id"]}) == 3
    assert (await retention("run", "other", "--no-wait"))["id"] == whole["id"]


@pytest.mark.usefixtures("log_id")
async def test_what_cannot_be_set_is_said() -> None:
    with pytest.raises(ConfigurationError, match="at least 7: this installation"):
        await retention("set", "acme", "events", "6")
    with pytest.raises(ConfigurationError, match="whole number from 1"):
        await retention("set", "acme", "events", "soon")
    for arguments in (("show", "nobody"), ("run", "nobody"), ("set", "nobody", "events", "9")):
        with pytest.raises(NotFoundError, match="nobody"):
            await retention(*arguments)


async def test_a_tenant_is_removed_and_restored_from_the_command_line(log_id: int, owner: Connection) -> None:
    assert log_id
    looked = await tenants("remove", "acme", "--reason", "its contract ended", "--dry-run")
    assert looked["logs"] == [{"log": "events", "events": 17}, {"log": "access", "events": 0}]
    ordered = await tenants("remove", "acme", "--reason", "its contract ended", "--wait-days", "40", "--for", "ada")
    assert (ordered["exports_for"], ordered["job"]["kind"]) == ("ada", "offboard_tenant")
    assert await owner.fetchval("select (issuer, subject) = ('tallystick', 'ada') from tallystick.offboardings")
    (acme, other) = (await tenants("list"))["tenants"]
    assert (acme["suspended"], acme["closing"]["reason"], other["closing"]) == (True, "its contract ended", None)
    with pytest.raises(ConflictError, match="restore it first"):
        await tenants("resume", "acme")
    with pytest.raises(ConflictError, match="last tenant"):
        await tenants("remove", "other", "--reason", "too")
    assert await tenants("restore", "acme") == {"id": "acme", "suspended": False, "closing": None}
    said = await run(tenants_cli.app, "remove", "acme", "--reason", "again")
    assert "tallystick tenants restore acme" in said
    records = await owner.fetch(
        "select body::jsonb ->> 'action' as action from tallystick.events join tallystick.logs on logs.id = log_id"
        " where tenant_id = '_platform' and body::jsonb -> 'metadata' ->> 'phase' = 'intent' order by seq"
    )
    assert [row["action"] for row in records][:3] == ["tenants.remove", "tenants.update", "tenants.remove"]


@pytest.mark.usefixtures("log_id")
async def test_what_cannot_be_removed_is_said() -> None:
    with pytest.raises(ConfigurationError, match="OFFBOARDING_DAYS"):
        await tenants("remove", "acme", "--reason", "now", "--wait-days", "3")
    with pytest.raises(ConfigurationError, match="--reason must be a line"):
        await tenants("remove", "acme", "--reason", " ")
    for name in ("remove", "restore"):
        with pytest.raises(NotFoundError):
            await tenants(name, "nobody", *(["--reason", "x"] if name == "remove" else []))
