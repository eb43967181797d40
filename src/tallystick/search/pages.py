"""A page of events as it is answered."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tallystick.search.model import SearchPage

JSON: Final = "application/json"

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def page_bytes(found: SearchPage, beside: Mapping[str, object] = _NOTHING) -> bytes:
    """The stored bodies joined, and what goes beside them.

    Args:
        found: The page.
        beside: Further members.
    """
    page = found.page
    optional = {
        "after_seq": page.after_seq,
        "removed": page.removed,
        "indexed_through": found.indexed_through,
        "complete": found.complete,
        "highlights": found.highlights,
    }
    present = {name: value for name, value in optional.items() if value is not None}
    members = {"next": page.next, "prev": page.prev, **present, **beside}
    return b'{"items":[' + b",".join(page.items) + b"]," + orjson.dumps(members)[1:]


def page_response(request: Request, found: SearchPage, beside: Mapping[str, object] = _NOTHING) -> Response:
    """A page that was asked for by a URL, with links to those after and before (RFC 8288).

    Args:
        request: Its path and query, with another cursor, are the links.
        found: The page.
        beside: Further members.
    """
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    links = [
        f'<{_path(request)}?{urlencode([*kept, ("cursor", cursor)])}>; rel="{relation}"'
        for relation, cursor in (("next", found.page.next), ("prev", found.page.prev))
        if cursor is not None
    ]
    headers = {"Link": ", ".join(links)} if links else {}
    return Response(page_bytes(found, beside), headers=headers, media_type=JSON)


def told_of(items: Sequence[bytes]) -> dict[str, object]:
    """What the access log says of a page: how many events it shows, and the seq of the last of them."""
    if not items:
        return {"count": 0}
    last = items[-1]
    return {"count": len(items), "last_seq": int(last[len(b'{"seq":') : last.index(b",")])}


def _path(request: Request) -> str:
    """The path as it was sent: what is escaped in it stays so, as a header must be ASCII."""
    return request.scope["raw_path"].decode("ascii")
