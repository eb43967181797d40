"""A bulk body is cut where its elements end."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.errors import InvalidError
from tallystick.log.model import parse_json
from tallystick.log.splitting import read_array, split_array, split_ndjson


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"\n\r\n \t\n", []),
        (b'{"a":1}', [b'{"a":1}']),
        (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n\r\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
        (b'\n{"a":"\\n"}\n\n', [b'{"a":"\\n"}']),
        ('{"a":"\u2028\u0085\x0c"}\n'.encode(), ['{"a":"\u2028\u0085\x0c"}'.encode()]),
    ],
)
def test_lines_are_split_at_newlines_alone(body: bytes, lines: list[bytes]) -> None:
    assert [line.strip(b"\r") for line in split_ndjson(body)] == lines


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10) | st.text(
    '[]{},:"\\/ \n\u2028\ud7ff😀', max_size=8
)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)


spaces = st.text(" \t\r\n", max_size=3)


@given(st.lists(values, max_size=6), st.data(), st.booleans())
def test_the_elements_of_an_array_are_those_of_the_whole(
    elements: list[object], data: st.DataObject, ascii_: bool
) -> None:
    def space() -> str:
        return data.draw(spaces)

    inside = ",".join(
        space() + json.dumps(element, ensure_ascii=ascii_, indent=data.draw(st.sampled_from([None, 1]))) + space()
        for element in elements
    )
    body = (space() + "[" + (inside or space()) + "]" + space()).encode()

    assert [json.loads(raw) for raw in split_array(body)] == json.loads(body) == elements


@pytest.mark.parametrize("body", [b"[]", b" [ \n] ", b"\t[\r\n]"])
def test_an_empty_array_has_no_elements(body: bytes) -> None:
    assert list(split_array(body)) == []


def test_elements_are_given_byte_for_byte() -> None:
    parts = [b'{"a": 1.50, "a": "\\ud83d\\ude00\xc3\xa9"}', b"1E5", b"-0", b'"]"', b"NaN", b"9" * 100_000, b'"\\ud800"']

    assert list(split_array(b"[" + b" ,\n".join(parts) + b"]")) == parts


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{}",
        b'"["',
        b"null",
        b"[",
        b"[1",
        b"[1,",
        b"[1,]",
        b"[,1]",
        b"[1,,2]",
        b"[1 2]",
        b"[1}",
        b"[1]]",
        b"[1] x",
        b"[][]",
        b"[]\0",
        b'["a]',
        b'["\n"]',
        b"[tru]",
        b"[1.]",
        b"[0x10]",
        b"\xef\xbb\xbf[]",
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        b"[\xc2\xa01]",
        b"[\x0b1]",
        b"[" * 100_000,
        b'[{"a":' * 50_000,
    ],
)
def test_what_is_no_array_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidError) as caught:
        list(split_array(body))
    assert caught.value.flaws[0].pointer == ""


@given(st.binary(max_size=30) | st.text('[]{},:"\\ 1e-.tn', max_size=20).map(lambda text: f"[{text}]".encode()))
@example(b"[-]")
@example(b'["\\u12"]')
def test_no_body_is_taken_that_is_not_json(body: bytes) -> None:
    try:
        elements = list(split_array(body))
    except InvalidError:
        with suppress(InvalidError):
            assert not isinstance(parse_json(body), list)
    else:
        whole = json.loads(body)
        assert len(whole) == len(elements)
        assert repr([json.loads(element) for element in elements]) == repr(whole)


def _judged(elements: Iterator[object]) -> list[str] | None:
    """What becomes of each element, parsed here or there; None where the body is refused."""
    judged: list[str] = []
    try:
        for element in elements:
            try:
                judged.append(repr(parse_json(element) if isinstance(element, bytes) else element))
            except InvalidError:
                judged.append("flawed")
    except InvalidError:
        return None
    return judged


events = st.dictionaries(st.sampled_from(["a", "b"]) | texts, values, max_size=3) | st.fixed_dictionaries(
    {"a": st.sampled_from(["},{", "}] , {", '"},{"']), "b": st.lists(st.dictionaries(texts, values, max_size=1))}
)


@given(st.lists(events, max_size=8), st.integers(0, 60), st.sampled_from([None, (",", ":"), (" ,\n", ": ")]))
def test_an_array_is_read_in_stretches_as_it_is_element_by_element(
    elements: list[object], stretch: int, separators: tuple[str, str] | None
) -> None:
    body = json.dumps(elements, separators=separators).encode()

    assert _judged(read_array(body, 1_000_000, stretch)) == _judged(split_array(body))


@given(
    st.lists(
        st.sampled_from(['{"a":1}', '{"a":"},{"}', '{"a":[{},{}]}', "{}", ",", "]", "}", "{", '"', " ", "[", "1"])
    ),
    st.integers(0, 30),
)
def test_a_flawed_array_is_judged_as_it_is_element_by_element(parts: list[str], stretch: int) -> None:
    body = f"[{','.join(parts)}]".encode()

    assert _judged(read_array(body, 1_000_000, stretch)) == _judged(split_array(body))


def test_elements_that_may_be_too_large_are_left_to_be_judged_one_by_one() -> None:
    small, large = b'{"a":1}', b'{"a":"' + b"x" * 100 + b'"}'

    assert list(read_array(b"[" + b",".join([small, small, large, small]) + b"]", 50, 0)) == [
        {"a": 1},
        {"a": 1},
        large,
        small,
    ]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", ": ")])
def test_objects_within_an_element_do_not_end_a_stretch(separators: tuple[str, str]) -> None:
    nested = [{"id": n, "changes": [{"b": 1}, {"b": 2}, {"c": "},{"}]} for n in range(9)]

    assert list(read_array(json.dumps(nested, separators=separators).encode(), 1_000, 0)) == nested


def test_a_wrong_guess_is_made_good() -> None:
    misleading = [{"b": 0, "changes": [{"a": 1}, {"b": 2}]}] * 3

    elements = list(read_array(json.dumps(misleading).encode(), 1_000, 0))

    assert [json.loads(raw) for raw in elements if isinstance(raw, bytes)] == misleading


def test_what_a_flaw_leaves_begins_where_it_was_reached() -> None:
    last = b'{"a":4}'
    body = b"[" + '{"a":"é"},'.encode() * 5 + b'{"a":1,"a":2},{"a":3} ' + last + b"]"
    elements = read_array(body, 1_000, 0)

    assert [next(elements) for _ in range(7)] == [{"a": "é"}] * 5 + [b'{"a":1,"a":2}', b'{"a":3}']
    with pytest.raises(InvalidError, match=f"at character {body.decode().index(last.decode())}"):
        next(elements)


@pytest.mark.parametrize("part", [b"}", b"} ", b"},", b"}, {", b"},{", b'"},{"a":', b"{"])
@pytest.mark.parametrize("start", [b"[", b'["', b'[{"a":"'])
@pytest.mark.parametrize("end", [b"", b"]", b'"]', b'"}]'])
def test_what_only_looks_like_boundaries_is_none(start: bytes, part: bytes, end: bytes) -> None:
    body = start + part * 2_000 + end

    assert _judged(read_array(body, 5_000, 100)) == _judged(split_array(body))
