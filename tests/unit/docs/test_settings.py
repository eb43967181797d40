"""What the page of settings says around its tables, and the example files, follow the settings."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from setting_fields import setting_fields
from tallystick.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "settings.md.in").read_text()
EXAMPLES = ROOT / "deploy" / "env"


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_readers_of_every_group_are_told() -> None:
    groups = {name.partition("__")[0] for name in setting_fields() if "__" in name}
    told = re.findall(r"^\| \[\w+\]\(#(\w+)\) \|", section("Which process reads what"), re.MULTILINE)

    assert sorted(told) == sorted({"general"} | {group.removeprefix("TALLYSTICK_").lower() for group in groups})


def test_every_secret_is_named_as_one() -> None:
    secret = {name for name, field in setting_fields().items() if SecretStr in {field.annotation, *_parts(field)}}
    secret |= {name for name in setting_fields() if re.search("PASSWORD|KEY_DIR", name)}
    named = set(re.findall(r"`(TALLYSTICK_\w+)`", section("What is secret")))

    assert secret
    assert named == secret


def _parts(field: FieldInfo) -> tuple[object, ...]:
    return getattr(field.annotation, "__args__", ())


def variables(*files: str) -> dict[str, str]:
    lines = [line for file in files for line in (EXAMPLES / file).read_text().splitlines()]
    named = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    assert len({name for name, _ in named}) == len(named), "said twice"
    return dict(named)


@pytest.mark.parametrize("files", [("shared.env", "api.env"), ("shared.env", "worker.env"), ("migrate.env",)])
def test_an_example_is_understood(files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    given = variables(*files)
    assert {name for name in given if name.startswith("TALLYSTICK_")} <= setting_fields().keys()
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert Settings().database.url is not None


def test_the_owners_login_is_the_migrations_alone() -> None:
    assert "service=owner" in variables("migrate.env")["TALLYSTICK_DATABASE__URL"]
    assert "@" not in variables("shared.env")["TALLYSTICK_DATABASE__URL"]
