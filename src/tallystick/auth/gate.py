"""The gate: who is calling, may they do this here, and is it within their rate."""

from typing import Final

from starlette.requests import HTTPConnection

from tallystick.auth.access import Access, narrowing_of
from tallystick.auth.addresses import source_of
from tallystick.auth.headers import headers_of
from tallystick.auth.model import Principal
from tallystick.auth.operations import Operation, Realm
from tallystick.auth.permissions import Permission, grants_in, in_scope
from tallystick.auth.rates import RateLimits
from tallystick.auth.refusals import blaming, challenge, insufficient_scope
from tallystick.auth.revocations import Revocations
from tallystick.auth.tenancy import PLATFORM_TENANT, Tenancy, TenantState
from tallystick.auth.verifier import TokenVerifier
from tallystick.errors import (
    BadRequestError,
    Flaw,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)

_NOT_YOURS: Final = "the token does not allow this tenant, or there is none by that id"


class Gate:
    """Lets requests in. One per process.

    On the hot path (a token seen before) nothing here waits for anything: the token's principal, revocations, tenants
    and rates are all in memory, each no older than its limit, else the answer is 503.

    Args:
        verifier: Turns tokens into principals.
        revocations: What was revoked.
        tenancy: Where tenants are looked up.
        rates: How much a principal and a tenant may use.
    """

    def __init__(self, verifier: TokenVerifier, revocations: Revocations, tenancy: Tenancy, rates: RateLimits) -> None:
        self._verifier = verifier
        self._revocations = revocations
        self._tenancy = tenancy
        self._rates = rates

    async def authenticate(self, request: HTTPConnection) -> Principal:
        """Find out who is calling, from the ``Authorization`` header alone (RFC 6750 §2.1).

        A token in the query string or in the body is not looked at: it would end up in logs and histories.

        Raises:
            UnauthenticatedError: No token, or one that does not hold; the message says why.
            RateLimitedError: Likewise, once too often from this address.
            BadRequestError: Several ``Authorization`` headers.
            UnavailableError: Revocations or the issuer's keys are not known well enough to tell.
        """
        return await self.identify(request, None)

    async def identify(self, request: HTTPConnection, token: str | None) -> Principal:
        """Find out whom a token speaks for.

        Args:
            request: What it came with; a failure counts against the address that sent it.
            token: It; that of the header when None.

        Raises:
            UnauthenticatedError: It does not hold; the message says why.
            RateLimitedError: Likewise, once too often from this address. Its cause is that error.
            BadRequestError, UnavailableError: See `authenticate`.
        """
        try:
            return await self._identify(_bearer_token(request) if token is None else token)
        except UnauthenticatedError as error:
            too_many = await self._rates.failed(source_of(request))
            if too_many is not None:
                raise too_many from error
            raise

    async def _identify(self, token: str) -> Principal:
        principal = self._verifier.remembered(token)
        if principal is None:
            principal = await self._verifier.verify(token)
        self._require_unrevoked(principal)
        return principal

    async def recheck(self, access: Access, operation: Operation) -> None:
        """Let in again whom was let in before, for what lasts longer than a request. Its expiry is the caller's to see.

        Raises:
            UnauthenticatedError: The token was revoked meanwhile.
            ForbiddenError: The tenant was suspended meanwhile, or is gone.
            NotFoundError: Likewise, to a platform admin.
            UnavailableError: What is known of tenants or revocations is too old.
        """
        self._require_unrevoked(access.principal)
        await self.authorise(access.principal, operation, access.tenant.id)

    async def authorise(self, principal: Principal, operation: Operation, tenant_id: str | None) -> Access:
        """Let a principal do something in a tenant.

        Args:
            principal: Who.
            operation: What; its realm decides where.
            tenant_id: The tenant the request names; None for the principal's default. Operations over the platform take
                place in the reserved tenant and ignore it.

        Raises:
            ForbiddenError: Role, scope or tenant do not allow it, or the tenant is suspended.
            NotFoundError: A platform admin named a tenant that does not exist.
            GoneError: A platform admin named a tenant that was removed.
            InvalidError: The request names no tenant and the token has no default.
            UnavailableError: What is known of tenants is too old.
        """
        try:
            return await self._authorise(principal, operation, tenant_id)
        except (ForbiddenError, GoneError, NotFoundError) as error:
            platform = operation.realm is Realm.PLATFORM
            named = PLATFORM_TENANT if platform else tenant_id or principal.default_tenant
            raise blaming(error, principal, named)  # noqa: B904  # it is the same error

    async def _authorise(self, principal: Principal, operation: Operation, tenant_id: str | None) -> Access:
        permission = operation.permission
        if permission is None:
            raise ValueError(f"{operation.name} is public: it is not authorised")
        if operation.realm is Realm.PLATFORM:
            return await self._authorise_platform(principal, permission)
        named = tenant_id if tenant_id is not None else principal.default_tenant
        if named is None:
            flaw = Flaw("name a tenant the token allows", parameter="tenant_id")
            raise InvalidError("the request names no `tenant_id` and the token has no default", flaws=[flaw])
        if principal.role_in(named) is None:
            raise ForbiddenError(_NOT_YOURS)
        tenant = await self._find(principal, named, operation)
        grants = grants_in(principal, named)
        if tenant.gone is not None and principal.platform and not operation.on_removed:
            raise GoneError(tenant.gone)
        if tenant.suspended and not (operation.on_suspended and principal.platform):
            raise ForbiddenError(f"the tenant `{named}` is suspended; ask whoever runs this installation")
        if permission not in grants:
            raise ForbiddenError(f"this needs the permission `{permission}`, which the token's role does not grant")
        _require_scope(principal, permission)
        return Access(principal, tenant, grants, narrowing_of(principal, grants, operation.log), operation.log)

    async def charge(self, request: HTTPConnection, who: Access | Principal, cost: int, *, paid: int = 0) -> None:
        """Count a request against the rates of the principal and, given an `Access`, of its tenant.

        The ``RateLimit`` headers go to ``request.state.response_headers``, a dict that the middleware puts there.

        Args:
            request: The request being answered.
            who: Who pays.
            cost: In events; 1 for any other request.
            paid: How much of it this request's principal paid already, before its tenant was known.

        Raises:
            RateLimitedError: Over the limit; nothing was counted beyond what was paid.
            UnavailableError: The limiter failed and ``rates.on_failure`` is ``closed``.
        """
        principal = who.principal if isinstance(who, Access) else who
        tenant = who.tenant.id if isinstance(who, Access) else None
        try:
            headers = await self._rates.take(principal.issuer, principal.subject, tenant, cost, paid=paid)
        except RateLimitedError as error:
            for name in error.headers:  # an earlier charge left its own
                request.scope["state"]["response_headers"].pop(name, None)
            raise
        if headers:
            request.scope["state"]["response_headers"].update(headers)

    def _require_unrevoked(self, principal: Principal) -> None:
        if self._revocations.is_revoked(principal):
            raise blaming(challenge("the token was revoked"), principal, None)

    async def _authorise_platform(self, principal: Principal, permission: Permission) -> Access:
        if not principal.platform:
            raise ForbiddenError(f"this needs the permission `{permission}`, which only platform admins have")
        _require_scope(principal, permission)
        tenant = await self._tenancy.find(PLATFORM_TENANT)
        if tenant is None:
            raise UnavailableError("the reserved tenant is missing: run `tallystick migrate`")
        grants = grants_in(principal, PLATFORM_TENANT)
        return Access(principal, tenant, grants, narrowing_of(principal, grants))

    async def _find(self, principal: Principal, tenant_id: str, operation: Operation) -> TenantState:
        """The tenant. That there is none is told only to those who may name any.

        The reserved one has an access log and nothing else, for platform admins.
        """
        hidden = tenant_id == PLATFORM_TENANT and not (principal.platform and operation.log == "access")
        tenant = None if hidden else await self._tenancy.find(tenant_id)
        if tenant is not None:
            return tenant
        if principal.platform:
            raise NotFoundError(f"there is no tenant `{tenant_id}`")
        raise ForbiddenError(_NOT_YOURS)


def _require_scope(principal: Principal, permission: Permission) -> None:
    if not in_scope(principal, permission):
        raise insufficient_scope(permission)


def _bearer_token(request: HTTPConnection) -> str:
    values = headers_of(request.scope, b"authorization")
    if not values:
        raise challenge(None)
    if len(values) > 1:
        raise BadRequestError("the request has several Authorization headers; send one")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise challenge("send `Authorization: Bearer <token>`")
    return token.strip()
