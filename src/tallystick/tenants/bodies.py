"""Small JSON bodies: read within a limit, parsed strictly, and fitted to a schema."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from tallystick.errors import BadRequestError, Flaw, InvalidError, TooLargeError, UnsupportedMediaError
from tallystick.log.model import parse_json
from tallystick.log.tree import escape_pointer

MAX_BYTES = 64 * 1024
"""Largest body of a request that changes one thing."""

JSON_TYPE = "application/json"

Fitted = TypeVar("Fitted")


async def read_json(request: Request, media_types: Collection[str] = (JSON_TYPE,)) -> object:
    """Read a request's JSON body.

    Raises:
        UnsupportedMediaError: Another content type, or a content coding.
        TooLargeError: It is over `MAX_BYTES`.
        BadRequestError: It is empty.
        InvalidError: It is not JSON, or holds a key twice.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in media_types:
        raise UnsupportedMediaError(f"send the body with Content-Type: {' or '.join(media_types)}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaError("send this body without Content-Encoding")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLargeError(f"this body may have up to {MAX_BYTES} bytes")
    if not body.strip():
        raise BadRequestError("the body is empty: send a JSON object")
    return parse_json(bytes(body))


def fit(schema: TypeAdapter[Fitted], value: object, at: str = "") -> Fitted:
    """Make a parsed value into what a schema describes.

    Args:
        schema: Closed to unknown members.
        value: As parsed.
        at: JSON Pointer of the value within the body.

    Raises:
        InvalidError: With every flaw at its pointer; the value itself is not repeated.
    """
    try:
        return schema.validate_python(value, strict=True)
    except ValidationError as error:
        flaws = [_flaw(detail, at) for detail in error.errors(include_url=False, include_input=False)]
        raise InvalidError("the body is not valid; each entry of `errors` names a place to mend", flaws=flaws) from None


def _flaw(detail: Mapping[str, Any], at: str) -> Flaw:
    steps = cast("tuple[str | int, ...]", detail["loc"])
    pointer = at + "".join(f"/{escape_pointer(step)}" for step in steps)
    return Flaw(str(detail["msg"]).removeprefix("Value error, "), pointer)
