"""Only a token that its issuer signed for us, by a key it has now, and that holds now, lets anybody in."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tallystick.auth.jwks import MAX_BYTES, RETRY_SECONDS
from tallystick.auth.keys import KeyKind, load_or_create, rotate
from tallystick.auth.model import Role
from tallystick.auth.service import TokenGrant, create_token
from tallystick.auth.verifier import TokenVerifier
from tallystick.errors import UnauthenticatedError, UnavailableError
from tallystick.settings import AuthSettings
from tokens import ISSUER, JwksServer, Signer, claims, jwks_server, opened, segment, trusting

SIGNER = Signer.make("k1")


@dataclass
class Clock:
    """Seconds that pass when told to."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest_asyncio.fixture
async def jwks() -> AsyncGenerator[JwksServer]:
    async with jwks_server() as server:
        server.serve(SIGNER.jwk())
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def verifier(jwks: JwksServer, tmp_path: Path, clock: Clock) -> AsyncGenerator[TokenVerifier]:
    """Knows the local issuer and one external issuer."""
    async with opened(trusting(jwks), tmp_path / "keys", clock=clock) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path, verifier: TokenVerifier) -> Callable[..., str]:  # noqa: ARG001  (makes the keys)
    def make(**changes: Any) -> str:
        grant = TokenGrant("ada@example.com", Role.AUDITOR, tenants=["acme"], **changes)
        return create_token(AuthSettings(), load_or_create(tmp_path / "keys"), grant).token

    return make


async def refusal(verifier: TokenVerifier, token: str) -> str:
    """Why the token is refused; the challenge must say the same."""
    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(token)
    assert verifier.remembered(token) is None
    assert caught.value.headers["WWW-Authenticate"].startswith('Bearer realm="tallystick", error="invalid_token"')
    return caught.value.detail


async def test_a_local_token_names_its_principal(verifier: TokenVerifier, local: Callable[..., str]) -> None:
    token = local(scopes=["logs:read:resource_type=invoice"])
    principal = await verifier.verify(token)
    assert (principal.issuer, principal.subject, principal.user_id) == (
        "tallystick",
        "ada@example.com",
        "ada@example.com",
    )
    assert principal.role_in("acme") is Role.AUDITOR
    assert principal.role_in("other") is None
    assert principal.default_tenant == "acme"
    assert principal.scopes == {"logs:read": frozenset({"invoice"})}
    assert principal.token_id
    assert verifier.remembered(token) is principal


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_an_external_token_of_each_algorithm_holds(
    verifier: TokenVerifier, jwks: JwksServer, algorithm: str
) -> None:
    signer = Signer.make("k2", algorithm)
    jwks.serve(SIGNER.jwk(), signer.jwk(alg=algorithm, use="sig"))
    assert (await verifier.verify(signer.sign(claims()))).issuer == ISSUER


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 946_684_800}, "the token expired at 2000-01-01T00:00:00Z"),
        ({"exp": -(10**20)}, "the token expired at a time before"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"sub": "a\x00b"}, "without control characters"),
        ({"sub": "\ud800"}, "without control characters"),
        ({"sub": ""}, "must be a string of 1 to 255"),
        ({"sub": "x" * 256}, "must be a string of 1 to 255"),
        ({"tenant_id": "\ud800"}, "without control characters"),
        ({"iat": int(time.time()) + 3600}, "not valid yet"),
        ({"aud": "another"}, "for another audience"),
        ({"aud": None}, "lacks the claim `aud`"),
        ({"exp": None}, "lacks the claim `exp`"),
        ({"sub": None}, "lacks the claim `sub`"),
        ({"sub": 7}, "malformed"),
        ({"jti": 7}, "malformed"),
        ({"iss": None}, "not one that is configured"),
        ({"iss": "https://other.example"}, "not one that is configured"),
        ({"exp": float("inf")}, "malformed"),
        ({"exp": [1]}, "malformed"),
        ({"tenants": "acme"}, "`tenants` must be a list of strings"),
        ({"tenants": ["*", "acme"]}, "beside other tenants"),
        ({"tenants": ["acme"], "tenant_id": "other"}, "names a tenant that `tenants` lacks"),
        ({"role": 1}, "`role` must be a role"),
        ({"scope": 1}, "`scope` must be scopes separated by spaces"),
    ],
)
async def test_claims_that_do_not_hold_are_refused_with_the_reason(
    verifier: TokenVerifier, changes: dict[str, Any], reason: str
) -> None:
    assert reason in await refusal(verifier, SIGNER.sign(claims(**changes)))


async def test_leeway_forgives_a_clock_that_is_a_little_off(verifier: TokenVerifier) -> None:
    now = int(time.time())
    assert await verifier.verify(SIGNER.sign(claims(exp=now - 3)))
    assert await verifier.verify(SIGNER.sign(claims(nbf=now + 3, iat=now + 3)))


def tampered(token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{segment(claims(tenants=['*']))}.{signature}"


async def test_a_changed_payload_is_refused(verifier: TokenVerifier) -> None:
    assert "signature does not match" in await refusal(verifier, tampered(SIGNER.sign(claims())))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
@pytest.mark.parametrize("signature", ["", "AAAA"])
async def test_an_unsigned_token_is_refused(verifier: TokenVerifier, algorithm: str, signature: str) -> None:
    header = segment({"alg": algorithm, "typ": "JWT", "kid": "k1"})
    assert await refusal(verifier, f"{header}.{segment(claims())}.{signature}")


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
async def test_a_public_key_is_no_shared_secret(jwks: JwksServer, tmp_path: Path, form: str) -> None:
    """The algorithm-confusion attack: HS256 with the RSA public key, also where HS256 is accepted for other keys."""
    rotate(tmp_path / "keys", KeyKind.HS256)
    settings = trusting(jwks, algorithms=("EdDSA", "RS256", "HS256"))
    public = SIGNER.key.public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(SIGNER.jwk()).encode(),
    }[form]
    signing_input = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{segment(claims())}"
    mac = jwt.get_algorithm_by_name("HS256").sign(signing_input.encode(), secret)
    token = f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    async with opened(settings, tmp_path / "keys") as verifier:
        assert "not the algorithm of its key" in await refusal(verifier, token)


async def test_the_key_of_one_issuer_does_not_sign_for_another(
    verifier: TokenVerifier, jwks: JwksServer, tmp_path: Path
) -> None:
    """Neither the external issuer's key id nor its key opens the local issuer, nor the other way round."""
    assert "key that its issuer does not have" in await refusal(verifier, SIGNER.sign(claims(iss="tallystick")))
    ring = load_or_create(tmp_path / "keys").token_signing
    impostor = Signer(ring.active_id, "EdDSA", Signer.make("x", "EdDSA").key)
    assert "signature does not match" in await refusal(verifier, impostor.sign(claims(iss="tallystick")))
    jwks.serve(SIGNER.jwk(), impostor.jwk())
    assert "signature does not match" in await refusal(verifier, impostor.sign(claims(iss="tallystick")))


async def test_hs256_holds_only_where_it_is_configured(jwks: JwksServer, tmp_path: Path) -> None:
    kid = rotate(tmp_path / "keys", KeyKind.HS256)
    shared = load_or_create(tmp_path / "keys").hs256
    assert shared is not None
    token = jwt.encode(claims(iss="tallystick"), shared.keys[kid], algorithm="HS256", headers={"kid": kid})
    async with opened(trusting(jwks), tmp_path / "keys") as verifier:
        assert "key that its issuer does not have" in await refusal(verifier, token)
    async with opened(trusting(jwks, algorithms=("EdDSA", "HS256")), tmp_path / "keys") as verifier:
        assert (await verifier.verify(token)).subject == "ada@example.com"


async def test_an_algorithm_that_is_not_accepted_is_refused(jwks: JwksServer, tmp_path: Path) -> None:
    async with opened(trusting(jwks, algorithms=("EdDSA",)), tmp_path / "keys") as verifier:
        assert "key that its issuer does not have" in await refusal(verifier, SIGNER.sign(claims()))


async def test_an_oversized_token_is_not_looked_at(verifier: TokenVerifier, jwks: JwksServer) -> None:
    assert "longer than 8192 bytes" in await refusal(verifier, SIGNER.sign(claims(padding="x" * 9000)))
    assert jwks.requests == 0


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", f"{segment([1])}.{segment([1])}.AAAA", "\x00"])
async def test_what_is_no_token_is_malformed(verifier: TokenVerifier, token: str) -> None:
    assert "malformed" in await refusal(verifier, token)


async def test_a_critical_header_that_is_not_understood_is_refused(verifier: TokenVerifier) -> None:
    assert await refusal(verifier, SIGNER.sign(claims(), crit=["x"], x=1))


async def test_a_token_without_a_key_id_is_refused(verifier: TokenVerifier) -> None:
    token = jwt.encode(claims(), SIGNER.key, algorithm="RS256")
    assert "names no key" in await refusal(verifier, token)


async def test_old_local_keys_verify_until_they_are_dropped(
    verifier: TokenVerifier, local: Callable[..., str], tmp_path: Path, clock: Clock
) -> None:
    token = local()
    await verifier.verify(token)
    rotate(tmp_path / "keys", KeyKind.TOKEN_SIGNING)
    clock.seconds += 1
    assert await verifier.verify(token)
    assert await verifier.verify(local())
    rotate(tmp_path / "keys", KeyKind.TOKEN_SIGNING, drop_old=True)
    clock.seconds += 1
    assert verifier.remembered(token) is None
    assert "key that its issuer does not have" in await refusal(verifier, token)


async def test_a_new_external_key_is_fetched_when_first_named(
    verifier: TokenVerifier, jwks: JwksServer, clock: Clock
) -> None:
    await verifier.verify(SIGNER.sign(claims()))
    fresh = Signer.make("k2", "ES256")
    jwks.serve(SIGNER.jwk(), fresh.jwk())
    clock.seconds += RETRY_SECONDS
    assert await verifier.verify(fresh.sign(claims()))
    assert jwks.requests == 2


async def test_unknown_key_ids_cannot_hammer_the_issuer(
    verifier: TokenVerifier, jwks: JwksServer, clock: Clock
) -> None:
    await verifier.verify(SIGNER.sign(claims()))
    strangers = [SIGNER.sign(claims(), kid=f"unknown-{number}") for number in range(50)]
    for expected in (1, 2, 3):
        await asyncio.gather(*(refusal(verifier, token) for token in strangers))
        assert jwks.requests == expected
        clock.seconds += RETRY_SECONDS


async def test_many_first_callers_share_one_fetch(verifier: TokenVerifier, jwks: JwksServer) -> None:
    tokens = [SIGNER.sign(claims(jti=f"t{number}")) for number in range(20)]
    await asyncio.gather(*map(verifier.verify, tokens))
    assert jwks.requests == 1


async def test_a_caller_that_gives_up_does_not_end_the_fetch_of_others(
    verifier: TokenVerifier, jwks: JwksServer
) -> None:
    jwks.hold = asyncio.Event()
    impatient = asyncio.create_task(verifier.verify(SIGNER.sign(claims())))
    await asyncio.wait_for(jwks.asked.wait(), 5)
    patient = asyncio.create_task(verifier.verify(SIGNER.sign(claims(jti="t2"))))
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    jwks.hold.set()
    assert (await asyncio.wait_for(patient, 5)).token_id == "t2"
    assert jwks.requests == 1


BROKEN: list[dict[str, Any]] = [
    {"status": "500 Oops"},
    {"status": "302 Found", "headers": {"Location": "/elsewhere.json"}},
    {"body": b"not json"},
    {"body": b"[]"},
    {"body": b'{"keys": 1}'},
    {"body": b" " * (MAX_BYTES + 1)},
]


@pytest.mark.parametrize("broken", BROKEN, ids="-".join)
async def test_a_failed_fetch_keeps_the_old_keys(
    verifier: TokenVerifier, jwks: JwksServer, clock: Clock, broken: dict[str, Any]
) -> None:
    token = SIGNER.sign(claims())
    await verifier.verify(token)
    for name, value in broken.items():
        setattr(jwks, name, value)
    jwks.asked.clear()
    clock.seconds += 301
    assert verifier.remembered(token) is not None  # nobody waits for the renewal that begins here
    await asyncio.wait_for(jwks.asked.wait(), 5)
    with pytest.raises(UnavailableError):  # joins that renewal: whether a new key exists cannot be told
        await verifier.verify(SIGNER.sign(claims(), kid="unknown"))
    assert await verifier.verify(SIGNER.sign(claims(jti="t2")))
    assert jwks.requests == 2


@pytest.mark.parametrize("broken", BROKEN, ids="-".join)
async def test_without_any_keys_the_answer_is_try_again(
    verifier: TokenVerifier, jwks: JwksServer, clock: Clock, broken: dict[str, Any]
) -> None:
    before = vars(jwks).copy()
    for name, value in broken.items():
        setattr(jwks, name, value)
    token = SIGNER.sign(claims())
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await verifier.verify(token)
    assert jwks.requests == 1
    vars(jwks).update(before)
    clock.seconds += RETRY_SECONDS
    assert await verifier.verify(token)


async def test_a_key_that_the_issuer_withdrew_lets_nobody_in(
    verifier: TokenVerifier, jwks: JwksServer, clock: Clock
) -> None:
    token = SIGNER.sign(claims())
    await verifier.verify(token)
    jwks.serve(Signer.make("k2", "ES256").jwk())
    clock.seconds += 301
    jwks.asked.clear()
    verifier.remembered(token)
    await asyncio.wait_for(jwks.asked.wait(), 5)
    assert "key that its issuer does not have" in await refusal(verifier, SIGNER.sign(claims(), kid="unknown"))
    assert "key that its issuer does not have" in await refusal(verifier, token)


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "kid": "k2", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"},
        Signer.make("k2", "ES256").jwk(use="enc"),
        Signer.make("k2", "ES256").jwk(alg="HS256"),
        Signer("k2", "RS256", rsa.generate_private_key(65537, 1024)).jwk(),  # noqa: S505  (to be refused)
        {"kty": "RSA", "kid": "k2", "n": 5, "e": []},
        {"kty": [], "kid": "k2"},
        {"kty": "OKP", "crv": "X25519", "kid": "k2", "x": "AAAA"},
    ],
    ids=["symmetric", "encryption", "other-algorithm", "short", "damaged", "no-type", "no-signatures"],
)
async def test_a_key_that_is_no_good_key_is_passed_over(
    verifier: TokenVerifier, jwks: JwksServer, jwk: dict[str, Any]
) -> None:
    jwks.serve(jwk, SIGNER.jwk())
    assert await verifier.verify(SIGNER.sign(claims()))
    assert "key that its issuer does not have" in await refusal(verifier, SIGNER.sign(claims(), kid="k2"))


async def test_a_remembered_token_ends_with_its_time(jwks: JwksServer, tmp_path: Path) -> None:
    now = Clock(time.time())
    async with opened(trusting(jwks), tmp_path / "keys", now=now) as verifier:
        token = SIGNER.sign(claims(exp=int(now.seconds) + 60))
        await verifier.verify(token)
        now.seconds += 69
        assert verifier.remembered(token)
        now.seconds += 2
        assert verifier.remembered(token) is None


async def test_the_least_recently_used_token_is_forgotten(jwks: JwksServer, tmp_path: Path) -> None:
    async with opened(trusting(jwks), tmp_path / "keys", capacity=2) as verifier:
        first, second, third = (SIGNER.sign(claims(jti=name)) for name in ("a", "b", "c"))
        await verifier.verify(first)
        await verifier.verify(second)
        assert verifier.remembered(first)
        await verifier.verify(third)
        assert verifier.remembered(first)
        assert verifier.remembered(second) is None


async def test_claim_names_are_settings(jwks: JwksServer, tmp_path: Path) -> None:
    settings = trusting(jwks, tenants_claim="org", role_claim="groups", user_claim="email", scope_claim="scp")
    token = SIGNER.sign(
        claims(org=["a", "b"], groups={"a": "admin", "b": "user", "c": "admin"}, email="ada@a", scp=["logs:read"])
    )
    async with opened(settings, tmp_path / "keys") as verifier:
        principal = await verifier.verify(token)
    assert (principal.role_in("a"), principal.role_in("b"), principal.role_in("c")) == (Role.ADMIN, Role.USER, None)
    assert principal.role_in("acme") is None
    assert (principal.user_id, principal.scopes) == ("ada@a", {"logs:read": None})
