import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import InvalidError
from tallystick.tenants.bodies import fit
from tallystick.tenants.model import is_tenant_id, merge_patch
from tallystick.tenants.schemas import NEW_TENANT, TENANT_PATCH, TENANT_SETTINGS


@pytest.mark.parametrize("tenant_id", ["a", "acme", "a-1", "9", "a" * 63, "eu-west-1"])
def test_a_dns_label_is_an_id(tenant_id: str) -> None:
    assert is_tenant_id(tenant_id)
    assert fit(NEW_TENANT, {"id": tenant_id, "name": "A"}).id == tenant_id


@pytest.mark.parametrize("tenant_id", ["", "-a", "a-", "A", "a_b", "a" * 64, "_platform", "a\n", "ä", "a.b"])
def test_anything_else_is_no_id(tenant_id: str) -> None:
    assert not is_tenant_id(tenant_id)
    with pytest.raises(InvalidError) as caught:
        fit(NEW_TENANT, {"id": tenant_id, "name": "A"})
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/id"]


@pytest.mark.parametrize("name", ["", " ", "a ", " a", "a\nb", "a\x00", "\x85", "x" * 201, "\u00a0"])
def test_a_name_is_visible_and_has_no_control_characters(name: str) -> None:
    with pytest.raises(InvalidError):
        fit(NEW_TENANT, {"id": "a", "name": name})


@pytest.mark.parametrize("name", ["A", "Acme & Söhne", "日本 株式会社", "x" * 200, "🪵"])
def test_people_may_name_it_as_they_like(name: str) -> None:
    assert fit(NEW_TENANT, {"id": "a", "name": name}).name == name


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"suspended": None}, "/suspended"),
        ({"suspended": "true"}, "/suspended"),
        ({"suspended": 1}, "/suspended"),
        ({"id": "b"}, "/id"),
        ({"settings": []}, "/settings"),
        ([], ""),
    ],
)
def test_a_patch_changes_only_what_can_change(patch: object, pointer: str) -> None:
    with pytest.raises(InvalidError) as caught:
        fit(TENANT_PATCH, patch)
    assert [flaw.pointer for flaw in caught.value.flaws] == [pointer]


def test_a_setting_that_nobody_reads_is_refused_at_its_place() -> None:
    with pytest.raises(InvalidError) as caught:
        fit(TENANT_SETTINGS, {"colour": "red"}, at="/settings")
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/settings/colour"]


RFC_7396_APPENDIX_A: list[tuple[object, object, object]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396_APPENDIX_A)
def test_merge_patch_is_that_of_the_rfc(target: object, patch: object, result: object) -> None:
    assert merge_patch(target, patch) == result


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=3),
    max_leaves=8,
)


@given(_json, _json)
def test_a_merge_patch_is_idempotent(target: object, patch: object) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
