"""What has two real implementations: index, queue, ring of master keys, counters of rates. `bootstrap` chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a matching event lies. An index gives no content: bodies are read through the log's view.

    Attributes:
        seq: Position in the log.
        received_us: Arrival in Unix microseconds.
        occurred_us: Occurrence in Unix microseconds.
    """

    seq: int
    received_us: int
    occurred_us: int

    def rank(self, order: SearchOrder) -> tuple[int, int]:
        """What to sort by, so that the first of an order comes first."""
        return (-self.occurred_us, -self.seq) if order == "newest" else (self.occurred_us, self.seq)


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
        edges: Moments in Unix microseconds, ascending: two that follow each other bound a bucket. None for no buckets.
    """

    query: TermQuery
    facets: tuple[Facet, ...] = ()
    values: int = 100
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


@dataclass(frozen=True, slots=True)
class Message:
    """A message taken from a queue. It holds ids only: durability and content lie in the database.

    Attributes:
        subject: For a wake-up a log's id and its size, as in ``7:1204``; for a job its id.
        receipt: What `Queue.done` takes.
        cause: What it comes of (see `Tracing`), where that is known.
    """

    subject: str
    receipt: str
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds, nearly.

    Attributes:
        waiting: That nobody has taken.
        taken: That somebody is at work on.
        dead: That were given out too often.
    """

    waiting: int
    taken: int = 0
    dead: int = 0


QueueKind: TypeAlias = Literal["wake-ups", "jobs"]


class Queue(Protocol):
    """Says that there is work, at least once or, if a message is lost, not at all: whoever works sweeps now and then.

    Messages may come twice, late and in any order. Methods raise `UnavailableError` while the queue does not answer.
    """

    async def wake(self, sizes: Mapping[int, int], causes: Mapping[int, str]) -> None:
        """Say that logs have grown, each to this many events. The caller bounds how often (`WakeUps`).

        Args:
            sizes: By id of the log.
            causes: What the newest growth comes of (see `Tracing`), of the logs of which that is known.
        """
        ...

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        """Say that a job is to be run, and what it comes of."""
        ...

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        """Take messages, waiting up to `wait` seconds for the first. They come again unless `done` is told in time."""
        ...

    async def done(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        """Forget messages: their work is recorded in the database."""
        ...

    async def depth(self, kind: QueueKind) -> Depth:
        """How much work waits."""
        ...


class MasterKeyLostError(Exception):
    """A wrapped key cannot be unwrapped, now or later: its master key is not there, or it was altered or misplaced."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A key, encrypted by a master key.

    Attributes:
        master_key_id: Which: what `KeyRing.active_id` gave when it was wrapped.
        content: To be kept as it is.
    """

    master_key_id: str
    content: bytes


class KeyRing(Protocol):
    """Holds master keys, which wrap the data keys of tenants and never leave it.

    It keeps nothing of what it wraps: that is the caller's to store. A wrapped key can be unwrapped for as long as its
    master key is held, and only with the context that it was wrapped with, names and values alike. What was once
    active stays held until a person removes it. Methods may be called at once and again; each raises `KeysDownError`
    while the ring does not answer, refuses or is at its limit. Nothing that is secret is logged or put into an error.
    """

    async def active_id(self) -> str:
        """The id of the master key that wraps now."""
        ...

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> Wrapped:
        """Encrypt a key of at most 64 bytes by the active master key.

        Args:
            key: What to wrap.
            context: Whose it is and what for: bound to it, not secret, and maybe in the ring's own audit log.
        """
        ...

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """Decrypt what `wrap` gave.

        Raises:
            MasterKeyLostError: It cannot be, now or later.
        """
        ...

    async def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        """Wrap by the active master key what was wrapped before, maybe by another; the key itself is not given out.

        Raises:
            MasterKeyLostError: It cannot be unwrapped, now or later.
        """
        ...


@dataclass(frozen=True, slots=True)
class Charge:
    """What one payer is to be charged.

    Attributes:
        payer: Whose window it is; no two have the same name.
        quota: Most that the payer may use in a window.
        cost: How much of it.
    """

    payer: str
    quota: int
    cost: int


@dataclass(frozen=True, slots=True)
class Window:
    """How a payer stood before a charge.

    Attributes:
        used: What it had used.
        seconds: Until its window ends; a whole window where none was running.
    """

    used: int
    seconds: float


class RateCounters(Protocol):
    """What payers used in their windows. A payer's window begins with the first charge after its last one ended.

    Whoever shares counters shares windows, by one clock: that of the counters.
    """

    async def charge(self, charges: Sequence[Charge], window: int) -> Sequence[Window]:
        """Charge all payers, or none when one of them has less left than its cost; nothing comes in between.

        Args:
            charges: Of different payers.
            window: How long windows are, in seconds.

        Raises:
            UnavailableError: The counters failed; whether they charged is not known.
        """
        ...

    async def check(self) -> str:
        """Look whether the counters work; returns what they are, in words.

        Raises:
            UnavailableError: They do not.
        """
        ...
