"""The follower that keeps the search index: events become documents, in order."""

import asyncio
from collections.abc import Sequence
from typing import Final

import orjson
import structlog

from tallystick.followers.model import LoggedEvent, RestartLogError, Stretch
from tallystick.ports import CorruptIndexError, IndexBehindError, SearchIndex
from tallystick.query.analysis import analyse
from tallystick.query.terms import Document

NAME: Final = "search"
"""Its name in cursors and commands."""

_SLICE: Final = 100

_log = structlog.get_logger("tallystick.search")


class IndexFollower:
    """Appends what is new in a log to its index.

    Args:
        index: Where to.
    """

    def __init__(self, index: SearchIndex) -> None:
        self._index = index

    @property
    def name(self) -> str:
        """See `Follower`."""
        return NAME

    async def handle(self, log_id: int, stretch: Stretch) -> None:
        """See `Follower`. A damaged index is set aside and made anew; one that lost its end is filled up from there."""
        try:
            documents = await documents_of(stretch.events)
            await self._index.append(log_id, documents, through=stretch.through, after=stretch.after)
        except IndexBehindError as behind:
            raise RestartLogError(behind.through) from None
        except CorruptIndexError:
            _log.exception("index_set_aside", log_id=log_id)
            await self._index.drop(log_id)
            raise RestartLogError(-1) from None


async def documents_of(events: Sequence[LoggedEvent]) -> list[Document]:
    """Make the documents of events, in slices between which others get their turn."""
    documents: list[Document] = []
    for start in range(0, len(events), _SLICE):
        documents += [
            analyse(event.seq, event.received_us, event.occurred_us, orjson.loads(event.body))
            for event in events[start : start + _SLICE]
        ]
        await asyncio.sleep(0)
    return documents
