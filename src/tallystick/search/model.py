"""What is asked of a search, and what it answers."""

from dataclasses import dataclass
from typing import TypeAlias

from tallystick.log.queries import PlacedEvent
from tallystick.log.reader import ListQuery, Page
from tallystick.ports import Hit
from tallystick.query.ast import Everything, Node
from tallystick.query.highlighting import Highlight

Highlights: TypeAlias = tuple[tuple[Highlight, ...], ...]


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What a listing asks for, words included.

    Attributes:
        listing: Filters, time range, order and place.
        text: What `q` asks for beside them.
        highlight: Whether to tell where the words of `text` stand.
    """

    listing: ListQuery
    text: Node = Everything()  # noqa: RUF009  # frozen, and without state
    highlight: bool = False


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of a search.

    Attributes:
        page: The events, and what leads on.
        indexed_through: Every event up to this seq was in the snapshot of the index that answered; -1 for none. None
            where the log itself answered.
        complete: Whether all events of the log were looked at. False while more events wait to be indexed than a search
            looks at itself: some after `indexed_through` may be missing. None where the log itself answered.
        highlights: For each item where the words stand, if that was asked for.
    """

    page: Page
    indexed_through: int | None = None
    complete: bool | None = None
    highlights: Highlights | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, before it is written down.

    Attributes:
        events: In the order asked for.
        looked_at: Where they lie, and where events lay that were removed meanwhile.
        more: Whether anything follows.
        indexed_through: As of a page.
        complete: As of a page.
    """

    events: tuple[PlacedEvent, ...]
    looked_at: tuple[Hit, ...]
    more: bool
    indexed_through: int
    complete: bool
