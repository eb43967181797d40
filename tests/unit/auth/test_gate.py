from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio
from pydantic import SecretStr
from starlette.requests import Request

from tallystick.auth.gate import Gate
from tallystick.auth.keys import Keyring, load_or_create
from tallystick.auth.model import Principal, Role
from tallystick.auth.operations import (
    APPEND_EVENT,
    CREATE_TENANT,
    FETCH_EXPORT,
    LIST_EVENTS,
    LIST_EXPORTS,
    LIST_JOBS,
    LIST_TENANTS,
    OPERATIONS,
    PUBLIC,
    READ_EXPORT,
    READ_JOB,
    READ_TENANT,
    REMOVE_TENANT,
    RESTORE_TENANT,
    UPDATE_TENANT,
    Operation,
    Realm,
)
from tallystick.auth.permissions import GRANTS, Permission
from tallystick.auth.rates import RateLimits
from tallystick.auth.revocations import Revocations
from tallystick.auth.scopes import parse_scopes
from tallystick.auth.tenancy import PLATFORM_TENANT, TenantState
from tallystick.auth.verifier import TokenVerifier
from tallystick.database.pools import Database
from tallystick.errors import ForbiddenError, GoneError, InvalidError, NotFoundError, RateLimitedError
from tallystick.query.ast import Equals, Everything
from tallystick.settings import AuthSettings, DatabaseSettings, RateSettings
from tokens import principal


def state(tenant_id: str, *, suspended: bool = False) -> TenantState:
    return TenantState(tenant_id, {"events": 1, "access": 2}, suspended, {})


@dataclass
class Tenants:
    """A tenancy in memory."""

    states: dict[str, TenantState] = field(
        default_factory=lambda: {
            "acme": state("acme"),
            "other": state("other"),
            "asleep": state("asleep", suspended=True),
            "gone": replace(state("gone", suspended=True), removing=True, gone="it went"),
            PLATFORM_TENANT: state(PLATFORM_TENANT),
        }
    )

    async def find(self, tenant_id: str) -> TenantState | None:
        return self.states.get(tenant_id)


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    """Keys that no test here asks for."""
    return load_or_create(tmp_path_factory.mktemp("home") / "keys")


@pytest_asyncio.fixture
async def gate(keyring: Keyring) -> Gate:
    """A gate whose database is never asked: authorising and charging need none."""
    database = Database.from_settings(DatabaseSettings(url=SecretStr("postgresql://127.0.0.1:1/none")))
    rates = RateLimits(RateSettings(principal_per_minute=10, tenant_per_minute=15))
    verifier = TokenVerifier(AuthSettings(), keyring)
    return Gate(verifier, Revocations(database, 5), Tenants(), rates)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("operation", list(OPERATIONS.values()), ids=lambda operation: operation.name)
@pytest.mark.parametrize("tenant", ["acme", "other", "asleep", "nowhere", PLATFORM_TENANT])
async def test_roles_and_operations_in_own_and_other_tenants(
    gate: Gate, role: Role, operation: Operation, tenant: str
) -> None:
    """Allowed exactly where the table says so: in the principal's own live tenant, within one tenant."""
    who = principal(roles=role, tenants=frozenset({"acme", "asleep", "nowhere", PLATFORM_TENANT}))
    allowed = tenant == "acme" and operation.realm is Realm.TENANT and operation.permission in GRANTS[role]
    if allowed:
        access = await gate.authorise(who, operation, tenant)
        assert access.tenant.id == "acme"
        assert operation.permission is not None
        assert access.may(operation.permission)
    else:
        with pytest.raises(ForbiddenError):
            await gate.authorise(who, operation, tenant)


PLATFORM_ADMIN = principal(everywhere=True, tenants=frozenset(), default_tenant="acme")


@pytest.mark.parametrize("operation", list(OPERATIONS.values()), ids=lambda operation: operation.name)
async def test_a_platform_admin_may_do_everything_in_a_live_tenant(gate: Gate, operation: Operation) -> None:
    access = await gate.authorise(PLATFORM_ADMIN, operation, "other")
    assert access.tenant.id == (PLATFORM_TENANT if operation.realm is Realm.PLATFORM else "other")
    assert all(access.may(permission) for permission in Permission)
    assert access.narrowing == Everything()


@pytest.mark.parametrize(
    "operation", [operation for operation in OPERATIONS.values() if operation.realm is Realm.TENANT]
)
async def test_in_a_suspended_tenant_a_platform_admin_can_only_see_to_the_tenant(
    gate: Gate, operation: Operation
) -> None:
    seen_to = (READ_TENANT, UPDATE_TENANT, REMOVE_TENANT, RESTORE_TENANT, LIST_JOBS, READ_JOB)
    if operation in (*seen_to, LIST_EXPORTS, READ_EXPORT, FETCH_EXPORT):
        assert (await gate.authorise(PLATFORM_ADMIN, operation, "asleep")).tenant.suspended
    else:
        with pytest.raises(ForbiddenError, match="suspended"):
            await gate.authorise(PLATFORM_ADMIN, operation, "asleep")


@pytest.mark.parametrize("operation", [each for each in OPERATIONS.values() if each.realm is Realm.TENANT])
async def test_of_a_removed_tenant_a_platform_admin_sees_its_jobs_alone(gate: Gate, operation: Operation) -> None:
    if operation in (LIST_JOBS, READ_JOB):
        assert (await gate.authorise(PLATFORM_ADMIN, operation, "gone")).tenant.removing
    else:
        with pytest.raises(GoneError, match="it went"):
            await gate.authorise(PLATFORM_ADMIN, operation, "gone")
    with pytest.raises(ForbiddenError):
        await gate.authorise(principal(tenants=frozenset({"gone"})), operation, "gone")


@pytest.mark.parametrize("tenant", ["nowhere", PLATFORM_TENANT, "", "\x00"])
async def test_only_a_platform_admin_learns_that_a_tenant_does_not_exist(gate: Gate, tenant: str) -> None:
    with pytest.raises(NotFoundError):
        await gate.authorise(PLATFORM_ADMIN, APPEND_EVENT, tenant)
    answers: set[str] = set()
    for name in ("other", tenant):
        with pytest.raises(ForbiddenError) as caught:
            await gate.authorise(principal(), APPEND_EVENT, name)
        answers.add(caught.value.detail)
    assert len(answers) == 1


async def test_the_default_tenant_serves_requests_that_name_none(gate: Gate) -> None:
    assert (await gate.authorise(principal(), LIST_EVENTS, None)).tenant.id == "acme"
    with pytest.raises(InvalidError) as caught:
        await gate.authorise(principal(default_tenant=None), LIST_EVENTS, None)
    assert caught.value.flaws[0].parameter == "tenant_id"


async def test_a_user_is_narrowed_to_their_own_events(gate: Gate) -> None:
    access = await gate.authorise(principal(roles=Role.USER), LIST_EVENTS, "acme")
    assert access.narrowing == Equals("user_id", "ada@example.com")


@pytest.mark.parametrize(
    ("who", "operation"),
    [
        (principal(scopes=parse_scopes(["logs:read"])), APPEND_EVENT),
        (principal(scopes={}), LIST_EVENTS),
        (principal(everywhere=True, scopes=parse_scopes(["tenants:list"])), CREATE_TENANT),
    ],
)
async def test_a_scope_that_is_missing_is_named(gate: Gate, who: Principal, operation: Operation) -> None:
    with pytest.raises(ForbiddenError) as caught:
        await gate.authorise(who, operation, "acme")
    assert caught.value.headers["WWW-Authenticate"] == (
        f'Bearer realm="tallystick", error="insufficient_scope", scope="{operation.permission}"'
    )


async def test_a_scope_that_is_there_suffices(gate: Gate) -> None:
    who = principal(everywhere=True, scopes=parse_scopes(["tenants:list"]))
    assert await gate.authorise(who, LIST_TENANTS, None)


async def test_public_operations_are_not_authorised(gate: Gate) -> None:
    with pytest.raises(ValueError, match="public"):
        await gate.authorise(principal(), PUBLIC, None)


async def test_a_charge_says_what_is_left(gate: Gate) -> None:
    access = await gate.authorise(principal(), APPEND_EVENT, None)
    asked = Request({"type": "http", "headers": [], "state": {"response_headers": {}}})
    await gate.charge(asked, access, 4)
    assert asked.state.response_headers["RateLimit"] == '"principal";r=6;t=60, "tenant";r=11;t=60'
    await gate.charge(asked, access.principal, 1)
    assert asked.state.response_headers["RateLimit"] == '"principal";r=5;t=60'
    with pytest.raises(RateLimitedError):
        await gate.charge(asked, access, 6)
