from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.auth.access import Access, narrowing_of
from tallystick.auth.model import Principal, Role
from tallystick.auth.operations import OPERATIONS, PUBLIC, READ_EVENT, Realm
from tallystick.auth.permissions import GRANTS, PLATFORM_GRANTS, Permission, Reach, grants_in
from tallystick.auth.reference import render
from tallystick.auth.routing import operation_of, performs
from tallystick.auth.scopes import is_scope, parse_scopes
from tallystick.auth.tenancy import TenantState
from tallystick.query.ast import And, Equals, Everything, OneOf
from tallystick.query.predicate import compile_predicate
from tokens import principal

ROOT = Path(__file__).parents[3]


def access(who: Principal) -> Access:
    grants = grants_in(who, "acme")
    return Access(
        who, TenantState("acme", {"events": 1}, suspended=False, settings={}), grants, narrowing_of(who, grants)
    )


def test_the_reference_page_is_the_code() -> None:
    page = (ROOT / "docs/reference/permissions.md").read_text()
    assert page == render(), "run python scripts/generate_docs.py"


def test_no_role_of_a_tenant_reaches_the_platform() -> None:
    over_tenants = {Permission.TENANTS_CREATE, Permission.TENANTS_LIST, Permission.TENANTS_SUSPEND}
    for grants in GRANTS.values():
        assert not over_tenants & set(grants)
    assert set(PLATFORM_GRANTS) == set(Permission)


def test_every_operation_needs_a_permission_that_somebody_has() -> None:
    for name, operation in OPERATIONS.items():
        assert operation.name == name
        assert operation.permission in PLATFORM_GRANTS
        assert operation.realm is not Realm.PUBLIC
    assert PUBLIC.permission is None


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (Role.ADMIN, set(GRANTS[Role.ADMIN])),
        (Role.AUDITOR, {Permission.LOGS_READ, Permission.ACCESS_READ, Permission.TENANTS_READ, Permission.JOBS_READ}),
        (Role.USER, {Permission.LOGS_WRITE, Permission.LOGS_READ}),
        ({"acme": Role.USER, "other": Role.ADMIN}, {Permission.LOGS_WRITE, Permission.LOGS_READ}),
        ({"other": Role.ADMIN}, set[Permission]()),
        (None, set[Permission]()),
    ],
)
def test_a_role_grants_what_the_table_says(roles: Role | dict[str, Role] | None, expected: set[Permission]) -> None:
    made = access(principal(roles=roles))
    assert {permission for permission in Permission if made.may(permission)} == expected


def test_a_role_ends_at_its_tenants() -> None:
    assert principal().role_in("acme") is Role.ADMIN
    assert principal().role_in("other") is None
    assert principal(roles={"other": Role.ADMIN}).role_in("other") is None
    assert principal(roles={"acme": Role.USER, "other": Role.ADMIN}).role_in("acme") is Role.USER


def test_every_tenant_and_admin_make_a_platform_admin() -> None:
    admin = principal(everywhere=True, tenants=frozenset())
    assert admin.platform
    assert admin.role_in("any") is Role.ADMIN
    assert grants_in(admin, "any") == PLATFORM_GRANTS
    auditor = principal(everywhere=True, tenants=frozenset(), roles=Role.AUDITOR)
    assert not auditor.platform
    assert grants_in(auditor, "any") == GRANTS[Role.AUDITOR]
    assert not principal(everywhere=True, roles={"acme": Role.ADMIN}).platform


def test_a_user_reads_only_their_own_events() -> None:
    narrowing = access(principal(roles=Role.USER, user_id="ada")).narrowing
    assert narrowing == Equals("user_id", "ada")
    matches = compile_predicate(narrowing)
    assert matches({"user_id": "ada"})
    assert not matches({"user_id": "Ada"})
    assert not matches({})


def test_scopes_narrow_to_resource_types_beside_the_role() -> None:
    scopes = parse_scopes(["logs:read:resource_type=invoice,order"])
    types = OneOf("resource_type", frozenset({"invoice", "order"}))
    assert access(principal(scopes=scopes)).narrowing == types
    assert access(principal(roles=Role.USER, user_id="ada", scopes=scopes)).narrowing == And(
        (Equals("user_id", "ada"), types)
    )
    assert access(principal(scopes=parse_scopes(["logs:read"]))).narrowing == Everything()


def test_a_scope_without_types_matches_no_event() -> None:
    narrowing = access(principal(scopes=parse_scopes(["logs:read:resource_type="]))).narrowing
    assert not compile_predicate(narrowing)({"resource_type": "invoice"})


def test_scopes_never_add_to_a_role() -> None:
    made = access(principal(roles=Role.AUDITOR, scopes=parse_scopes(map(str, Permission))))
    assert {permission for permission in Permission if made.may(permission)} == set(GRANTS[Role.AUDITOR])


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("", {}),
        ("openid profile", {}),
        ("logs:read", {"logs:read": None}),
        ("logs:read:resource_type=a logs:read:resource_type=b", {"logs:read": {"a", "b"}}),
        ("logs:read:resource_type=a logs:read", {"logs:read": None}),
        ("logs:read logs:read:resource_type=a", {"logs:read": None}),
        ("logs:write:resource_type=a", {}),
        ("logs:read:action=a", {}),
        ("LOGS:READ logs:reads logs:", {}),
    ],
)
def test_scope_words(words: str, kept: dict[str, set[str] | None]) -> None:
    assert parse_scopes(words.split()) == kept


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_any_resource_type_can_be_named_by_percent_encoding(types: list[str]) -> None:
    word = "logs:read:resource_type=" + ",".join(quote(name, safe="") for name in types)
    assert word.split() == [word]
    assert parse_scopes([word]) == {"logs:read": frozenset(types)}
    assert is_scope(word)


@given(st.lists(st.text()))
def test_what_scopes_keep_is_always_a_permission(words: list[str]) -> None:
    assert set(parse_scopes(words)) <= set(Permission)


@given(st.sampled_from(Role), st.lists(st.sampled_from([*map(str, Permission), "logs:read:resource_type=x", "junk"])))
def test_scopes_only_take_away(role: Role, words: list[str]) -> None:
    whole = access(principal(roles=role))
    narrowed = access(principal(roles=role, scopes=parse_scopes(words)))
    assert all(whole.may(permission) for permission in Permission if narrowed.may(permission))
    event = {"user_id": "ada@example.com", "resource_type": "y"}
    if compile_predicate(narrowed.narrowing)(event):
        assert compile_predicate(whole.narrowing)(event)


def test_a_route_declares_its_operation() -> None:
    @performs(READ_EVENT)
    def endpoint() -> None: ...

    class Route:
        def __init__(self, endpoint: object) -> None:
            self.endpoint = endpoint

    assert operation_of(Route(endpoint)) is READ_EVENT
    assert operation_of(Route(print)) is None
    assert operation_of(object()) is None


def test_own_reach_is_the_users_alone() -> None:
    owners = {role for role, grants in GRANTS.items() if Reach.OWN in grants.values()}
    assert owners == {Role.USER}
