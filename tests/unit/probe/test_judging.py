import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.probe.judging import fault_of_content, fault_of_refusal, fault_of_stranger, holds, is_nothing
from tallystick.probe.model import Answer, ask

WORD = "canaryabcdefghijklmnopqrst"


def answer(status: int, body: bytes = b"", head: bytes = b"") -> Answer:
    return Answer(status, head + body, body)


def problem(status: int, detail: str, request_id: str = "r1") -> Answer:
    told = {"type": "/problems/x", "detail": detail, "instance": f"urn:tallystick:request:{request_id}"}
    return answer(status, json.dumps(told).encode())


@given(before=st.binary(max_size=40), after=st.binary(max_size=40), safe=st.booleans())
def test_a_marker_is_seen_wherever_it_lies_in_base64(before: bytes, after: bytes, safe: bool) -> None:
    encode = base64.urlsafe_b64encode if safe else base64.b64encode
    assert holds(encode(before + WORD.encode() + after), WORD)
    assert not holds(encode(before + WORD[:-1].encode() + b"!" + after), WORD)


@pytest.mark.parametrize("form", [WORD, WORD.upper(), WORD.encode().hex(), f'{{"a":"{WORD}"}}'])
def test_a_marker_is_seen_in_other_clothes(form: str) -> None:
    assert holds(f"x{form}y".encode(), WORD)


def test_a_marker_in_a_header_counts_and_an_echo_does_not() -> None:
    asked = ask("GET", "/api/v1/logs", q="other")
    told = answer(403, head=f"x-debug: {WORD}\n".encode())
    assert WORD in str(fault_of_refusal(told, asked, {WORD}))
    assert fault_of_refusal(told, ask("GET", "/api/v1/logs", q=WORD), {WORD}) is None
    assert fault_of_refusal(told, ask("POST", "/api/v1/logs", {"message": WORD}), {WORD}) is None
    assert fault_of_refusal(told, ask("GET", f"/api/v1/logs/{WORD}"), {WORD}) is None


@pytest.mark.parametrize("status", [200, 202, 204, 409, 422, 500])
def test_what_is_not_refused_is_a_leak(status: int) -> None:
    asked = ask("GET", "/api/v1/logs")
    assert str(status) in str(fault_of_refusal(answer(status), asked, {WORD}))
    for refused in (401, 403, 404):
        assert fault_of_refusal(answer(refused), asked, {WORD}) is None


def test_what_is_anothers_must_look_like_what_never_was() -> None:
    theirs, never = "a" * 30, "b" * 30
    asked, other = ask("GET", f"/x/{theirs}"), ask("GET", f"/x/{never}")

    def fault(foreign: Answer, absent: Answer) -> str | None:
        return fault_of_stranger(foreign, absent, asked, other, {WORD})

    missing = problem(404, f"there is no {never}", "r2")
    assert fault(problem(404, f"there is no {theirs}"), missing) is None
    assert fault(problem(404, "not yours"), missing) is not None
    assert fault(problem(403, f"there is no {theirs}"), missing) is not None
    assert fault(problem(404, WORD), problem(404, WORD)) is not None
    nothing = answer(200, b'{"items": [], "next": null}')
    assert fault(nothing, nothing) is None
    assert fault(answer(200, b'{"items": [{}]}'), nothing) is not None


@pytest.mark.parametrize(
    ("body", "nothing"),
    [
        (b"", True),
        (b"\n", True),
        (b'{"items": []}', True),
        (b'{"total": 0, "action": []}', True),
        (b'{"total": 1}', False),
        (b'{"items": [1]}', False),
        (b'{"items": [1], "total": 0}', False),
        (b"{}", False),
        (b"[]", False),
        (b'{"id":"1"}\n{"id":"2"}\n', False),
    ],
)
def test_what_is_nothing(body: bytes, nothing: bool) -> None:
    assert is_nothing(answer(200, body)) is nothing


def test_contents_are_looked_at_whatever_the_status() -> None:
    asked = ask("GET", "/x")
    assert fault_of_content(answer(200, b"x"), asked, {WORD}) is None
    assert WORD in str(fault_of_content(answer(500, WORD.encode()), asked, {WORD}))
