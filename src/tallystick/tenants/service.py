"""Making, reading and changing tenants: one transaction each, after which this process knows of it at once."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.database.pools import Database
from tallystick.errors import ConflictError, ForbiddenError, GoneError, NotFoundError, UnavailableError
from tallystick.query.cursor import CursorCodec, Position
from tallystick.tenants.directory import TenantDirectory
from tallystick.tenants.model import Tenant, gone
from tallystick.tenants.queries import Listed, get_tenant, insert_tenant, list_tenants, update_tenant

_LISTING = b"tenants"


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a tenant can change."""

    name: str
    settings: Mapping[str, Any]
    suspended: bool


@dataclass(frozen=True, slots=True)
class TenantPage:
    """A page of the listing, with the cursors of its neighbours."""

    tenants: list[Tenant]
    next: str | None
    prev: str | None


class TenantService:
    """Tenants, as the platform's admins and their own see them.

    Args:
        database: Used as the control role.
        directory: Refreshed after each change, so that a process obeys its own answers.
        cursors: Sign the listing's positions.
    """

    def __init__(self, database: Database, directory: TenantDirectory, cursors: CursorCodec) -> None:
        self._database = database
        self._directory = directory
        self._cursors = cursors

    async def create(self, tenant_id: str, name: str, settings: Mapping[str, Any]) -> Tenant:
        """Make a tenant with its logs.

        Raises:
            ConflictError: The id is taken, or was: that of a tenant that was removed is given to nobody else.
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.control_session() as connection:
            tenant = await insert_tenant(connection, tenant_id, name, settings)
            other = None if tenant is not None else await get_tenant(connection, tenant_id)
        if tenant is None:
            removed = None if other is None or other.offboarding is None else gone(tenant_id, other.offboarding)
            if removed is not None:
                raise ConflictError(f"{removed}: choose another id")
            raise ConflictError(f"there is a tenant {tenant_id} already: choose another id, or PATCH that one")
        await self.announce()
        return tenant

    async def get(self, tenant_id: str) -> Tenant:
        """Read a tenant.

        Raises:
            NotFoundError: There is none by that id.
            GoneError: It was removed.
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.control_session() as connection:
            tenant = await get_tenant(connection, tenant_id)
        return _found(tenant, tenant_id)

    async def page(self, cursor: str | None, limit: int) -> TenantPage:
        """List tenants in the order they were made.

        Raises:
            InvalidError: The cursor is not one of this listing.
            DatabaseDownError: PostgreSQL does not answer.
        """
        start = (
            self._cursors.decode(cursor, _LISTING)
            if cursor is not None
            else Position(backwards=False, occurred_us=0, seq=0)
        )
        async with self._database.control_session() as connection:
            # One more than asked for tells whether there is a page beyond.
            listed = await list_tenants(connection, start.seq, limit + 1, backwards=start.backwards)
        more = len(listed) > limit
        if more:
            listed = listed[1:] if start.backwards else listed[:limit]
        tenants = [item.tenant for item in listed]
        if start.backwards:
            # Whoever walks back came from a page further on.
            return TenantPage(tenants, next=self._after(listed), prev=self._before(listed) if more else None)
        return TenantPage(
            tenants,
            next=self._after(listed) if more else None,
            prev=self._before(listed) if cursor is not None else None,
        )

    async def update(self, tenant_id: str, change: Callable[[Tenant], Changes]) -> Tenant:
        """Change a tenant.

        Args:
            tenant_id: Which one.
            change: Says what it becomes, given what it is while nobody else can change it; may raise.

        Raises:
            ForbiddenError: It is the reserved one, which never changes.
            NotFoundError: There is none by that id.
            GoneError: It was removed.
            ConflictError: It is being removed, and was to be let in again or changed after that began.
            DatabaseDownError: PostgreSQL does not answer.
        """
        if tenant_id == PLATFORM_TENANT:
            raise ForbiddenError(f"{PLATFORM_TENANT} is reserved for the platform's own access log and never changes")
        async with self._database.control_session() as connection:
            old = _found(await get_tenant(connection, tenant_id, lock=True), tenant_id)
            new = change(old)
            _check_offboarding(old, new)
            tenant = await update_tenant(connection, tenant_id, new.name, new.settings, suspended=new.suspended)
        await self.announce()
        return tenant

    async def announce(self) -> None:
        """Let this process know of a change now."""
        # What is committed is committed: should this look fail, the next poll brings it.
        with suppress(UnavailableError):
            await self._directory.refresh()

    def _after(self, listed: list[Listed]) -> str | None:
        return self._cursor(listed[-1], backwards=False) if listed else None

    def _before(self, listed: list[Listed]) -> str | None:
        return self._cursor(listed[0], backwards=True) if listed else None

    def _cursor(self, item: Listed, *, backwards: bool) -> str:
        return self._cursors.encode(Position(backwards=backwards, occurred_us=0, seq=item.key), _LISTING)


def _check_offboarding(old: Tenant, new: Changes) -> None:
    if old.offboarding is None:
        return
    if old.offboarding.begun_at is not None:
        raise ConflictError(f"the removal of the tenant {old.id} has begun: it changes no more")
    if not new.suspended:
        raise ConflictError(f"the tenant {old.id} is to be removed: restore it first, which lets it in again, too")


def _found(tenant: Tenant | None, tenant_id: str) -> Tenant:
    if tenant is None:
        raise NotFoundError(f"there is no tenant {tenant_id}")
    if tenant.offboarding is not None and (removed := gone(tenant_id, tenant.offboarding)) is not None:
        raise GoneError(removed)
    return tenant
