"""Small JSON bodies: read within a limit, parsed strictly, and fitted to a schema."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from tallystick.errors import Flaw, InvalidError
from tallystick.log.intake import Form, form_of, read_body
from tallystick.log.model import parse_json
from tallystick.log.tree import escape_pointer

MAX_BYTES = 64 * 1024
"""Largest body of a request that changes one thing."""

_WORDINGS: Final = {
    "missing": "is required",
    "extra_forbidden": "is no member of this body: leave it out",
    "string_pattern_mismatch": "must be of the form {pattern}",
}
"""What pydantic's error types are called here."""

Fitted = TypeVar("Fitted")


async def read_json(request: Request, seconds: float, *, allowed: tuple[Form, ...] = ("json",)) -> object:
    """Read a request's JSON body.

    Args:
        request: Whose body.
        seconds: Time within which it must arrive.
        allowed: What its content type may say.

    Raises:
        UnsupportedMediaError: Another content type, charset or content coding.
        TooLargeError: It is over `MAX_BYTES`.
        RequestTimeoutError: It did not arrive in time.
        BadRequestError: Its compressed data is damaged.
        InvalidError: It is not JSON, or holds a key twice.
    """
    form_of(request, allowed=allowed)
    return parse_json(await read_body(request, MAX_BYTES, seconds))


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
    wording = _WORDINGS.get(detail["type"])
    said = (
        str(detail["msg"]).removeprefix("Value error, ") if wording is None else wording.format(**detail.get("ctx", {}))
    )
    return Flaw(said, pointer)
