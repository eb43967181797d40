"""`tallystick tenants`: the same as the API's, for who has the database at hand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Annotated, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from tallystick.access_log.model import Deed
from tallystick.auth.keyring import open_keyring
from tallystick.cli.acting import acting
from tallystick.cli.offboarding import remove, restore
from tallystick.cli.reading import load_settings
from tallystick.cli.tables import print_table
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.query.cursor import CursorCodec
from tallystick.tenants.directory import TenantDirectory
from tallystick.tenants.model import Tenant, state_of
from tallystick.tenants.schemas import ClosingDocument, NewTenant
from tallystick.tenants.service import Changes, TenantService

app = typer.Typer(
    name="tenants", help="List, create, suspend, resume, remove and restore tenants.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]

_PAGE = 200

Result = TypeVar("Result")


def _with_service(
    work: Callable[[TenantService, dict[str, object]], Awaitable[Result]], deed: Deed | None = None
) -> Result:
    """Do something to tenants; what changes one is recorded, with what `work` puts into the mapping."""
    settings = load_settings()

    async def run() -> Result:
        cursors = CursorCodec(open_keyring(settings).cursor_signing)
        async with Database.from_settings(settings.database) as database, AsyncExitStack() as recorded:
            directory = TenantDirectory(database, settings.auth.freshness)
            told: dict[str, object] = {}
            if deed is not None:
                await directory.refresh()
                named = () if deed.resource_id is None else (deed.resource_id,)
                act = acting(settings, database, deed, *named, directory=directory)
                told = await recorded.enter_async_context(act)
            return await work(TenantService(database, directory, cursors), told)

    return asyncio.run(run())


@app.command("list")
def list_command(*, as_json: AsJson = False) -> None:
    """List all tenants."""

    async def work(service: TenantService, _: dict[str, object]) -> list[Tenant]:
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
        ("id", "name", "made", "suspended", "removed after"),
        (
            (
                each.id,
                each.name,
                f"{each.created_at:%Y-%m-%d}",
                "yes" if each.suspended else "",
                "" if each.offboarding is None else f"{each.offboarding.removal_at:%Y-%m-%d %H:%M}",
            )
            for each in found
        ),
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

    async def work(service: TenantService, told: dict[str, object]) -> Tenant:
        tenant = await service.create(new.id, new.name, {})
        told["after"] = state_of(tenant)
        return tenant

    deed = Deed("tallystick tenants create", "tenants.create", "tenant", new.id, {"name": new.name})
    _say(_with_service(work, deed), "made", as_json=as_json)


@app.command("suspend")
def suspend(tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Refuse every request for a tenant, on every process within seconds. Nothing is removed."""
    _change(tenant_id, suspended=True, as_json=as_json)


@app.command("resume")
def resume(tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Let a suspended tenant work again."""
    _change(tenant_id, suspended=False, as_json=as_json)


app.command("remove")(remove)
app.command("restore")(restore)


def _change(tenant_id: str, *, suspended: bool, as_json: bool) -> None:
    async def work(service: TenantService, told: dict[str, object]) -> Tenant:
        def change(tenant: Tenant) -> Changes:
            told["before"] = state_of(tenant)
            return replace(Changes(tenant.name, tenant.settings, tenant.suspended), suspended=suspended)

        tenant = await service.update(tenant_id, change)
        told["after"] = state_of(tenant)
        return tenant

    words = "tallystick tenants suspend" if suspended else "tallystick tenants resume"
    deed = Deed(words, "tenants.update", "tenant", tenant_id, {"suspended": suspended})
    tenant = _with_service(work, deed)
    _say(tenant, "suspended" if suspended else "resumed", as_json=as_json)


def _say(tenant: Tenant, what: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(_as_json(tenant)) if as_json else f"tenant {tenant.id} {what}")


def _as_json(tenant: Tenant) -> dict[str, object]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "created_at": f"{tenant.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "suspended": tenant.suspended,
        "closing": None if tenant.offboarding is None else ClosingDocument.of(tenant.offboarding).model_dump(),
        "settings": dict(tenant.settings),
    }
