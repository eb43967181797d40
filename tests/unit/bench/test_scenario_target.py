"""Where the load goes and as whom: what was asked for wrongly is refused before anything is sent."""

import json
from pathlib import Path

import pytest

from tallystick.bench.scenarios.target import aim
from tallystick.errors import ConfigurationError


def token_file(folder: Path, text: str) -> Path:
    file = folder / "token"
    file.write_text(text + "\n")
    return file


def test_one_token_is_a_platform_admins_who_makes_the_tenants(tmp_path: Path) -> None:
    target = aim("https://audit.example:8443/", token_file(tmp_path, "a.b.c"), 3, None)
    assert target.url == "https://audit.example:8443"
    assert target.tenants == ["bench-load-000", "bench-load-001", "bench-load-002"]
    assert set(target.tokens.values()) == {"a.b.c"}
    assert target.makes_tenants


def test_tokens_of_tenants_are_used_in_their_order(tmp_path: Path) -> None:
    target = aim("http://host", token_file(tmp_path, json.dumps({"zeta": "z", "acme": "a", "third": "t"})), 2, None)
    assert target.tokens == {"zeta": "z", "acme": "a"}
    assert not target.makes_tenants


@pytest.mark.parametrize("url", ["audit.example", "ftp://audit.example", "https://", "https://audit.example/api/v1"])
def test_a_url_must_be_that_of_a_server(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="--url takes"):
        aim(url, token_file(tmp_path, "a.b.c"), 1, None)


def test_a_url_that_carries_a_password_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no password") as refused:
        aim("https://ada:hunter2@audit.example", token_file(tmp_path, "a.b.c"), 1, None)  # pragma: allowlist secret
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ('{"acme": "a"}', "tokens of 1 tenants"),
        ('{"acme": ', "neither a token nor a JSON object"),
        ('{"acme": 1, "zeta": 2}', "one token, a text"),
    ],
)
def test_a_file_of_tokens_must_have_one_for_each_tenant(tmp_path: Path, told: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        aim("https://audit.example", token_file(tmp_path, told), 2, None)


def test_a_file_of_tokens_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the token in .*/absent: No such file"):
        aim("https://audit.example", tmp_path / "absent", 1, None)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    nothing = token_file(tmp_path, "no certificate")
    with pytest.raises(ConfigurationError, match="cannot read certificates"):
        aim("https://audit.example", nothing, 1, nothing).tls()
    assert aim("http://audit.example", nothing, 1, nothing).tls() is None
