"""What is asked of a stream, read from its query string."""

from typing import Final

from tallystick.errors import Flaw, InvalidError
from tallystick.log.query_string import Values, one, refuse
from tallystick.query.ast import conjunction
from tallystick.search.parameters import LISTING, SEVERAL, search_query, seq_or_none_yet
from tallystick.stream.model import StreamQuery

_OF_PAGES: Final = ("order", "limit", "cursor", "highlight")

STREAMING: Final = tuple(name for name in LISTING if name not in _OF_PAGES)
"""Every parameter of a stream."""

ALTERNATIVES: Final = SEVERAL
"""Those that may be repeated."""


def stream_query(values: Values) -> StreamQuery:
    """Read what is asked of a stream.

    Raises:
        InvalidError: With a flaw for each parameter that is not valid.
    """
    flaws: list[Flaw] = []
    after_seq = one(values, "after_seq", seq_or_none_yet, None, flaws)
    try:
        asked = search_query({name: value for name, value in values.items() if name != "after_seq"})
    except InvalidError as error:
        refuse([*flaws, *error.flaws])
        raise
    refuse(flaws)
    listing = asked.listing
    return StreamQuery(conjunction(listing.filters, listing.occurred), asked.text, after_seq)
