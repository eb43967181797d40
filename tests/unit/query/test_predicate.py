"""The predicate, against one that is written as plainly as can be."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.query.ast import (
    SEVERITIES,
    And,
    Equals,
    Everything,
    InNetwork,
    Node,
    Not,
    OneOf,
    Or,
    SeverityAtLeast,
)
from tallystick.query.predicate import compile_predicate

FIELDS = ("user_id", "action", "severity", "ip_address", "metadata")
WORDS = ("ada", "Ada", "bob", "", "ERROR", "WARNING", "10.0.0.1", "::1")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "192.0.2.1", "::1", "2001:db8::1", "2001:0db8:0::1")
NETWORKS = ("10.0.0.1/32", "10.0.0.0/30", "0.0.0.0/0", "::1/128", "2001:db8::/32", "::/0")

leaves: st.SearchStrategy[Node] = st.one_of(
    st.just(Everything()),
    st.builds(Equals, st.sampled_from(FIELDS), st.sampled_from(WORDS)),
    st.builds(OneOf, st.sampled_from(FIELDS), st.frozensets(st.sampled_from(WORDS), max_size=3)),
    st.builds(SeverityAtLeast, st.sampled_from(SEVERITIES)),
    st.builds(InNetwork, st.just("ip_address"), st.sampled_from(NETWORKS)),
)


def _grown(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, max_size=3).map(tuple)
    return st.one_of(st.builds(And, several), st.builds(Or, several), st.builds(Not, parts))


nodes: st.SearchStrategy[Node] = st.recursive(leaves, _grown, max_leaves=8)
values = st.one_of(st.sampled_from(WORDS), st.none(), st.integers(0, 1), st.just(["ada"]), st.just({"ada": 1}))
bodies: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "user_id": values,
        "action": values,
        "metadata": values,
        "severity": st.sampled_from((*SEVERITIES, "OTHER")),
        "ip_address": st.one_of(st.sampled_from(ADDRESSES), values),
    },
)


def oracle(node: Node, body: Mapping[str, object]) -> bool:  # noqa: C901  # one case for each kind of node
    match node:
        case Everything():
            answer = True
        case And(parts):
            answer = all(oracle(part, body) for part in parts)
        case Or(parts):
            answer = any(oracle(part, body) for part in parts)
        case Not(part):
            answer = not oracle(part, body)
        case Equals(field, value):
            answer = field in body and body[field] == value
        case OneOf(field, wanted):
            answer = any(oracle(Equals(field, value), body) for value in wanted)
        case SeverityAtLeast(severity):
            worse = {"INFO": 0, "WARNING": 1, "ERROR": 2, "CRITICAL": 3}
            answer = worse.get(str(body.get("severity")), -1) >= worse[severity]
        case InNetwork(field, network):
            try:
                address = ip_address(body.get(field) or "none")  # type: ignore[arg-type]
            except ValueError:
                answer = False
            else:
                answer = isinstance(body[field], str) and address in ip_network(network)
        case _:
            raise AssertionError(node)
    return answer


@given(nodes, bodies)
def test_it_says_what_the_plain_one_says(node: Node, body: dict[str, object]) -> None:
    assert compile_predicate(node)(body) == oracle(node, body)


@pytest.mark.parametrize(
    "node",
    [
        Equals("user_id", "ada"),
        OneOf("user_id", frozenset({"ada", "None", ""})),
        SeverityAtLeast("INFO"),
        InNetwork("ip_address", "0.0.0.0/0"),
    ],
)
def test_an_absent_field_never_matches(node: Node) -> None:
    assert not compile_predicate(node)({"action": "x"})


def test_strings_are_compared_byte_for_byte() -> None:
    matches = compile_predicate(Equals("user_id", "Zo\u00eb"))
    assert matches({"user_id": "Zo\u00eb"})
    assert not matches({"user_id": "zo\u00eb"})
    assert not matches({"user_id": "Zoe\u0308"})


def test_addresses_are_compared_by_what_they_mean() -> None:
    matches = compile_predicate(InNetwork("ip_address", "10.0.0.0/8"))
    assert matches({"ip_address": "::ffff:10.9.8.7"})
    assert not matches({"ip_address": "::10.9.8.7"})
    assert compile_predicate(InNetwork("ip_address", "fe80::/10"))({"ip_address": "fe80::1%eth0"})


def test_a_severity_that_is_none_is_a_bug_and_says_so() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        compile_predicate(SeverityAtLeast("LOW"))
