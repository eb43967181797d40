"""Makes tokens as other issuers would, and serves their keys: what tests of authentication need."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tallystick.auth.keys import load_or_create
from tallystick.auth.model import Principal, Role
from tallystick.auth.verifier import TokenVerifier
from tallystick.settings import AuthSettings

ISSUER = "https://issuer.example"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Signer:
    """A key of an issuer."""

    kid: str
    algorithm: str
    key: PrivateKey

    @classmethod
    def make(cls, kid: str, algorithm: str = "RS256") -> "Signer":
        match algorithm:
            case "RS256":
                return cls(kid, algorithm, rsa.generate_private_key(65537, 2048))
            case "ES256":
                return cls(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))
            case _:
                return cls(kid, "EdDSA", ed25519.Ed25519PrivateKey.generate())

    def jwk(self, **changes: Any) -> dict[str, Any]:
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            made = RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            made = ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            made = OKPAlgorithm.to_jwk(public, as_dict=True)
        return {**{name: value for name, value in made.items() if name != "key_ops"}, "kid": self.kid, **changes}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": self.kid, **header})


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a valid token; a change to None takes the claim away."""
    now = int(time.time())
    made = {
        "iss": ISSUER,
        "aud": "tallystick",
        "sub": "ada@example.com",
        "jti": "t1",
        "iat": now - 1,
        "nbf": now - 1,
        "exp": now + 600,
        "tenants": ["acme"],
        "role": "admin",
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def principal(**changes: Any) -> Principal:
    """An admin of the tenant acme."""
    fields: dict[str, Any] = {
        "issuer": "tallystick",
        "subject": "ada@example.com",
        "user_id": "ada@example.com",
        "token_id": "t1",
        "issued_at": 1_000,
        "expires_at": int(time.time()) + 600,
        "tenants": frozenset({"acme"}),
        "everywhere": False,
        "default_tenant": "acme",
        "roles": Role.ADMIN,
        "scopes": None,
        **changes,
    }
    return Principal(**fields)


def segment(content: object) -> str:
    """One part of a JWT, from JSON."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@dataclass
class JwksServer:
    """What a JWKS URL answers, and how often it was asked."""

    port: int = 0
    requests: int = 0
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b'{"keys": []}'
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"

    def serve(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": keys}).encode()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            self.asked.set()
            if self.hold is not None:
                await self.hold.wait()
            lines = {"Content-Length": str(len(self.body)), "Connection": "close", **self.headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(f"HTTP/1.1 {self.status}\r\n{head}\r\n".encode() + self.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough: too large, or it was closed
        finally:
            writer.close()


@asynccontextmanager
async def jwks_server() -> AsyncGenerator[JwksServer]:
    """A JWKS server on a free port of loopback."""
    served = JwksServer()
    server = await asyncio.start_server(served.answer, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    async with server:
        yield served


def trusting(server: JwksServer, **changes: Any) -> AuthSettings:
    """Settings that believe one external issuer, whose keys the server has."""
    return AuthSettings(external_issuers={ISSUER: server.url}, **changes)


@asynccontextmanager
async def opened(settings: AuthSettings, keys_dir: Path, **arguments: Any) -> AsyncGenerator[TokenVerifier]:
    """A verifier with the local keys of a folder, made where there are none."""
    verifier = TokenVerifier(settings, load_or_create(keys_dir), **arguments)
    try:
        yield verifier
    finally:
        await verifier.aclose()
