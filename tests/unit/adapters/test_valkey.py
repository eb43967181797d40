from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tallystick.adapters.valkey import ValkeyCounters
from tallystick.errors import ConfigurationError
from tallystick.settings import RateSettings

MISSING = Path("there-is-none")
PASSWORD = SecretStr("hunter2")
IN_THE_URL = "set TALLYSTICK_RATES__USER and TALLYSTICK_RATES__PASSWORD"


@pytest.mark.parametrize(
    "url",
    [
        "http://cache:6379",
        "cache:6379",
        "valkey://",
        "valkey://cache:port",
        "valkey://cache:0",
        "valkey://cache:99999",
        "valkey://cache/events",
        "valkey://cache?db=1",
        "unix:///run/valkey.sock",
    ],
)
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write `valkeys://host:6379`"):
        ValkeyCounters(RateSettings(url=url), bytes, print)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"url": "valkey://ada:hunter2@cache"}, IN_THE_URL),  # pragma: allowlist secret
        ({"url": "valkey://:hunter2@cache"}, IN_THE_URL),  # pragma: allowlist secret
        ({"password": PASSWORD, "password_file": MISSING}, "not both"),
        ({"password_file": MISSING}, "cannot read TALLYSTICK_RATES__PASSWORD_FILE"),
        ({"user": "ada"}, "set TALLYSTICK_RATES__PASSWORD too"),
        ({"ca_file": MISSING}, "begin TALLYSTICK_RATES__URL with `valkeys://`"),
        ({"url": "valkeys://cache", "ca_file": MISSING}, "cannot read certificates from"),
        ({"url": "rediss://cache", "ca_file": Path(__file__)}, "cannot read certificates from"),
    ],
    ids=["user", "password", "two passwords", "no file", "no password", "no TLS", "no authority", "no certificates"],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], told: str) -> None:
    settings = RateSettings(url="valkey://cache").model_copy(update=changes)
    with pytest.raises(ConfigurationError, match=told) as caught:
        ValkeyCounters(settings, bytes, print)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["valkey://cache", "redis://10.0.0.7:6380/3", "valkeys://[::1]:6379", "rediss://cache/"]
)
async def test_nothing_is_asked_of_a_server_before_the_first_charge(url: str) -> None:
    async with ValkeyCounters(RateSettings(url=url, user="ada", password=PASSWORD), bytes, print):
        pass
