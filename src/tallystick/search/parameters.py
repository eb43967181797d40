"""What is asked of a listing: read from a query string, or from a JSON body of the same names."""

import re
from collections.abc import Container, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, cast

from tallystick.errors import Flaw, InvalidError
from tallystick.log.identity import MAX_SEQ
from tallystick.log.query_string import Values, choice, first, group, one, page_size, refuse
from tallystick.log.reader import DEFAULT_LIMIT, ListQuery, Order
from tallystick.log.tree import escape_pointer
from tallystick.query.ast import Everything, Node
from tallystick.query.filters import PARAMETERS, FilterParams, to_filter
from tallystick.query.parser import parse
from tallystick.query.timestamps import parse_timestamp
from tallystick.search.model import SearchQuery

SEVERAL: Final = tuple(name for name in PARAMETERS if name != "min_severity")
"""Parameters of a listing that may be repeated: their values are alternatives."""

LISTING: Final = ("tenant_id", "q", "from", "to", "order", "after_seq", "limit", "cursor", "highlight", *PARAMETERS)
"""Every parameter of a listing."""

ORDERS: Final[Mapping[str, Order]] = {"newest": "newest", "oldest": "oldest", "seq": "seq"}

_TRUTHS: Final = {"true": True, "false": False}


def search_query(values: Values) -> SearchQuery:
    """Read a listing's query out of its parameters.

    Raises:
        InvalidError: With a flaw for each parameter that is not valid.
    """
    flaws: list[Flaw] = []
    order: Order = one(values, "order", partial(choice, ORDERS), "newest", flaws)
    from_us = one(values, "from", _moment, None, flaws)
    to_us = one(values, "to", _moment, None, flaws)
    limit = one(values, "limit", page_size, DEFAULT_LIMIT, flaws)
    after_seq = one(values, "after_seq", seq_or_none_yet, -1, flaws)
    wants_highlights = one(values, "highlight", _truth, None, flaws) or False
    if from_us is not None and to_us is not None and to_us < from_us:
        flaws.append(Flaw("lies before `from`", parameter="to"))
    if "after_seq" in values and order != "seq":
        flaws.append(Flaw("needs order=seq", parameter="after_seq"))
    if wants_highlights and "q" not in values:
        flaws.append(Flaw("needs `q`, whose words it tells the places of", parameter="highlight"))
    filters: Node = Everything()
    text: Node = Everything()
    try:
        filters = to_filter(FilterParams.from_values(values))
    except InvalidError as error:
        flaws += error.flaws
    try:
        if "q" in values:
            text = parse(values["q"][0])
    except InvalidError as error:
        flaws += error.flaws
    refuse(flaws)
    listing = ListQuery(filters, order, from_us, to_us, limit, after_seq, first(values, "cursor"))
    return SearchQuery(listing, text, wants_highlights)


def _moment(text: str) -> int:
    if re.fullmatch(r"\S+ \d\d:\d\d", text):
        raise ValueError("has a space before the offset: in a query string, write + as %2B")
    return parse_timestamp(text)


def seq_or_none_yet(text: str) -> int:
    """Read a seq, or -1, which stands before the first.

    Raises:
        ValueError: It is neither.
    """
    if not re.fullmatch(r"-1|[0-9]{1,13}", text) or int(text) > MAX_SEQ:
        raise ValueError(f"must be a whole number from -1 to {MAX_SEQ}")
    return int(text)


def _truth(text: str) -> bool:
    if text not in _TRUTHS:
        raise ValueError("must be true or false")
    return _TRUTHS[text]


def body_values(body: object, known: Sequence[str] = LISTING, several: Container[str] = SEVERAL) -> Values:
    """Read a JSON body whose members are parameters; one that may be repeated may be an array.

    Args:
        body: As parsed.
        known: Every member that there may be; those of a listing when not given.
        several: Those of them that may be repeated.

    Raises:
        InvalidError: With a flaw for each member that is not known, or of another type.
    """
    if not isinstance(body, dict):
        raise InvalidError("the body must be a JSON object", flaws=[Flaw("must be an object of parameters", "")])
    flaws: list[Flaw] = []
    items: list[tuple[str, str]] = []
    for name, value in cast("dict[str, object]", body).items():
        try:
            items += [(name, text) for text in _texts(value, whole=name in _NUMBERS, truth=name == "highlight")]
        except ValueError as error:
            flaws.append(Flaw(str(error), parameter=name))
    refuse(flaws)
    return group(items, known, several)


@contextmanager
def flaws_in_body() -> Generator[None]:
    """Tell of parameters as members of the body."""
    try:
        yield
    except InvalidError as error:
        flaws = [
            flaw if flaw.parameter is None else Flaw(flaw.detail, f"/{escape_pointer(flaw.parameter)}")
            for flaw in error.flaws
        ]
        raise InvalidError("the body is not valid; each entry of `errors` names a place to mend", flaws=flaws) from None


_NUMBERS: Final = ("limit", "after_seq", "through_seq")


def _texts(value: object, *, whole: bool, truth: bool) -> list[str]:
    """A member's value as it would be written in a query string."""
    if truth:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return ["true" if value else "false"]
    if whole:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        return [str(value)]
    several = cast("list[object]", value) if isinstance(value, list) else [value]
    if not several or not all(isinstance(each, str) for each in several):
        raise ValueError("must be a string, or for a filter an array of at least one")
    return cast("list[str]", several)
