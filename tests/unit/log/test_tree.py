"""Free-form objects: numbers keep their value or are refused, and nothing goes beyond depth, keys or pointers."""

import json
import time
from decimal import Decimal
from typing import Any, cast

import jiter
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pointers import at_pointer
from tallystick.errors import Flaw
from tallystick.log.model import parse_json
from tallystick.log.tree import check_tree, escape_pointer, exact_float
from tallystick.settings import EventSettings

LIMITS = EventSettings()


def parse(text: str) -> Any:
    return parse_json(text.encode())


def check(text: str, limits: EventSettings = LIMITS, keys: int | None = None) -> tuple[dict[str, Any], int, list[Flaw]]:
    tree = parse(text)
    flaws: list[Flaw] = []
    left = check_tree(tree, "/metadata", limits, limits.max_keys if keys is None else keys, flaws)
    return tree, left, flaws


def nested(levels: int, leaf: str = "1") -> str:
    """An object within an object … `levels` deep, the innermost holding the leaf."""
    return '{"a":' * levels + leaf + "}" * levels


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.1", 0.1),
        ("-0.0", -0.0),
        ("0e5", 0.0),
        ("1.50", 1.5),
        ("1E5", 100_000.0),
        ("1e+2", 100.0),
        ("1e22", 1e22),
        ("1e23", 1e23),
        ("129.95", 129.95),
        ("5e-324", 5e-324),
        ("2.2250738585072014e-308", 2.2250738585072014e-308),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("9007199254740992.0", 9007199254740992.0),
        ("0.30000000000000004", 0.30000000000000004),
    ],
)
def test_a_decimal_that_float64_keeps(text: str, number: float) -> None:
    read = exact_float(parse(text))

    assert read is not None
    assert repr(read) == repr(number)


@pytest.mark.parametrize(
    "text",
    [
        "0.10000000000000001",
        "9007199254740993.0",
        "123456789.1234567890123",
        "4e-324",
        "1e-400",
        "1e309",
        "-1e400",
        "1.7976931348623159e308",
        "1e99999999999999999999999999",
        "-1e-99999999999999999999999999",
        "0.1e-99999999999999999999999999",
    ],
)
def test_a_decimal_that_float64_would_change(text: str) -> None:
    assert exact_float(parse(text)) is None
    _, _, flaws = check(f'{{"n":[{text}]}}')
    assert [flaw.pointer for flaw in flaws] == ["/metadata/n/0"]
    assert "send it as a string" in flaws[0].detail


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_a_float64_is_written_as_is_kept(number: float) -> None:
    for text in (repr(number), orjson.dumps(number).decode()):
        assert repr(exact_float(parse(text))) == repr(number)


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,4})?\Z"))
@example("0.5")
@example("9007199254740993e0")
def test_a_decimal_is_exact_or_refused(text: str) -> None:
    value = parse(text)
    if isinstance(value, jiter.LosslessFloat):
        number = exact_float(value)
        if number is not None:
            assert Decimal(orjson.dumps(number).decode()) == Decimal(text)
    else:
        assert value == int(text)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 2**53 + 1])
def test_an_integer_of_64_bits_is_kept(number: int) -> None:
    tree, _, flaws = check(f'{{"n":{number}}}')

    assert not flaws
    assert parse_json(orjson.dumps(tree)) == {"n": number}


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**4000])
def test_an_integer_beyond_64_bits_is_refused(number: int) -> None:
    _, _, flaws = check(f'{{"n":{{"m":{number}}}}}')

    assert flaws == [Flaw("is an integer beyond 64 bits; send it as a string", "/metadata/n/m")]


def test_depth_is_counted_in_objects_and_arrays() -> None:
    limits = EventSettings(max_depth=4)

    assert not check(nested(4), limits)[2]
    assert not check(nested(3, "[1]"), limits)[2]
    for text, pointer in ((nested(5), "/metadata/a/a/a/a"), (nested(3, "[[]]"), "/metadata/a/a/a/0")):
        assert check(text, limits)[2] == [Flaw("is nested deeper than 4 levels", pointer)]


def test_what_lies_too_deep_is_named_once_and_not_walked() -> None:
    _, _, flaws = check(nested(100), EventSettings(max_depth=4))

    assert len(flaws) == 1


def test_keys_and_items_are_counted_together() -> None:
    text = '{"a":[1,2,[3]],"b":{"c":{}}}'  # 2 keys, 3 items, 1 item, 1 key

    assert check(text, keys=7)[1:] == (0, [])
    _, left, flaws = check(text, keys=6)
    assert left < 0
    assert [flaw.pointer for flaw in flaws] == ["/metadata"]


def test_a_long_key_or_one_with_nul_is_refused() -> None:
    limits = EventSettings(max_key_length=5)

    assert not check('{"ééééé":1}', limits)[2]
    assert [flaw.pointer for flaw in check('{"o":{"éééééé":1}}', limits)[2]] == ["/metadata/o"]
    assert [flaw.pointer for flaw in check('{"o":[{"a\\u0000b":1}]}', limits)[2]] == ["/metadata/o/0"]


def test_below_a_long_key_nothing_is_named() -> None:
    items = ",".join(["[99999999999999999999]"] * 500)
    _, _, flaws = check(f'{{"{"k" * 100_000}":[{items}]}}')

    assert [flaw.pointer for flaw in flaws] == ["/metadata"]


def test_nul_in_a_text_is_refused_and_other_controls_are_not() -> None:
    _, _, flaws = check('{"a":["x\\u0000"],"b":"\\u0001\\u007f\\uffff"}')

    assert [flaw.pointer for flaw in flaws] == ["/metadata/a/0"]


def test_keys_are_escaped_in_pointers() -> None:
    assert escape_pointer("a/b~c~1") == "a~1b~0c~01"
    _, _, flaws = check('{"a/b":{"~":99999999999999999999}}')
    assert [flaw.pointer for flaw in flaws] == ["/metadata/a~1b/~0"]


def test_a_tree_of_the_largest_event_is_judged_quickly() -> None:
    text = '{"n":[' + ",".join(["0.1234567890123456789e-1000000000"] * 900) + "]}"
    started = time.process_time()
    _, _, flaws = check(text)

    assert len(flaws) == 900
    assert time.process_time() - started < 0.5


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
trees = st.dictionaries(
    texts,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=25
    ),
    max_size=4,
)


@given(trees)
def test_what_is_accepted_is_kept_and_what_is_refused_is_pointed_at(tree: dict[str, Any]) -> None:
    raw = orjson.dumps(tree) if fits(tree) else dump(tree)
    parsed = parse_json(raw)
    flaws: list[Flaw] = []
    limits = EventSettings(max_depth=3, max_keys=30)
    check_tree(cast("dict[str, Any]", parsed), "/metadata", limits, limits.max_keys, flaws)

    if flaws:
        for flaw in flaws:
            assert flaw.pointer is not None
            at_pointer({"metadata": tree}, flaw.pointer)
    else:
        assert fits(tree)
        assert orjson.dumps(parsed) == raw


def fits(value: object) -> bool:
    """Whether every integer has 64 bits."""
    match value:
        case dict():
            return all(map(fits, cast("dict[str, object]", value).values()))
        case list():
            return all(map(fits, cast("list[object]", value)))
        case int():
            return -(2**63) <= value < 2**63
        case _:
            return True


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
