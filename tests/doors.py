"""The whole API in this process, over a real database, and tokens to knock with."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from tallystick.api.app import create_app
from tallystick.auth.model import Role
from tallystick.auth.service import TokenGrant, create_token
from tallystick.bootstrap import Services, services
from tallystick.settings import Settings


@dataclass(frozen=True)
class Door:
    """A running application."""

    app: FastAPI
    services: Services
    client: httpx.AsyncClient

    def token(
        self, role: str = "admin", *tenants: str, platform: bool = False, scopes: Sequence[str] = (), **changes: Any
    ) -> str:
        """A token of the local issuer."""
        tenants = () if platform else tenants or ("acme",)
        grant = TokenGrant(
            subject=changes.pop("subject", f"{role}@example.com"),
            role=Role(role),
            tenants=tenants,
            platform=platform,
            scopes=scopes,
            **changes,
        )
        return create_token(self.services.settings.auth, self.services.keyring, grant).token

    def bearer(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        """The header with such a token."""
        return {"authorization": f"Bearer {self.token(*args, **kwargs)}"}

    async def make_tenant(self, tenant_id: str) -> None:
        """A tenant that can be used at once."""
        await self.services.tenants.create(tenant_id, tenant_id.title(), {})


@asynccontextmanager
async def open_door(settings: Settings) -> AsyncGenerator[Door]:
    """Start everything that an API process has, but for the socket."""
    async with services(settings) as made:
        app = create_app(made)
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://tallystick.test") as client:
            yield Door(app, made, client)
