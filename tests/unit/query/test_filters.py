"""Query parameters to a tree."""

import pytest

from tallystick.errors import InvalidError
from tallystick.query.ast import And, Equals, Everything, InNetwork, Node, OneOf, Or, SeverityAtLeast
from tallystick.query.filters import MAX_VALUES, NAMED_FIELDS, FilterParams, to_filter


def tree(**values: list[str]) -> Node:
    return to_filter(FilterParams.from_values(values))


def flaw_of(**values: list[str]) -> tuple[str | None, str]:
    with pytest.raises(InvalidError) as caught:
        tree(**values)
    (flaw,) = caught.value.flaws
    return flaw.parameter, flaw.detail


def test_no_filter_is_everything() -> None:
    assert tree() == Everything()


@pytest.mark.parametrize("name", [name for name in NAMED_FIELDS if name != "severity"])
def test_a_named_field_is_compared_as_it_is(name: str) -> None:
    assert tree(**{name: [" Ada "]}) == Equals(name, " Ada ")


def test_repeated_values_are_alternatives() -> None:
    assert tree(action=["a", "b", "a"]) == OneOf("action", frozenset({"a", "b"}))


def test_different_parameters_must_all_hold() -> None:
    assert tree(user_id=["ada"], severity=["ERROR"], min_severity=["WARNING"]) == And(
        (Equals("user_id", "ada"), Equals("severity", "ERROR"), SeverityAtLeast("WARNING"))
    )


@pytest.mark.parametrize(
    ("given", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("2001:DB8:0:0::1", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
    ],
)
def test_an_address_is_a_network_of_one(given: str, network: str) -> None:
    assert tree(ip=[given]) == InNetwork("ip_address", network)


def test_several_networks_are_alternatives() -> None:
    assert tree(ip=["10.0.0.0/8", "::1", "10.0.0.0/8"]) == Or(
        (InNetwork("ip_address", "10.0.0.0/8"), InNetwork("ip_address", "::1/128"))
    )


@pytest.mark.parametrize("ip", ["", "10.0.0", "10.0.0.0/33", "ten", "fe80::1%eth0", "10.0.0.1:443", "10.0.0.0/8/8"])
def test_what_is_no_address_is_refused(ip: str) -> None:
    assert flaw_of(ip=[ip])[0] == "ip"


@pytest.mark.parametrize(
    ("name", "values", "detail"),
    [
        ("severity", ["INFO", "error"], "must be one of"),
        ("min_severity", ["LOW"], "must be one of"),
        ("min_severity", ["INFO", "ERROR"], "given once"),
        ("user_id", [""], "is empty"),
        ("action", [str(n) for n in range(MAX_VALUES + 1)], "more than 100"),
    ],
)
def test_a_value_that_cannot_be_names_its_parameter(name: str, values: list[str], detail: str) -> None:
    parameter, said = flaw_of(**{name: values})
    assert parameter == name
    assert detail in said


def test_every_flaw_is_told_at_once() -> None:
    with pytest.raises(InvalidError) as caught:
        tree(severity=["LOW"], ip=["ten"], user_id=[""])
    assert {flaw.parameter for flaw in caught.value.flaws} == {"severity", "ip", "user_id"}
