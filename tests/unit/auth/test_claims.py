from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.auth.claims import principal_of
from tallystick.auth.model import Role
from tallystick.errors import UnauthenticatedError
from tallystick.settings import AuthSettings
from tokens import claims

SETTINGS = AuthSettings()

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["*", "acme", "admin", "logs:read"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("acme"), inner, max_size=4),
    max_leaves=8,
)


def test_without_a_tenants_claim_the_default_is_the_only_tenant() -> None:
    made = principal_of(claims(tenants=None, tenant_id="acme"), SETTINGS)
    assert (made.tenants, made.default_tenant) == ({"acme"}, "acme")


def test_without_any_tenant_a_principal_has_none() -> None:
    made = principal_of(claims(tenants=None), SETTINGS)
    assert (made.tenants, made.default_tenant, made.everywhere) == (frozenset(), None, False)
    assert made.role_in("acme") is None


def test_of_several_tenants_none_is_the_default() -> None:
    assert principal_of(claims(tenants=["acme", "other"]), SETTINGS).default_tenant is None


def test_the_platform_may_have_a_default_tenant() -> None:
    made = principal_of(claims(tenants=["*"], tenant_id="acme"), SETTINGS)
    assert (made.platform, made.default_tenant, made.tenants) == (True, "acme", frozenset())


@pytest.mark.parametrize("role", ["owner", "ADMIN", "", None, {"acme": "owner"}, {}])
def test_an_unknown_role_grants_nothing(role: Any) -> None:
    made = principal_of(claims(role=role, tenants=["*"]), SETTINGS)
    assert made.role_in("acme") is None
    assert not made.platform


def test_the_user_claim_is_required_where_it_is_another() -> None:
    settings = AuthSettings(user_claim="email")
    assert principal_of(claims(email="ada@a"), settings).user_id == "ada@a"
    with pytest.raises(UnauthenticatedError, match="lacks the claim `email`"):
        principal_of(claims(), settings)


def test_without_iat_a_token_counts_as_the_oldest() -> None:
    assert principal_of(claims(iat=None), SETTINGS).issued_at == 0


@given(tenants=anything, tenant_id=anything, role=anything, scope=anything, jti=anything, sub=anything)
def test_whatever_an_issuer_claims_is_read_or_refused(**claimed: Any) -> None:
    """No claim crashes, and none makes a platform admin but `["*"]` with the role admin."""
    try:
        made = principal_of({**claims(), **claimed}, SETTINGS)
    except UnauthenticatedError:
        return
    assert made.platform == (claimed["tenants"] == ["*"] and claimed["role"] == "admin")
    assert made.subject == claimed["sub"]
    if made.role_in("acme") is Role.ADMIN:
        assert made.everywhere or "acme" in (claimed["tenants"] or [claimed["tenant_id"]])
    made.subject.encode()
