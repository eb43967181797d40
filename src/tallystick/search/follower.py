"""The follower that keeps the search index: events become documents, in order."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

import orjson
import structlog

from tallystick.database.pools import Database
from tallystick.errors import SearchDownError
from tallystick.followers import queries
from tallystick.followers.model import LoggedEvent, RestartLogError, Stretch
from tallystick.ports import CorruptIndexError, IndexBehindError, SearchIndex, SearchRequest
from tallystick.query.analysis import analyse
from tallystick.query.terms import AllOf, Document, Occurred, TermQuery

NAME: Final = "search"
"""Its name in cursors and commands."""

_SLICE: Final = 100

_log = structlog.get_logger("tallystick.search")


class Turns:
    """Lets large stretches be indexed one after the other, where the engine works in this process.

    As documents, and in Tantivy until they are committed, events take some twenty times their bytes; and several
    stretches at once are no quicker in one process. Where the engine is elsewhere, nobody waits for anybody.

    Args:
        large: Bytes of bodies of which a stretch waits for its turn; None where none does.
    """

    def __init__(self, large: int | None = 4 * 1024 * 1024) -> None:
        self._large = large
        self._turn = asyncio.Lock()

    def of(self, stretch: Stretch) -> AbstractAsyncContextManager[None]:
        """What to index a stretch within."""
        if self._large is None or sum(len(event.body) for event in stretch.events) < self._large:
            return nullcontext()
        return self._turn


class IndexFollower:
    """Appends what is new in a log to its index.

    Args:
        index: Where to.
        database: Tells which events are in quarantine.
        turns: For large stretches.
    """

    def __init__(self, index: SearchIndex, database: Database, turns: Turns) -> None:
        self._index = index
        self._database = database
        self._turns = turns

    @property
    def name(self) -> str:
        """See `Follower`."""
        return NAME

    async def handle(self, log_id: int, stretch: Stretch) -> None:
        """See `Follower`. A damaged index is dropped and made anew; one that lost its end is filled up from there.

        An index that holds other events at the same places is of another past of this log, before its database was
        restored. It counts as damaged.
        """
        try:
            async with self._turns.of(stretch):
                await self._append(log_id, stretch)
        except IndexBehindError as behind:
            raise RestartLogError(behind.through) from None
        except CorruptIndexError:
            _log.exception("index_dropped", log_id=log_id)
            await self._index.drop(log_id)
            raise RestartLogError(-1) from None

    async def _append(self, log_id: int, stretch: Stretch) -> None:
        documents = await documents_of(stretch.events)
        before = await self._index.append(log_id, documents, through=stretch.through, after=stretch.after)
        if before <= stretch.after:
            return
        known = [document for document in documents if document.seq <= before]
        # The newest of them tells: what came before another past began is the same in both.
        if known and not await holds(self._index, log_id, known[-1]):
            async with self._database.worker_session() as connection:
                missing = await queries.find_quarantined(connection, NAME, log_id)
            newest = next((document for document in reversed(known) if document.seq not in missing), None)
            if newest is not None and not await holds(self._index, log_id, newest):
                raise CorruptIndexError(f"the search index of log {log_id} holds other events than the log")


async def holds(index: SearchIndex, log_id: int, document: Document, terms: Sequence[TermQuery] = ()) -> bool:
    """Whether an index that is complete through a document's seq holds it at its place, found by these terms.

    Raises:
        SearchDownError: A copy answered that is not so far yet.
    """
    occurred_us, seq = document.occurred_us, document.seq
    query = AllOf((Occurred(occurred_us, occurred_us + 1), *terms))
    after = (occurred_us, seq - 1) if seq else None
    found = await index.search(log_id, SearchRequest(query, "oldest", 1, after))
    if found.through < seq:
        raise SearchDownError("a copy of the search index is behind", retry_after=1)
    return [(hit.seq, hit.received_us) for hit in found.hits] == [(seq, document.received_us)]


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
