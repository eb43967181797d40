from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.requests import Request

from tallystick.auth.gate import Gate
from tallystick.auth.keys import Keyring, load_or_create
from tallystick.auth.model import Role
from tallystick.auth.rates import RateLimits
from tallystick.auth.revocations import Revocations
from tallystick.auth.service import TokenGrant, create_token, revoke_subject, revoke_token
from tallystick.auth.verifier import TokenVerifier
from tallystick.database.pools import Database
from tallystick.errors import BadRequestError, UnauthenticatedError
from tallystick.settings import AuthSettings, RateSettings
from tallystick.tenants.directory import TenantDirectory

AUTH = AuthSettings()


@dataclass
class Door:
    """A gate and what stands behind it."""

    gate: Gate
    keyring: Keyring
    revocations: Revocations
    database: Database

    def token(self, subject: str = "ada@example.com") -> str:
        return create_token(AUTH, self.keyring, TokenGrant(subject, Role.ADMIN, tenants=["acme"])).token


@pytest_asyncio.fixture
async def door(database: Database, tmp_path: Path) -> AsyncGenerator[Door]:
    keyring = load_or_create(tmp_path / "keys")
    verifier = TokenVerifier(AUTH, keyring)
    revocations = Revocations(database, 60)
    await revocations.refresh()
    gate = Gate(verifier, revocations, TenantDirectory(database, 60), RateLimits(RateSettings()))
    yield Door(gate, keyring, revocations, database)
    await verifier.aclose()


def request(*authorization: str, query: str = "") -> Request:
    headers = [(b"authorization", value.encode()) for value in authorization]
    return Request({"type": "http", "query_string": query.encode(), "headers": headers})


async def test_a_bearer_token_lets_in_and_is_remembered(door: Door) -> None:
    token = door.token()
    first = await door.gate.authenticate(request(f"Bearer {token}"))
    assert first.subject == "ada@example.com"
    assert await door.gate.authenticate(request(f"bearer {token}")) is first


async def test_without_a_token_the_challenge_names_no_error(door: Door) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        await door.gate.authenticate(request())
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="tallystick"'}


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "", "Bearerx"])
async def test_another_scheme_is_refused(door: Door, header: str) -> None:
    with pytest.raises(UnauthenticatedError, match="Authorization: Bearer"):
        await door.gate.authenticate(request(header))


async def test_several_authorization_headers_are_refused(door: Door) -> None:
    header = f"Bearer {door.token()}"
    with pytest.raises(BadRequestError):
        await door.gate.authenticate(request(header, header))


async def test_a_token_in_the_query_is_not_looked_at(door: Door) -> None:
    with pytest.raises(UnauthenticatedError):
        await door.gate.authenticate(request(query=f"access_token={door.token()}"))


async def test_a_remembered_token_is_refused_once_revoked(door: Door) -> None:
    header = f"Bearer {door.token()}"
    who = await door.gate.authenticate(request(header))
    assert who.token_id is not None
    await revoke_token(door.database, AUTH, who.token_id)
    await door.revocations.refresh()
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await door.gate.authenticate(request(header))


async def test_all_tokens_of_a_revoked_subject_are_refused(door: Door) -> None:
    headers = [f"Bearer {door.token()}" for _ in range(2)]
    await door.gate.authenticate(request(headers[0]))
    await revoke_subject(door.database, AUTH, "ada@example.com")
    await door.revocations.refresh()
    for header in headers:
        with pytest.raises(UnauthenticatedError, match="revoked"):
            await door.gate.authenticate(request(header))
    assert await door.gate.authenticate(request(f"Bearer {door.token(subject='bob@example.com')}"))
