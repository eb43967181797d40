"""Sealing: what goes in comes out at its own place with its own key, and nowhere else."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.privacy.sealing import DataKeys, JsonValue, UnsealError
from tallystick.query.sealed import compact_of

KEYS = DataKeys("acme", "k-2", {"k-1": b"\1" * 32, "k-2": b"\2" * 32}, b"\3" * 32)
SALT = bytes(range(12))
PLACE = "/metadata/card"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)


@given(values, st.binary(min_size=12, max_size=12), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_is_unsealed_at_its_place(value: JsonValue, salt: bytes, pointer: str) -> None:
    sealed = orjson.loads(orjson.dumps(KEYS.seal(value, salt, pointer)))
    assert KEYS.unseal(sealed, salt, pointer) == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_sealed_text_stays_a_text(text: str) -> None:
    sealed = KEYS.seal_text(text, SALT, "/message")
    assert compact_of(sealed) is not None
    assert KEYS.unseal(sealed, SALT, "/message") == text


def test_what_was_sealed_by_an_earlier_key_is_unsealed_after_a_rotation() -> None:
    sealed = DataKeys("acme", "k-1", {"k-1": b"\1" * 32}, b"\3" * 32).seal("4111", SALT, PLACE)
    assert KEYS.unseal(sealed, SALT, PLACE) == "4111"


def test_the_form_is_that_of_the_golden_vectors() -> None:
    """Made with another implementation of HKDF-Expand and HMAC than ours."""
    golden = {"$sealed": "1.k-2.ZGVmZ2hpamtsbW5v.m7UOjGTORxaqN0hgzn5uYekVqrlzgA"}
    assert KEYS.unseal(golden, SALT, PLACE) == "4111"
    assert KEYS.digest("4111") == "hmac:1fd38f6b6664022d2c22cd7f97016949"


@pytest.mark.parametrize(
    ("keys", "salt", "pointer"),
    [
        (DataKeys("acme2", "k-2", KEYS.keys, b"\3" * 32), SALT, PLACE),
        (DataKeys("acme", "k-2", {"k-2": b"\4" * 32}, b"\3" * 32), SALT, PLACE),
        (KEYS, bytes(12), PLACE),
        (KEYS, SALT, "/metadata/card/"),
    ],
    ids=["tenant", "key", "salt", "pointer"],
)
def test_it_is_refused_anywhere_else(keys: DataKeys, salt: bytes, pointer: str) -> None:
    sealed = KEYS.seal("4111", SALT, PLACE)
    with pytest.raises(UnsealError, match="refused"):
        keys.unseal(sealed, salt, pointer)


@given(st.data())
def test_any_character_changed_is_refused(data: st.DataObject) -> None:
    text = KEYS.seal("4111 1111 1111 1111", SALT, PLACE)["$sealed"]
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != text[at]))
    with pytest.raises(UnsealError):
        KEYS.unseal({"$sealed": text[:at] + other + text[at + 1 :]}, SALT, PLACE)


@pytest.mark.parametrize("cut", [1, 4, 22])
def test_what_was_cut_is_refused(cut: int) -> None:
    text = KEYS.seal("4111 1111 1111 1111", SALT, PLACE)["$sealed"]
    with pytest.raises(UnsealError, match="refused"):
        KEYS.unseal({"$sealed": text[:-cut]}, SALT, PLACE)


def test_a_key_id_of_another_key_is_refused_though_the_key_is_known() -> None:
    same = DataKeys("acme", "k-2", {"k-1": b"\2" * 32, "k-2": b"\2" * 32}, b"\3" * 32)
    text = same.seal("4111", SALT, PLACE)["$sealed"].replace("k-2", "k-1")
    with pytest.raises(UnsealError, match="refused"):
        same.unseal({"$sealed": text}, SALT, PLACE)


def test_a_key_that_is_gone_is_told_from_a_value_that_was_altered() -> None:
    sealed = KEYS.seal("4111", SALT, PLACE)
    with pytest.raises(UnsealError, match="unknown_key"):
        DataKeys("acme", "k-3", {"k-3": b"\2" * 32}, b"\3" * 32).unseal(sealed, SALT, PLACE)


@pytest.mark.parametrize(
    "value",
    [
        "4111",
        None,
        7,
        ["$sealed"],
        {"$sealed": "x"},
        {"$sealed": 7},
        {"$sealed": KEYS.seal(1, SALT, "")["$sealed"], "more": 1},
        {"$sealed": "2" + KEYS.seal(1, SALT, "")["$sealed"][1:]},
        KEYS.seal(1, SALT, "")["$sealed"],
        {},
    ],
    ids=lambda value: type(value).__name__,  # nonces are drawn, and each process must collect the same names
)
def test_what_is_not_sealed_is_said_so(value: object) -> None:
    with pytest.raises(UnsealError, match="not_sealed"):
        KEYS.unseal(value, SALT, PLACE)


def test_two_sealings_of_one_value_differ() -> None:
    assert KEYS.seal("4111", SALT, PLACE) != KEYS.seal("4111", SALT, PLACE)


def test_neither_keys_nor_values_are_in_what_is_printed() -> None:
    assert repr(KEYS) == "DataKeys('acme', 'k-2')"


def test_a_digest_is_the_same_for_the_tenant_and_whatever_data_key_is_active() -> None:
    rotated = DataKeys("acme", "k-9", {"k-9": b"\7" * 32}, b"\3" * 32)
    assert KEYS.digest("4111") == rotated.digest("4111")
    assert len({KEYS.digest("4111"), KEYS.digest("4112")}) == 2
    assert KEYS.digest("4111") != DataKeys("other", "k-2", KEYS.keys, b"\3" * 32).digest("4111")
    assert KEYS.digest("4111") != DataKeys("acme", "k-2", KEYS.keys, b"\5" * 32).digest("4111")
