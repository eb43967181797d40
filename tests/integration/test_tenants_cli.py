import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tallystick.cli.tenants import app
from tallystick.errors import ConfigurationError, ConflictError, NotFoundError
from tallystick.settings import DatabaseSettings

RUN = CliRunner()


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch, database_settings: DatabaseSettings, tmp_path: Path) -> None:
    assert database_settings.url is not None
    monkeypatch.setenv("TALLYSTICK_DATABASE__URL", database_settings.url.get_secret_value())
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))


async def tenants(*arguments: str) -> Any:
    """Run the command in a thread, since it brings a loop of its own."""
    done = await asyncio.to_thread(RUN.invoke, app, [*arguments, "--json"])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


@pytest.mark.usefixtures("_environment")
async def test_a_tenants_life_from_the_command_line() -> None:
    assert await tenants("list") == {"tenants": []}
    made = await tenants("create", "acme", "--name", "Acme Ltd")
    assert (made["id"], made["name"], made["suspended"]) == ("acme", "Acme Ltd", False)
    assert (await tenants("create", "globex"))["name"] == "globex"
    assert (await tenants("suspend", "acme"))["suspended"] is True
    assert [(each["id"], each["suspended"]) for each in (await tenants("list"))["tenants"]] == [
        ("acme", True),
        ("globex", False),
    ]
    assert (await tenants("resume", "acme"))["suspended"] is False
    shown = await asyncio.to_thread(RUN.invoke, app, ["list"])
    assert "Acme Ltd" in shown.stdout


@pytest.mark.usefixtures("_environment")
async def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(ConfigurationError, match="id: "):
        await tenants("create", "_platform")
    with pytest.raises(NotFoundError):
        await tenants("suspend", "nobody")
    await tenants("create", "acme")
    with pytest.raises(ConflictError):
        await tenants("create", "acme")
