"""`tallystick followers` and `tallystick jobs`, beside a worker that runs and one that does not."""

import asyncio
import json
from typing import Any, TypeAlias

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from factories import make_log
from stored_events import fill_log
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.cli.app import app
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError, NotFoundError
from tallystick.log.source import LogSource
from tallystick.search.follower import documents_of
from tallystick.settings import SearchSettings, Settings
from working import working

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

RUN = CliRunner()
DEADLINE = 20.0


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    assert settings.database.url is not None
    monkeypatch.setenv("TALLYSTICK_DATABASE__URL", settings.database.url.get_secret_value())
    monkeypatch.setenv("TALLYSTICK_HOME", str(settings.home))
    monkeypatch.setenv("COLUMNS", "200")


async def command(*arguments: str, status: int = 0) -> Result:
    """Run the command in a thread, since it brings a loop of its own."""
    done = await asyncio.to_thread(RUN.invoke, app, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done


async def asked(*arguments: str, status: int = 0) -> Any:
    """What a command says in JSON, below the log lines of a worker in this process."""
    return json.loads((await command(*arguments, "--json", status=status)).stdout.splitlines()[-1])


async def until_followed() -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            followers = (await asked("followers", "status"))["followers"]
            if not any(each["events"] for each in followers):
                return
            await asyncio.sleep(0.05)


async def of_search(tenant: str) -> dict[str, Any]:
    """How far the search index of a tenant's log is."""
    logs: list[dict[str, Any]] = (await asked("followers", "status", "--tenant", tenant))["logs"]
    (row,) = [row for row in logs if row["follower"] == "search"]
    return row


async def drop_one(settings: Settings, log_id: int, size: int, seq: int) -> None:
    """Make the index anew without one event."""
    async with Database.from_settings(settings.database) as database:
        stretch = await LogSource(database).read(log_id, -1, None, limit=size, max_bytes=1 << 30)
    documents = [each for each in await documents_of(stretch.events) if each.seq != seq]
    async with TantivyIndex(settings.home / "search", SearchSettings()) as index:
        await index.drop(log_id)
        await index.append(log_id, documents, through=size - 1)


async def test_status_says_who_is_behind_and_in_what(owner: Connection, settings: Settings) -> None:
    behind, even = await make_log(owner, "acme"), await make_log(owner, "globex")
    await fill_log(owner, even, 3, action="login")
    async with working(settings):
        await until_followed()
    await fill_log(owner, behind, 40, action="login")
    told = await asked("followers", "status")
    assert [(each["follower"], each["events"], each["logs"]) for each in told["followers"]] == [
        ("rollups", 40, 1),
        ("search", 40, 1),
    ]
    assert all(0 <= each["seconds"] < 60 for each in told["followers"])
    rollups, row = told["logs"]
    assert (rollups["follower"], rollups["behind"], rollups["index"]) == ("rollups", 40, None)
    assert (row["tenant_id"], row["log"], row["behind"], row["seq"]) == ("acme", "events", 40, -1)
    assert row["index"] == {"through": -1, "documents": 0, "bytes": 0}
    row = await of_search("globex")
    assert (row["behind"], row["seconds"], row["index"]["documents"], row["index"]["through"]) == (0, 0, 3, 2)
    assert len((await asked("followers", "status", "--all"))["logs"]) == 4
    shown = (await command("followers", "status")).stdout
    assert "acme" in shown
    assert "globex" not in shown
    assert "search: 40 events behind in 1 log, " in shown
    async with working(settings):
        await until_followed()
    assert (await command("followers", "status")).stdout == "rollups: nothing behind\nsearch: nothing behind\n"


async def test_a_rebuild_is_watched_until_it_ends(owner: Connection, settings: Settings) -> None:
    for tenant in ("acme", "globex"):
        await fill_log(owner, await make_log(owner, tenant), 30, action="login")
        await make_log(owner, tenant, "access")  # what is done to a tenant is recorded there
    await make_log(owner, "empty")
    await make_log(owner, "empty", "access")
    async with working(settings):
        (job,) = (await asked("followers", "rebuild", "--tenant", "acme"))["jobs"]
        assert (job["tenant_id"], job["state"], job["progress"]["done"]) == ("acme", "succeeded", 30)
        assert job["created_by"]["issuer"] == "cli"
        said = (await command("followers", "rebuild", "--all-tenants")).stdout
        assert "acme events: succeeded" in said
        assert "globex events: succeeded" in said
        assert "empty" not in said
        await until_followed()
    assert all(log["agree"] for log in (await asked("followers", "verify"))["logs"])


async def test_jobs_are_listed_shown_cancelled_and_watched(owner: Connection, settings: Settings) -> None:
    await fill_log(owner, await make_log(owner, "acme"), 3, action="login")
    await make_log(owner, "acme", "access")
    (job,) = (await asked("followers", "rebuild", "--tenant", "acme", "--no-wait"))["jobs"]
    assert job["state"] == "queued"
    assert (await asked("jobs", "list"))["jobs"] == [job]
    assert (await asked("jobs", "list", "--tenant", "globex"))["jobs"] == []
    assert (await asked("jobs", "list", "--state", "failed"))["jobs"] == []
    assert job["id"] in (await command("jobs", "list")).stdout
    assert (await asked("jobs", "show", job["id"])) == job
    assert (await asked("jobs", "cancel", job["id"]))["cancel_requested"]
    assert "cancel requested: yes" in (await command("jobs", "show", job["id"])).stdout
    async with working(settings):
        assert (await asked("jobs", "watch", job["id"], status=1))["state"] == "cancelled"
        await command("followers", "rebuild", "--tenant", "acme")
    done = (await asked("jobs", "list", "--state", "succeeded"))["jobs"][0]
    said = (await command("jobs", "watch", done["id"])).stdout
    assert "3 of 3" in said


async def test_verify_names_what_the_index_lacks_and_a_rebuild_mends_it(owner: Connection, settings: Settings) -> None:
    log_id = await make_log(owner, "acme")
    await fill_log(owner, log_id, 60, action="login")
    async with working(settings):
        await until_followed()
    assert "acme events: 60 events agree, 20 looked up\n" in (await command("followers", "verify")).stdout
    await drop_one(settings, log_id, 60, 17)
    (log,) = (await asked("followers", "verify", status=1))["logs"]
    assert (log["agree"], log["missing"]) == (False, {"count": 1, "first": [17]})
    said = (await command("followers", "verify", "--tenant", "acme", status=1)).stdout
    assert "1 not in the index: seq 17" in said
    assert "tallystick followers rebuild --tenant acme --log events" in said
    async with working(settings):
        await command("followers", "rebuild", "--tenant", "acme")
    assert (await asked("followers", "verify"))["logs"][0]["agree"]


async def test_a_damaged_index_is_told(owner: Connection, settings: Settings) -> None:
    log_id = await make_log(owner, "acme")
    await fill_log(owner, log_id, 3, action="login")
    async with working(settings):
        await until_followed()
    (settings.home / "search" / str(log_id) / "first" / "rolls.json").write_text("{")
    assert (await of_search("acme"))["index"] == "damaged"
    assert "the index is damaged" in (await command("followers", "verify", status=1)).stdout


async def test_what_is_quarantined_is_listed_and_a_reset_forgets_it(owner: Connection, settings: Settings) -> None:
    log_id = await make_log(owner, "acme")
    await fill_log(owner, log_id, 5, action="login")
    async with working(settings):
        await until_followed()
    await owner.execute(
        "insert into tallystick.quarantine (follower, log_id, seq, error) values ('search', $1, 3, 'ValueError')",
        log_id,
    )
    (event,) = (await asked("followers", "quarantine"))["events"]
    assert (event["tenant_id"], event["log"], event["seq"], event["error"]) == ("acme", "events", 3, "ValueError")
    assert "ValueError" in (await command("followers", "quarantine", "--tenant", "acme")).stdout
    assert "1 quarantined" in (await command("followers", "status")).stdout
    assert (await asked("followers", "reset", "search", "--tenant", "acme"))["moved"] is True
    assert "nothing is quarantined" in (await command("followers", "quarantine")).stdout
    row = await of_search("acme")
    assert (row["behind"], row["index"]["documents"]) == (5, 5)
    async with working(settings):
        await until_followed()
    row = await of_search("acme")
    assert (row["behind"], row["index"]["documents"]) == (0, 5)


async def test_what_cannot_be_done_is_said(owner: Connection) -> None:
    await make_log(owner, "acme")
    with pytest.raises(ConfigurationError, match="no tenant globex with a log events"):
        await command("followers", "rebuild", "--tenant", "globex")
    with pytest.raises(ConfigurationError, match="no follower alerts, only search, rollups"):
        await command("followers", "reset", "alerts", "--tenant", "acme")
    with pytest.raises(ConfigurationError, match="name one of"):
        await command("followers", "rebuild")
    with pytest.raises(NotFoundError, match="no job x"):
        await command("jobs", "show", "x")
    for follower in ("search", "rollups"):
        assert "has not begun" in (await command("followers", "reset", follower, "--tenant", "acme")).stdout
    said = await command("followers", "reset", "search", "--tenant", "acme")
    assert "has not begun" in said.stdout
