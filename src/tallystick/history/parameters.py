"""What is asked of the history of a resource and of what is correlated: a listing, one filter of which is the path."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import unquote

from starlette.requests import Request

from tallystick.errors import Flaw, NotFoundError
from tallystick.log.query_string import Values, choice, one, refuse
from tallystick.log.reader import Order
from tallystick.search.model import SearchQuery
from tallystick.search.parameters import LISTING, ORDERS, search_query

BY: Final[Mapping[str, str]] = {"request_id": "request_id", "session_id": "session_id"}
"""Fields by which events belong together."""

BY_TIME: Final[Mapping[str, Order]] = {name: order for name, order in ORDERS.items() if order != "seq"}
"""The orders of a listing by time."""

RESOURCE: Final = ("resource_type", "resource_id")


def known_without(*names: str) -> Sequence[str]:
    """The parameters of a listing by time, without the filters that the path stands for."""
    return tuple(name for name in LISTING if name not in (*names, "after_seq"))


def query_by_time(values: Values, filters: Mapping[str, str]) -> SearchQuery:
    """Read what is asked, the oldest first unless it says otherwise.

    Args:
        values: Query parameters.
        filters: Field and value, of the path.

    Raises:
        InvalidError: With a flaw for each parameter that is not valid.
    """
    flaws: list[Flaw] = []
    order = one(values, "order", partial(choice, BY_TIME), "oldest", flaws)
    refuse(flaws)
    return search_query({**values, "order": [order], **{name: [value] for name, value in filters.items()}})


def resource_of(request: Request) -> dict[str, str]:
    """The type and id in a path of the form ``…/resources/{type}/{id}/history``.

    They are read as they were sent, since either may have a slash, which is then written ``%2F``; in an id it may also
    stand as it is.

    Raises:
        NotFoundError: The path has a slash that is written ``%2F`` elsewhere.
    """
    matched = f"{request.path_params['resource_type']}/{request.path_params['resource_id']}/history"
    path: str = request.scope["path"]
    before = path.removesuffix(matched).count("/")
    raw: bytes = request.scope["raw_path"]
    parts = [unquote(part) for part in raw.decode("ascii").split("/")]
    kind, rest = parts[before], "/".join(parts[before + 1 : -1])
    if f"{kind}/{rest}/{parts[-1]}" != matched:
        raise NotFoundError("there is nothing at this path; the paths are listed in /openapi.json")
    return dict(zip(RESOURCE, (kind, rest), strict=True))
