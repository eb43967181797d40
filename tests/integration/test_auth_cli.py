import asyncio
import json
import stat
from pathlib import Path

import asyncpg
import jwt
import pytest
from typer.testing import CliRunner, Result

from tallystick.auth.keys import KeyKind, load_or_create, rotate
from tallystick.auth.model import Role
from tallystick.auth.service import MAX_TTL, TokenGrant, create_token, parse_ttl
from tallystick.auth.verifier import TokenVerifier
from tallystick.cli.tokens import app
from tallystick.errors import ConfigurationError
from tallystick.settings import AuthSettings, DatabaseSettings

CREATE = ["create", "--role", "admin", "--subject", "ada@example.com"]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key folder of an installation without a database."""
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    monkeypatch.delenv("TALLYSTICK_DATABASE__URL", raising=False)
    return tmp_path / "keys"


@pytest.fixture
def database_url(keys: Path, database_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: ARG001
    assert database_settings.url is not None
    url = database_settings.url.get_secret_value()
    monkeypatch.setenv("TALLYSTICK_DATABASE__URL", url)
    return url


def run(*arguments: str, stdin: str | None = None) -> Result:
    """Run a command that must succeed. Errors leave it as they are: `tallystick` itself says them."""
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)


async def in_thread(*arguments: str, stdin: str | None = None) -> Result:
    """The same for a command that runs an event loop of its own."""
    return await asyncio.to_thread(run, *arguments, stdin=stdin)


async def revocations(url: str) -> list[tuple[str, str, str, bool]]:
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select kind, issuer, value, expires_at = 'infinity' as for_ever "
            "from tallystick.revocations order by version"
        )
    finally:
        await connection.close()
    return [(row["kind"], row["issuer"], row["value"], row["for_ever"]) for row in rows]


async def test_a_created_token_holds(keys: Path, database_url: str) -> None:  # noqa: ARG001
    result = await in_thread(
        *CREATE, "--tenant", "acme", "--tenant", "other", "--default-tenant", "acme", "--scope", "logs:read"
    )
    token = result.stdout.strip()
    assert token not in result.stderr
    verifier = TokenVerifier(AuthSettings(), load_or_create(keys))
    principal = await verifier.verify(token)
    await verifier.aclose()
    assert principal.tenants == {"acme", "other"}
    assert (principal.default_tenant, principal.roles, principal.platform) == ("acme", Role.ADMIN, False)
    assert principal.scopes == {"logs:read": None}
    assert principal.token_id
    assert principal.expires_at - principal.issued_at == 90 * 86_400


def test_a_platform_token_as_json(database_url: str) -> None:  # noqa: ARG001
    said = json.loads(run(*CREATE, "--platform", "--ttl", "12h", "--json").stdout)
    claims = jwt.decode(said["token"], options={"verify_signature": False})
    assert (claims["tenants"], claims["role"], claims["jti"]) == (["*"], "admin", said["token_id"])
    assert claims["exp"] - claims["iat"] == 12 * 3600
    assert said["expires_at"].endswith("Z")


def test_a_token_for_a_file_is_not_printed(database_url: str, tmp_path: Path) -> None:  # noqa: ARG001
    file = tmp_path / "admin.token"
    file.write_text("old")
    file.chmod(0o644)
    result = run(*CREATE, "--platform", "--out", str(file), "--json")
    token = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert token not in result.output
    assert json.loads(result.stdout)["file"] == str(file)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "one of the two"),
        (["--platform", "--tenant", "acme"], "one of the two"),
        (["--tenant", "*"], "--platform"),
        (["--tenant", "acme", "--default-tenant", "other"], "not among"),
        (["--tenant", "acme", "--scope", "logs:everything"], "no scope"),
        (["--tenant", "acme", "--scope", "logs:read:resource_type="], "no scope"),
        (["--tenant", "acme", "--ttl", "3 days"], "90d, 12h"),
        (["--tenant", "acme", "--ttl", "3651d"], "90d, 12h"),
        (["--tenant", "acme", "--out", "/nowhere/token"], "cannot write"),
        ([*(f"--tenant=t{number:060}" for number in range(200))], "auth.max_token_bytes"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(database_url: str, arguments: list[str], reason: str) -> None:  # noqa: ARG001
    with pytest.raises(ConfigurationError) as caught:
        run(*CREATE, *arguments)
    assert reason in str(caught.value)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("30m", 1800), ("12h", 43_200), ("3650d", MAX_TTL)])
def test_lives(text: str, seconds: int) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1", "d", "1w", "1.5h", "٣d", "99999999999d"])
def test_what_is_no_life(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_ttl(text)


@pytest.mark.parametrize(
    "grant", [TokenGrant("", Role.USER, tenants=["a"]), TokenGrant("a", Role.USER, tenants=["a"], ttl=0)]
)
def test_grants_that_are_refused(keys: Path, grant: TokenGrant) -> None:
    with pytest.raises(ConfigurationError):
        create_token(AuthSettings(), load_or_create(keys), grant)


def test_without_eddsa_nothing_can_be_signed(keys: Path) -> None:
    with pytest.raises(ConfigurationError, match="EdDSA"):
        create_token(
            AuthSettings(algorithms=("RS256",)), load_or_create(keys), TokenGrant("a", Role.USER, tenants=["a"])
        )


async def test_revoke_by_token_id_and_subject(database_url: str) -> None:
    said = json.loads((await in_thread(*CREATE, "--platform", "--json")).stdout)
    piped = json.loads((await in_thread(*CREATE, "--platform", "--json")).stdout)
    assert (await in_thread("revoke", said["token"])).stdout == f"revoked token {said['token_id']} of tallystick\n"
    await in_thread("revoke", "-", stdin=piped["token"] + "\n")
    await in_thread("revoke", "--jti", "j1", "--issuer", "https://issuer.example")
    answer = json.loads((await in_thread("revoke", "--subject", "ada@example.com", "--json")).stdout)
    assert (answer["kind"], answer["issuer"], answer["value"]) == ("subject", "tallystick", "ada@example.com")
    assert answer["revoked_at"].endswith("Z")
    assert await revocations(database_url) == [
        ("token", "tallystick", said["token_id"], False),
        ("token", "tallystick", piped["token_id"], False),
        ("token", "https://issuer.example", "j1", True),
        ("subject", "tallystick", "ada@example.com", True),
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name one of"),
        (["--jti", "a", "--subject", "b"], "name one of"),
        (["x.y.z"], "no token"),
        (["x.y.z", "--issuer", "i"], "names its issuer itself"),
    ],
)
async def test_what_cannot_be_revoked(database_url: str, arguments: list[str], reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await in_thread("revoke", *arguments)
    assert reason in str(caught.value)
    assert await revocations(database_url) == []


async def test_a_token_without_an_id_is_revoked_by_its_subject(database_url: str) -> None:  # noqa: ARG001
    token = jwt.encode({"iss": "i", "sub": "s", "exp": 1}, "k" * 32, algorithm="HS256")
    with pytest.raises(ConfigurationError, match="--subject"):
        await in_thread("revoke", token)


@pytest.mark.parametrize("arguments", [["revoke", "--jti", "a"], [*CREATE, "--platform"], ["rotate-key"]])
def test_without_a_database_nothing_is_done_and_it_says_what_to_set(keys: Path, arguments: list[str]) -> None:
    load_or_create(keys)
    before = {file.name: file.read_bytes() for file in keys.iterdir()}
    with pytest.raises(ConfigurationError, match="TALLYSTICK_DATABASE__URL"):
        run(*arguments)
    assert {file.name: file.read_bytes() for file in keys.iterdir()} == before


def test_rotation_and_the_list_of_keys(keys: Path, database_url: str) -> None:  # noqa: ARG001
    old = load_or_create(keys).token_signing.active_id
    new = json.loads(run("rotate-key", "--json").stdout)["key_id"]
    shared = rotate(keys, KeyKind.HS256)
    listed = json.loads(run("list-keys", "--json").stdout)["keys"]
    signing = {key["key_id"]: key["active"] for key in listed if key["kind"] == "token_signing"}
    assert signing == {old: False, new: True}
    assert [key["key_id"] for key in listed if key["kind"] == "hs256"] == [shared]
    assert all(set(key) == {"kind", "key_id", "active", "created_at"} for key in listed)
    assert new in run("list-keys").stdout
    assert "the older keys are gone" in run("rotate-key", "--drop-old", "--kind", "cursor_signing").stdout
    assert len(load_or_create(keys).cursor_signing.keys) == 1
