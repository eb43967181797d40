"""The search index of a log: what it is asked, what it answers, and what an engine promises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple, Protocol, TypeAlias

from tallystick.errors import Flaw, InvalidError
from tallystick.query.facets import Facet
from tallystick.query.ranking import Ranking
from tallystick.query.terms import Document, TermQuery


class CorruptIndexError(Exception):
    """The files of an index are damaged. It is to be dropped and made anew from the log."""


class IndexBehindError(Exception):
    """An index does not hold what its caller believes.

    Attributes:
        through: What it is complete through.
    """

    def __init__(self, through: int) -> None:
        super().__init__(f"complete through {through}")
        self.through = through


SearchOrder: TypeAlias = Literal["newest", "oldest"]


class Hit(NamedTuple):
    """Where a matching event lies. An index gives no content: bodies are read through the log's view.

    Attributes:
        seq: Position in the log.
        received_us: Arrival in Unix microseconds.
        occurred_us: Occurrence in Unix microseconds.
    """

    seq: int
    received_us: int
    occurred_us: int


_place = attrgetter("occurred_us", "seq")


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A page asked of an index.

    Attributes:
        query: What documents must match; a range of occurrence is part of it.
        order: By ``(occurred_us, seq)``, descending for newest, ascending for oldest.
        limit: Most hits.
        after: Only what follows this ``(occurred_us, seq)`` in `order`, exclusive; None starts at the first.
    """

    query: TermQuery
    order: SearchOrder
    limit: int
    after: tuple[int, int] | None = None

    def reaches(self, occurred_us: int, seq: int) -> bool:
        """Whether a place lies on the page or behind it, and not before it."""
        if self.after is None:
            return True
        place = (occurred_us, seq)
        return place < self.after if self.order == "newest" else place > self.after

    def sort(self, hits: list[Hit]) -> None:
        """Put hits into the order asked for."""
        hits.sort(key=_place, reverse=self.order == "newest")


def endless_phrase() -> InvalidError:
    """What to raise where the last word of a phrase is only begun, and too many words begin so."""
    detail = "write more of the word before the *: too many words of a phrase begin so"
    return InvalidError("`q` is not valid", flaws=[Flaw(detail, parameter="q")])


@dataclass(frozen=True, slots=True)
class Hits:
    """A page of an index.

    Attributes:
        hits: In the order asked for; fewer than the limit only at the end.
        through: Every event of the log up to this seq was in the snapshot that answered; -1 for none.
    """

    hits: tuple[Hit, ...]
    through: int


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far an index is.

    Attributes:
        through: Every event of the log up to this seq is in it, durably; -1 for none.
        documents: How many it holds.
        bytes: What it takes on disk; an estimate where the engine shares files between logs.
    """

    through: int
    documents: int
    bytes: int


class SearchIndex(Protocol):
    """An index of its own for each log, made of the log and rebuilt from it whenever it is lost.

    One caller at a time appends to a log (the worker's lease sees to it); any number search, in any process. A log that
    was never appended to has an empty index: no error. `generation` names an index being built beside the live one of
    the same log; None is the live one. Every method raises `SearchDownError` while the engine does not answer and
    `CorruptIndexError` where its files are damaged.
    """

    async def append(
        self,
        log_id: int,
        documents: Sequence[Document],
        *,
        through: int,
        after: int = -1,
        generation: str | None = None,
    ) -> int:
        """Add documents, in order of seq. On return they are durable and the next search finds them.

        Idempotent: what lies at or below the index's own `through` is passed over. All or nothing is not promised, only
        that `through` is never ahead of what is in.

        Args:
            log_id: The log.
            documents: May be fewer than the seqs they span: some were removed from the log.
            through: What the index is complete through afterwards; at least the last document's seq.
            after: What the caller believes it complete through before; -1 where that makes no difference.
            generation: See above.

        Returns:
            What the index was complete through before.

        Raises:
            IndexBehindError: It is not: it was lost, in whole or in part. Nothing was added.
        """
        ...

    async def search(self, log_id: int, request: SearchRequest) -> Hits:
        """Find a page in the live index, from one snapshot."""
        ...

    async def state(self, log_id: int, *, generation: str | None = None) -> IndexState:
        """How far an index is."""
        ...

    async def swap(self, log_id: int, generation: str) -> None:
        """Make a built generation the live index at once, and remove the former one. Idempotent."""
        ...

    async def drop(self, log_id: int, *, generation: str | None = None) -> None:
        """Remove one generation, unless it was swapped in; or for None the log's index whole, generations included.

        No other log is touched.
        """
        ...


@dataclass(frozen=True, slots=True)
class CountRequest:
    """What an index is asked to count.

    Attributes:
        query: What documents must match; a range of occurrence is part of it.
        facets: What to count them by.
        values: The most frequent values of a facet are wanted, so many at least; kinds are few, and all wanted.
        top: So many of them are going to be shown: these are to be exact if the engine can tell.
        edges: Moments in Unix microseconds, ascending: two that follow each other bound a bucket. None for no buckets.
    """

    query: TermQuery
    facets: tuple[Facet, ...] = ()
    values: int = 100
    top: int = 10
    edges: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What an index counted, in one snapshot.

    Attributes:
        total: Matching events.
        rankings: For each facet that was asked for.
        buckets: Matching events of each bucket.
        through: As of `Hits`. Later events are not counted.
    """

    total: int
    rankings: Mapping[Facet, Ranking]
    buckets: tuple[int, ...]
    through: int


class EventCounter(Protocol):
    """A search index that counts what it finds. It raises what `SearchIndex` does."""

    async def count(self, log_id: int, request: CountRequest) -> Counts:
        """Count the events that match in the live index."""
        ...


class EventForgetter(Protocol):
    """A search index out of which removed events can be taken. It raises what `SearchIndex` does."""

    async def forget(self, log_id: int, seqs: Sequence[tuple[int, int]], *, generation: str | None = None) -> None:
        """Take events out. On return no search finds them, whatever it asks for. Idempotent.

        How far the index is complete stays as it is.

        Args:
            log_id: The log.
            seqs: First and last seq of each range, ascending.
            generation: See `SearchIndex`.
        """
        ...

    async def purge(self, log_id: int) -> bool:
        """Rid the files of the live index of what was forgotten; false where it must be made anew for that."""
        ...


class ForgettingIndex(SearchIndex, EventForgetter, Protocol):
    """An index that is made anew while events are removed."""


class EventIndex(ForgettingIndex, EventCounter, Protocol):
    """What an engine's adapter is."""
