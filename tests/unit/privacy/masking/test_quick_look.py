"""The one look over an event's JSON misses nothing that the walk finds, and no input takes long."""

import copy
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from masking_corpus import NAMES, corpus
from tallystick.privacy.masking.masker import TREES, Masker
from tallystick.privacy.masking.policy import policy_of
from tallystick.privacy.masking.presets import PRESETS, RULES, SWITCHES
from tallystick.privacy.sealing import DataKeys

KEYS = DataKeys("acme", "k1", {"k1": bytes(32)}, bytes(32))
POLICIES: list[dict[str, Any]] = [
    *({"preset": preset} for preset in PRESETS),
    {"preset": "gdpr", "detectors": dict.fromkeys(SWITCHES, True), "actions": dict.fromkeys(RULES, "encrypt")},
    {"preset": "pci", "names": {"пароль": "drop", "Badge No": "hash", "token": "keep"}},
]

_SECRETS = sorted({sample.secret for sample in corpus() if sample.secret is not None}, key=len)[::9]
_NAMES = [name for names in NAMES.values() for name in names] + ["пароль", "badge-no", "field", "name", "value", "new"]
_BETWEEN = [
    '"',
    "\\",
    "\n",
    "\t",
    "\x01",
    "\x1f",
    "\x7f",
    "é",
    "\U0001f511",
    "\u017f",
    "\u212a",
    " ",
    "=",
    ": ",
    ":",
    ">",
    "<",
    *("--", "-", "_", ".", "/", "Bearer ", "basic ", "://a:", "@", "&", "'", '\\"', "1", "A", "x", "\u2028", "[]"),
]

texts = st.lists(
    st.one_of(st.sampled_from(_SECRETS), st.sampled_from(_NAMES), st.sampled_from(_BETWEEN), st.text(max_size=3)),
    max_size=8,
).map("".join)
keys = st.one_of(st.sampled_from(_NAMES), texts.map(lambda text: text[:250]))
scalars = st.one_of(texts, st.integers(10**12, 10**19), st.floats(0, 10**19), st.booleans(), st.none())
trees = st.dictionaries(
    keys,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    ),
    max_size=4,
)
events = st.fixed_dictionaries(
    {}, optional={"message": texts, "user_agent": texts, "before": trees, "after": trees, "metadata": trees}
)


def masker_of(policy: dict[str, Any]) -> Masker:
    return Masker(policy_of(policy), KEYS, lambda _: None)


@settings(max_examples=600, deadline=None)
@given(event=events, policy=st.sampled_from(POLICIES))
@example(event={"metadata": {'a"password': "x"}}, policy=POLICIES[0])
@example(event={"message": "\n4111111111111111"}, policy=POLICIES[0])
@example(event={"message": "\x014111111111111111"}, policy=POLICIES[0])
@example(event={"message": '\\"password\\":\\"x\\"'}, policy=POLICIES[0])
@example(event={"metadata": {"field": '\\" password', "new": "x"}}, policy=POLICIES[0])
@example(event={"metadata": {"ПАРОЛЬ": "x"}}, policy=POLICIES[-1])
@example(event={"metadata": {"": 4111111111111111.0}}, policy=POLICIES[0])
def test_it_misses_nothing(event: dict[str, Any], policy: dict[str, Any]) -> None:
    masker = masker_of(policy)
    body = orjson.dumps({"action": "a", **event})
    before = copy.deepcopy(event)
    found = masker.mask(event, b"")
    if found:
        assert masker.suspects(body)
    else:
        assert event == before
    orjson.dumps(event)


_REPEATED = (
    *("a", "4", "4111 ", "4111111111111111 ", "eyJ", "password=", "password:", "cookie:", "cookie: x ", 'password="'),
    *('password=\\"', "<password>", "--password ", "-----BEGIN PRIVATE KEY-----", "a://b:c@", "a://b:", "a@", "a@b."),
    *("sk-", "Bearer ", "DE89 3704 ", "tokentoken=", "_", "api ", "aP", "token: abc ", "password='x", "\\", '"'),
)


@pytest.mark.parametrize("piece", _REPEATED)
def test_a_long_string_takes_no_longer_than_its_length(piece: str) -> None:
    """A quarter of a megabyte, the largest event there is: what grows with the square of it takes minutes."""
    masker = masker_of(POLICIES[-2])
    text = (piece * (250_000 // len(piece)))[:250_000]
    began = time.thread_time()
    masker.suspects(orjson.dumps({"message": text}))
    masker.mask({"metadata": {"x": text}}, b"")
    assert time.thread_time() - began < 10


def test_a_deep_and_a_wide_tree_take_no_longer_than_their_size() -> None:
    masker = masker_of(POLICIES[-2])
    deep: dict[str, Any] = {"password": "x"}
    for _ in range(64):
        deep = {"a": [deep]}
    wide = {f"{n}{'x' * 240}password": "x" for n in range(1000)}
    began = time.thread_time()
    event: dict[str, Any] = dict(zip(TREES, (deep, wide, {}), strict=True))
    assert len(masker.mask(event, b"")) == 1
    assert time.thread_time() - began < 10
