"""Query parameters: known by name or refused, given once unless alternatives make sense, each fault at its name."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TypeVar

from starlette.requests import HTTPConnection

from tallystick.errors import Flaw, InvalidError
from tallystick.log.reader import MAX_LIMIT

Values = Mapping[str, list[str]]
"""Query parameters by name, each with its values in order."""

_Parsed = TypeVar("_Parsed")
_Default = TypeVar("_Default")


def query_of(request: HTTPConnection, known: Sequence[str] = (), several: Container[str] = ()) -> Values:
    """Gather a request's query parameters by name, as `group` does."""
    if not request.scope["query_string"]:
        return {}
    return group(request.query_params.multi_items(), known, several)


def group(items: Iterable[tuple[str, str]], known: Sequence[str], several: Container[str] = ()) -> Values:
    """Gather query parameters by name. One that is passed over might be a tenant, or whatever its sender relies on.

    Args:
        items: Names and values, as sent.
        known: Every name that may be given.
        several: Those of them that may be repeated.

    Raises:
        InvalidError: One is not known, or one that stands alone is repeated.
    """
    values: dict[str, list[str]] = {}
    for name, value in items:
        values.setdefault(name, []).append(value)
    takes = f"takes {', '.join(known)}" if known else "takes none"
    flaws = [
        Flaw(f"is not a parameter of this request, which {takes}", parameter=name[:100])
        for name in values
        if name not in known
    ]
    flaws += [
        Flaw("may be given once", parameter=name)
        for name in known
        if name not in several and len(values.get(name, ())) > 1
    ]
    refuse(flaws)
    return values


def refuse(flaws: Sequence[Flaw]) -> None:
    """Refuse a query string that has flaws.

    Raises:
        InvalidError: With all of them.
    """
    if flaws:
        raise InvalidError("the query string is not valid; each entry of `errors` names a parameter", flaws=flaws)


def first(values: Values, name: str) -> str | None:
    """The value of a parameter, or None where it was not sent."""
    return values[name][0] if name in values else None


def one(
    values: Values, name: str, parse: Callable[[str], _Parsed], default: _Default, flaws: list[Flaw]
) -> _Parsed | _Default:
    """The parsed value of a parameter, or the default; what `parse` says in a ValueError becomes a flaw."""
    value = first(values, name)
    if value is None:
        return default
    try:
        return parse(value)
    except ValueError as error:
        flaws.append(Flaw(str(error), parameter=name))
        return default


def choice(choices: Mapping[str, _Parsed], text: str) -> _Parsed:
    """Read one of several words.

    Raises:
        ValueError: It is none of them.
    """
    if text not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return choices[text]


def page_size(text: str) -> int:
    """Read a `limit`.

    Raises:
        ValueError: Not a number from 1 to `MAX_LIMIT`.
    """
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def refuse_nul(values: Mapping[str, list[str]]) -> None:
    """Refuse what a question that is stored cannot hold.

    Raises:
        InvalidError: A value has a NUL character.
    """
    refuse(
        [
            Flaw("holds a NUL character (U+0000), which cannot be stored", parameter=name)
            for name, given in values.items()
            if any("\0" in value for value in given)
        ]
    )
