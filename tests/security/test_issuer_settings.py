"""Whose tokens are believed is a setting, and one that could not be meant so is refused at the start."""

from pathlib import Path

import pytest

from tallystick.auth.keys import load_or_create
from tallystick.auth.verifier import TokenVerifier
from tallystick.errors import ConfigurationError
from tallystick.settings import AuthSettings
from tokens import ISSUER


def test_hs256_needs_its_key_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"hs256\.json"):
        TokenVerifier(AuthSettings(algorithms=("HS256",)), load_or_create(tmp_path / "keys"))


@pytest.mark.parametrize(
    "url", ["http://issuer.example/jwks", "ftp://127.0.0.1/jwks", "https://", "file:///etc/passwd", "http://[::1", "x"]
)
def test_a_jwks_is_fetched_by_https_or_from_loopback(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.external_issuers"):
        TokenVerifier(AuthSettings(external_issuers={ISSUER: url}), load_or_create(tmp_path / "keys"))


def test_an_external_issuer_cannot_pose_as_the_local_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is both"):
        TokenVerifier(
            AuthSettings(external_issuers={"tallystick": "https://issuer.example/jwks"}),
            load_or_create(tmp_path / "keys"),
        )
