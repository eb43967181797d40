"""A narrowing that was written down is read back as the same filter, or not at all."""

import pytest

from tallystick.auth.access import narrowing_of
from tallystick.auth.model import Role
from tallystick.auth.permissions import grants_in
from tallystick.export import narrowing
from tallystick.query.ast import Equals, Not, OneOf, canonical
from tallystick.query.predicate import compile_predicate
from tokens import principal


@pytest.mark.parametrize("role", [Role.USER, Role.AUDITOR, Role.ADMIN])
@pytest.mark.parametrize("types", [None, [], ["order"], ["order", 'in"voice']])
def test_every_narrowing_of_a_principal_is_read_back(role: Role, types: list[str] | None) -> None:
    scopes = None if types is None else {"logs:read": frozenset(types)}
    who = principal(roles=role, scopes=scopes, user_id="ada \u2028 \\ ü")
    before = narrowing_of(who, grants_in(who, "acme"))
    after = narrowing.read(narrowing.written(before))
    assert canonical(after) == canonical(before)
    for user in ("ada \u2028 \\ ü", "eve"):
        for kind in ("order", 'in"voice', "user"):
            event = {"user_id": user, "resource_type": kind}
            assert compile_predicate(after)(event) == compile_predicate(before)(event)


def test_no_types_at_all_lets_nothing_through() -> None:
    assert narrowing.read(narrowing.written(OneOf("resource_type", frozenset()))) == OneOf("resource_type", frozenset())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        "null",
        '"everything"',
        '["and"]',
        '["everything","x"]',
        '["or",["is","user_id","ada"],["everything"]]',
        '["and",["is","user_id","ada"],["what"]]',
        '["is"]',
        '["is","user_id",7]',
        narrowing.written(Not(Equals("user_id", "ada"))),
    ],
)
def test_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever the reader says of it
        narrowing.read(text)
