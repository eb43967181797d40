import pytest
from starlette.requests import Request
from starlette.types import Message

from tallystick.errors import (
    BadRequestError,
    InvalidError,
    TallystickError,
    TooLargeError,
    UnsupportedMediaError,
)
from tallystick.tenants.bodies import MAX_BYTES, read_json


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
    assert await read_json(request(b'{"a"', b": 1}", content_type="application/json; charset=utf-8")) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", BadRequestError),
        (b"  \n", BadRequestError),
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
        await read_json(request(body, content_type="application/json"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_type": "text/plain"},
        {"content_type": "application/jsonx"},
        {"content_type": "application/json", "content_encoding": "gzip"},
    ],
)
async def test_another_type_or_coding_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaError):
        await read_json(request(b"{}", **headers))
