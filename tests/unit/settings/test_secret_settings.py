"""Secrets among the settings: no representation and no error shows one."""

import json

import pytest
from pydantic import SecretStr, ValidationError

from tallystick.cli.reading import load_settings
from tallystick.database.pools import database_url, role_passwords
from tallystick.errors import ConfigurationError
from tallystick.settings import DatabaseSettings, SearchSettings

SECRET = "hunter2-hunter2"  # pragma: allowlist secret
VARIABLES = {
    "TALLYSTICK_KEY_FILES": json.dumps({"master": SECRET}),
    "TALLYSTICK_DATABASE__URL": f"postgresql://ada:{SECRET}@127.0.0.1/tallystick",
    "TALLYSTICK_DATABASE__PASSWORDS": json.dumps({"tallystick_reader": SECRET}),
    "TALLYSTICK_SEARCH__PASSWORD": SECRET,
}


def test_they_are_read_from_the_environment_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert role_passwords(settings.database) == {"tallystick_reader": SECRET}
    assert settings.search.password is not None
    assert settings.search.password.get_secret_value() == SECRET
    for shown in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.model_dump()}"):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "name", ["TALLYSTICK_SEARCH", "TALLYSTICK_DATABASE", "TALLYSTICK_DATABASE__WRITER_CONNECTIONS"]
)
def test_an_error_repeats_no_value(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, json.dumps({"password": {"x": SECRET}, "url": [SECRET]}))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert name.split("__", maxsplit=1)[0] in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("group", [DatabaseSettings, SearchSettings])
def test_neither_does_one_of_a_group(group: type[DatabaseSettings | SearchSettings]) -> None:
    with pytest.raises(ValidationError) as caught:
        group.model_validate({"url": [SECRET], "passwrod": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "given", [SECRET, f'["{SECRET}"]', f'{{"reader":"{SECRET}"}}', f'{{"{SECRET}":"x"}}', '{"tallystick_reader":7}']
)
def test_passwords_of_another_form_say_what_makes_them(given: str) -> None:
    with pytest.raises(ConfigurationError, match="`tallystick keys passwords`") as caught:
        role_passwords(DatabaseSettings(passwords=SecretStr(given)))
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_passwords_are_in_one_place() -> None:
    both = DatabaseSettings.model_validate({"passwords": "{}", "role_passwords": "/roles.txt"})
    with pytest.raises(ConfigurationError, match="unset one of them"):
        role_passwords(both)


@pytest.mark.parametrize("password", ["12/ab", "ab/12", "12?ab", "ab#12", "12#ab", "ab@cd", "ab[cd", "ab]cd", "[ab]"])
def test_a_password_that_is_not_escaped_is_told_and_not_repeated(password: str) -> None:
    for host in ("db.example.com", "db.example.com:5432", "a:1,b:2"):
        given = DatabaseSettings(url=SecretStr(f"postgresql://owner:{password}@{host}/tallystick?sslmode=require"))
        with pytest.raises(ConfigurationError, match="%2F for a slash") as caught:
            database_url(given)
        assert caught.value.__cause__ is None
        assert not any(part in str(caught.value) for part in ("ab", "cd", "12"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example.com/tallystick?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://owner:a%2Fb%40c:d@10.0.0.1:5432/tallystick",
        "postgresql://owner@[2001:db8::1]:5432,db-2.example.com/tallystick",
        "postgresql://%2Frun%2Fpostgresql/tallystick",
        "postgresql:///tallystick?host=/run/postgresql&user=ada",
        "postgresql:///tallystick?service=owner",
    ],
)
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert database_url(DatabaseSettings(url=SecretStr(url))) == url


@pytest.mark.parametrize("mode", ["sometimes", "Require"])
def test_a_way_of_tls_that_there_is_not_is_told_before_anything_connects(mode: str) -> None:
    given = DatabaseSettings(url=SecretStr(f"postgresql://owner:s3cret@db.example.com/tallystick?sslmode={mode}&a=b"))
    with pytest.raises(ConfigurationError, match=r"`sslmode` must be one of allow, disable, .*, verify-full") as caught:
        database_url(given)
    assert "s3cret" not in str(caught.value)
