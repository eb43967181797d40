"""Random events and questions about them, for whatever must answer as the predicate does."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from hypothesis import strategies as st

from tallystick.query.analysis import TEXT_FIELDS, TREES
from tallystick.query.ast import (
    SEVERITIES,
    And,
    Equals,
    Everything,
    Exists,
    InNetwork,
    Node,
    Not,
    NumberRange,
    OccurredBetween,
    OneOf,
    Or,
    Path,
    SeverityAtLeast,
    Words,
)
from tallystick.query.filters import NAMED_FIELDS
from tallystick.query.tokens import query_tokens

_Value = TypeVar("_Value")

WORDS = (
    "login",
    "Login",
    "LOGIN",
    "straße",
    "STRASSE",
    "naïve",
    "東京都",
    "東京",
    "都",
    "カタカナ",
    "हिन्दी",
    "Maria@acme.example",
    "a1b2c3d4-e5f6-4711-8000-0123456789ab",
    "/srv/data/report 2026.pdf",
    "10.1.2.3",
    "2001:db8::1",
    "ﬁle",
    "user_id",
    "x" * 60,
    "42",
    "3.5",
    "true",
    "…",
)
KEYS = ("a", "b", "a.b", "", "order total", "größe", "k=v", "c:d", "\\", "k" * 90, "~", "\u3000")
ADDRESSES = ("10.1.2.3", "10.1.99.1", "192.168.0.1", "2001:db8::1", "::ffff:10.1.2.3", "nowhere")
NETWORKS = ("10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "10.0.0.0/13", "2001:db8::/33", "::/0", "192.168.0.0/30")
MOMENTS = (
    "2026-11-24T17:21:36.123Z",
    "2026-11-24T17:21:36.123+01:00",
    "1900-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "1969-12-31T23:59:59.5Z",
)

_COMPACT = "1.20261128-0a1b2c3d.pY_Qswg0zlHxITTx.-F1eYDQ85NwmK2OzIknhX9-mg6Fary6UDFYhCpskqhNrZgE55w"
SEALED_TEXT = f"$sealed:{_COMPACT}"
SEALED_VALUE = {"$sealed": _COMPACT}

_texts = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map("-".join),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20),
    st.integers(20, 60).map(lambda times: "long value " * times),
    st.sampled_from((SEALED_TEXT, f"{SEALED_TEXT}.", _COMPACT)),
)
_numbers = st.one_of(
    st.integers(-300, 300),
    st.sampled_from((0, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 255, 256, 257)),
    st.sampled_from((0.0, -0.0, 0.5, -0.5, 1e-300, 1e300, 42.0, 3.5)),
    st.floats(allow_nan=False, allow_infinity=False),
)
_sealed = st.sampled_from((SEALED_VALUE, {**SEALED_VALUE, "a": 1}, {"$sealed": "by hand"}, [SEALED_VALUE, SEALED_TEXT]))
_leaves = st.one_of(st.none(), st.booleans(), _numbers, _texts, _sealed)
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)),
    max_leaves=6,
)
_trees = st.one_of(st.none(), st.dictionaries(st.sampled_from(KEYS), _values, max_size=4))


def bodies() -> st.SearchStrategy[dict[str, Any]]:
    """Bodies of events, as they are stored."""
    text = [field for field in TEXT_FIELDS if field not in ("severity", "ip_address", "action", "resource_type")]
    return st.fixed_dictionaries(
        {
            "action": _texts,
            "resource_type": _texts,
            "severity": st.sampled_from(SEVERITIES),
            "timestamp": st.sampled_from(MOMENTS),
        },
        optional={
            **dict.fromkeys(text, _texts),
            "ip_address": st.sampled_from(ADDRESSES),
            **dict.fromkeys(TREES, _trees),
        },
    )


def _one_of(values: Sequence[_Value]) -> st.SearchStrategy[_Value]:
    """One of many values, some of them too long to be printed as `sampled_from` prints them all."""
    return st.integers(0, len(values) - 1).map(values.__getitem__)


@st.composite
def bodies_with_nodes(draw: st.DrawFn) -> tuple[Mapping[str, object], Node]:
    """A body, and a question that often has to do with what is in it."""
    body = draw(bodies())
    return body, draw(nodes([body]))


def nodes(bodies: list[dict[str, Any]]) -> st.SearchStrategy[Node]:
    """Questions, built in part from what these bodies hold."""
    leaves = [leaf for body in bodies for leaf in _walk(body)]
    texts = _one_of([text for _, text in leaves if isinstance(text, str)] or ["login"])
    paths = st.one_of(
        _one_of([path for path, _ in leaves if path[0] in (*TEXT_FIELDS, *TREES)] or [("action",)]),
        st.tuples(st.sampled_from(TREES), st.sampled_from(KEYS)),
    )
    numbers = st.one_of(
        _numbers.map(float),
        _one_of([float(leaf) for _, leaf in leaves if isinstance(leaf, int | float)] or [0.0]),
    )
    bounds = st.one_of(st.none(), numbers)
    moments = st.one_of(st.none(), st.integers(-(10**13), 10**16))
    trees = st.tuples(st.sampled_from(TREES), st.sampled_from(KEYS))
    simple: st.SearchStrategy[Node] = st.one_of(
        st.just(Everything()),
        st.builds(Equals, st.sampled_from(NAMED_FIELDS), st.one_of(texts, _texts)),
        st.builds(OneOf, st.sampled_from(NAMED_FIELDS), st.frozensets(st.one_of(texts, _texts), min_size=1)),
        st.builds(SeverityAtLeast, st.sampled_from(SEVERITIES)),
        st.builds(InNetwork, st.just("ip_address"), st.sampled_from(NETWORKS)),
        _words(texts, st.one_of(st.none(), paths)),
        _words(_texts, st.one_of(st.none(), paths)),
        st.builds(NumberRange, st.one_of(paths, trees), bounds, bounds, st.booleans(), st.booleans()),
        st.builds(Exists, paths),
        st.builds(OccurredBetween, moments, moments),
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(And, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        ),
        max_leaves=4,
    )


@st.composite
def _words(draw: st.DrawFn, texts: st.SearchStrategy[str], paths: st.SearchStrategy[Path | None]) -> Node:
    """Some neighbouring tokens of a text, the last perhaps begun only."""
    tokens, prefix = query_tokens(draw(texts)[:200])
    if not tokens:
        return Words(draw(paths), ("login",))
    start = draw(st.integers(0, min(len(tokens) - 1, 5)))
    end = draw(st.integers(start + 1, min(len(tokens), start + 4)))
    chosen = list(tokens[start:end])
    if draw(st.booleans()):
        chosen[-1] = chosen[-1][: draw(st.integers(1, len(chosen[-1])))]
        prefix = True
    return Words(draw(paths), tuple(chosen), prefix)


def _walk(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:  # parsed JSON
    if isinstance(value, dict):
        children = cast("dict[str, Any]", value).items()
        return [leaf for key, item in children for leaf in _walk(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for item in cast("list[Any]", value) for leaf in _walk(item, path)]
    return [(path, value)]
