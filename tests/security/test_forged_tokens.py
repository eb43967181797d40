"""The API from outside: tokens that a forger made, and those whose time is over, over a real connection."""

import asyncio
import base64
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from doors import LiveDoor, live_door
from tallystick.settings import Settings
from tokens import Signer, segment

LOGS = "/api/v1/logs"
DEADLINE = 20.0


def forged(door: Any, **header: Any) -> str:
    """A token of the local issuer's form, signed by a key of the forger's, with more in its header."""
    real = jwt.decode(door.token(platform=True), options={"verify_signature": False})
    key = Signer.make("forger", "EdDSA")
    kid = door.services.keyring.token_signing.active_id
    return jwt.encode(real, key.key, algorithm="EdDSA", headers={"kid": kid, **header})


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "kid"])
async def test_a_key_cannot_be_brought_along(live: LiveDoor, name: str) -> None:
    jwk = Signer.make("forger", "EdDSA").jwk()
    values: dict[str, list[Any]] = {
        "jwk": [jwk, {"kty": "oct", "k": ""}],
        "jku": ["http://127.0.0.1:9/keys.json", "file:///etc/passwd"],
        "x5u": ["http://127.0.0.1:9/cert.pem"],
        "x5c": [["AAAA"]],
        "kid": [
            "../../../../dev/null",
            "/dev/null",
            "' or 1=1 --",
            "x' union select 'k",
            "\0",
            "",
            "token_signing",
            "$(id)",
        ],
    }
    async with httpx.AsyncClient(base_url=live.url) as client:
        for value in values[name]:
            token = forged(live.door, **{name: value})
            answer = await client.get(LOGS, headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 401, value
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "Traceback" not in answer.text
            assert str(live.door.services.settings.key_folder) not in answer.text


@pytest.mark.parametrize("algorithm", ["none", "NONE", "HS256", "RS256", "ES256"])
async def test_the_algorithm_is_not_the_tokens_to_choose(live: LiveDoor, algorithm: str) -> None:
    kid = live.door.services.keyring.token_signing.active_id
    seed = live.door.services.keyring.token_signing.keys[kid]
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    told = jwt.decode(live.door.token(platform=True), options={"verify_signature": False})
    signing_input = f"{segment({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{segment(told)}"
    hs256 = jwt.get_algorithm_by_name("HS256")
    mac = base64.urlsafe_b64encode(hs256.sign(signing_input.encode(), public)).rstrip(b"=").decode()
    async with httpx.AsyncClient(base_url=live.url) as client:
        for signature in ("", "AAAA", mac):
            answer = await client.get(LOGS, headers={"authorization": f"Bearer {signing_input}.{signature}"})
            assert answer.status_code == 401


async def test_a_token_that_expired_is_refused_also_where_it_was_let_in(settings: Settings) -> None:
    exact = settings.model_copy(update={"auth": settings.auth.model_copy(update={"leeway": 0})})
    async with live_door(exact) as live, httpx.AsyncClient(base_url=live.url) as client:
        token = live.door.bearer(ttl=2)
        assert (await client.get(LOGS, headers=token)).status_code == 200
        async with asyncio.timeout(DEADLINE):
            while (answer := await client.get(LOGS, headers=token)).status_code == 200:
                pass
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]
