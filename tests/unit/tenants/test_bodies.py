import gzip
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter
from starlette.requests import Request
from starlette.types import Message

from tallystick.errors import (
    InvalidError,
    TallystickError,
    TooLargeError,
    UnsupportedMediaError,
)
from tallystick.tenants.bodies import MAX_BYTES, fit, read_json


def request(*chunks: bytes, **headers: str) -> Request:
    """A request whose body arrives in chunks."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


async def test_a_body_may_come_in_pieces() -> None:
    sent = request(b'{"a"', b": 1}", content_type="application/json; charset=utf-8")
    assert await read_json(sent, 20) == {"a": 1}


async def test_a_body_may_be_compressed_and_is_json_where_nothing_is_said() -> None:
    assert await read_json(request(gzip.compress(b'{"a": 1}'), content_encoding="gzip"), 20) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", InvalidError),
        (b"  \n", InvalidError),
        (b"{", InvalidError),
        (b'{"a": 1, "a": 2}', InvalidError),
        (b'{"a": NaN}', InvalidError),
        (b'"\\ud800"', InvalidError),
        (b'"\xff"', InvalidError),
        (b"[" * 100_00 + b"]" * 100_00, InvalidError),
        (b" " * (MAX_BYTES + 1), TooLargeError),
    ],
)
async def test_what_is_no_small_json_is_refused(body: bytes, error: type[TallystickError]) -> None:
    with pytest.raises(error):
        await read_json(request(body, content_type="application/json"), 20)


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/jsonx"},
        {"content_type": "application/json; charset=latin1"},
        {"content_type": "application/merge-patch+json"},
        {"content_type": "application/x-ndjson"},
        {"content_type": "application/json", "content_encoding": "br"},
    ],
)
async def test_another_type_or_coding_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaError):
        await read_json(request(b"{}", **headers), 20)


class Order(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    place: Annotated[str, StringConstraints(pattern="^/[a-z]+$")]


def test_each_flaw_says_what_to_mend_at_its_place() -> None:
    with pytest.raises(InvalidError) as caught:
        fit(TypeAdapter(Order), {"place": "nowhere", "more": 1}, "/order")
    assert {(flaw.pointer, flaw.detail) for flaw in caught.value.flaws} == {
        ("/order/reason", "is required"),
        ("/order/place", "must be of the form ^/[a-z]+$"),
        ("/order/more", "is no member of this body: leave it out"),
    }
