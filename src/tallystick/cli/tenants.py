"""`tallystick tenants`: the same as the API's, for who has the database at hand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from tallystick.auth.keys import load_or_create
from tallystick.cli.reading import load_settings
from tallystick.cli.tables import print_table
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.query.cursor import CursorCodec
from tallystick.tenants.directory import TenantDirectory
from tallystick.tenants.model import Tenant
from tallystick.tenants.schemas import NewTenant
from tallystick.tenants.service import Changes, TenantService

app = typer.Typer(name="tenants", help="List, create, suspend and resume tenants.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]

_PAGE = 200

Result = TypeVar("Result")


def _with_service(work: Callable[[TenantService], Awaitable[Result]]) -> Result:
    settings = load_settings()

    async def run() -> Result:
        cursors = CursorCodec(load_or_create(settings.keys).cursor_signing)
        async with Database.from_settings(settings.database) as database:
            return await work(TenantService(database, TenantDirectory(database, settings.auth.freshness), cursors))

    return asyncio.run(run())


@app.command("list")
def list_command(*, as_json: AsJson = False) -> None:
    """List all tenants."""

    async def work(service: TenantService) -> list[Tenant]:
        page = await service.page(None, _PAGE)
        found = list(page.tenants)
        while page.next is not None:
            page = await service.page(page.next, _PAGE)
            found += page.tenants
        return found

    found = _with_service(work)
    if as_json:
        typer.echo(json.dumps({"tenants": [_as_json(tenant) for tenant in found]}))
        return
    print_table(
        ("id", "name", "made", "suspended"),
        ((each.id, each.name, f"{each.created_at:%Y-%m-%d}", "yes" if each.suspended else "") for each in found),
    )


@app.command("create")
def create(
    tenant_id: TenantId,
    *,
    name: Annotated[str | None, typer.Option(help="For people to read; the id when absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant."""
    try:
        new = TypeAdapter(NewTenant).validate_python({"id": tenant_id, "name": name or tenant_id})
    except ValidationError as error:
        raise ConfigurationError("; ".join(f"{flaw['loc'][0]}: {flaw['msg']}" for flaw in error.errors())) from None
    _say(_with_service(lambda service: service.create(new.id, new.name, {})), "made", as_json=as_json)


@app.command("suspend")
def suspend(tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Refuse every request for a tenant, on every process within seconds. Nothing is removed."""
    _change(tenant_id, suspended=True, as_json=as_json)


@app.command("resume")
def resume(tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Let a suspended tenant work again."""
    _change(tenant_id, suspended=False, as_json=as_json)


def _change(tenant_id: str, *, suspended: bool, as_json: bool) -> None:
    def change(tenant: Tenant) -> Changes:
        return replace(Changes(tenant.name, tenant.settings, tenant.suspended), suspended=suspended)

    tenant = _with_service(lambda service: service.update(tenant_id, change))
    _say(tenant, "suspended" if suspended else "resumed", as_json=as_json)


def _say(tenant: Tenant, what: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(_as_json(tenant)) if as_json else f"tenant {tenant.id} {what}")


def _as_json(tenant: Tenant) -> dict[str, object]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "created_at": f"{tenant.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "suspended": tenant.suspended,
        "settings": dict(tenant.settings),
    }
