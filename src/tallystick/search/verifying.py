"""Compares a log with its search index: every event by its place, and some by what is in them."""

from array import array
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from tallystick.followers.model import LoggedEvent, Source
from tallystick.ports import Hit, SearchIndex, SearchRequest
from tallystick.query.terms import GAP, Consecutive, Document, HasAny, MatchAll, TermQuery
from tallystick.search.follower import documents_of, holds

FIRST: Final = 20
"""So many seqs of each kind are named."""

_STRETCH_EVENTS: Final = 5_000
_STRETCH_BYTES: Final = 16 * 1024 * 1024
_PAGE: Final = 1_000

_LEAST_SAMPLE, _MOST_SAMPLE = 20, 2_000
_ONE_IN: Final = 50

_FEW: Final = 5

_ABSENT, _FOUND = 0, 1


@dataclass(slots=True)
class Seqs:
    """Seqs with a fault in common.

    Attributes:
        count: How many.
        first: The first few of them, as they were found.
    """

    count: int = 0
    first: list[int] = field(default_factory=list[int])

    def add(self, seq: int) -> None:
        """Take one in."""
        self.count += 1
        if len(self.first) < FIRST:
            self.first.append(seq)


@dataclass(slots=True)
class Findings:
    """What a comparison found.

    Attributes:
        through: The index was complete up to this seq when it began, and up to it both were compared; -1 for nothing.
        events: Of the log, so far.
        sampled: Of these, so many were looked up by what is in them.
        quarantined: In the log and not in the index, since they could not be indexed. They are no fault of the index.
        removed: In the index and no longer in the log, whose bodies nobody can read.
        beyond: Seqs that the index is complete through and the log has not given out: the log is an older copy.
        missing: In the log and not in the index.
        altered: In the index with other times than in the log.
        doubled: In the index more than once.
        unfindable: In the index, and not found by what is in them.
    """

    through: int
    events: int = 0
    sampled: int = 0
    quarantined: int = 0
    removed: int = 0
    beyond: int = 0
    missing: Seqs = field(default_factory=Seqs)
    altered: Seqs = field(default_factory=Seqs)
    doubled: Seqs = field(default_factory=Seqs)
    unfindable: Seqs = field(default_factory=Seqs)

    @property
    def agree(self) -> bool:
        """Whether the index is what it must be."""
        faults = (self.missing, self.altered, self.doubled, self.unfindable)
        return not self.beyond and not any(seqs.count for seqs in faults)


async def verify(
    index: SearchIndex,
    source: Source,
    log_id: int,
    quarantined: Collection[int],
    told: Callable[[int, int], None],
) -> Findings:
    """Compare a log with its index, while both may grow.

    The log is walked by seq, and each event leaves four bytes of its times; then the index by time, which clears them.

    Args:
        index: Of all logs.
        source: Reads the log.
        log_id: The log.
        quarantined: Seqs of the log that could not be indexed.
        told: Is told now and then how much of how much is done.

    Raises:
        UnavailableError: The database or the engine does not answer.
        CorruptIndexError: The index is damaged.
    """
    findings = Findings((await index.state(log_id)).through)
    seqs = findings.through + 1
    findings.beyond = max(seqs - await source.size(log_id), 0)
    marks = array("I", bytes(4 * seqs))
    step = max(min(_ONE_IN, seqs // _LEAST_SAMPLE), seqs // _MOST_SAMPLE, 1)
    async for events in _walk(source, log_id, findings.through):
        for event in events:
            marks[event.seq] = _mark(event)
        findings.events += len(events)
        sample = [event for event in events if event.seq % step == 0 and event.seq not in quarantined]
        await _look_up(index, log_id, sample, findings)
        told(events[-1].seq + 1, 2 * seqs)
    walked = 0
    async for hits in _hits(index, log_id):
        for hit in hits:
            if hit.seq <= findings.through:
                _clear(marks, hit, findings)
        walked += len(hits)
        told(seqs + min(walked, seqs), 2 * seqs)
    for seq in (seq for seq, mark in enumerate(marks) if mark > _FOUND):
        if seq in quarantined:
            findings.quarantined += 1
        else:
            findings.missing.add(seq)
    return findings


def _mark(place: LoggedEvent | Hit) -> int:
    """Four bytes that stand for the times of an event; two values are kept for other uses."""
    return max(hash((place.received_us, place.occurred_us)) & 0xFFFFFFFF, _FOUND + 1)


def _clear(marks: "array[int]", hit: Hit, findings: Findings) -> None:
    mark = marks[hit.seq]
    if mark == _ABSENT:
        findings.removed += 1
        return
    if mark == _FOUND:
        findings.doubled.add(hit.seq)
    elif mark != _mark(hit):
        findings.altered.add(hit.seq)
    marks[hit.seq] = _FOUND


async def _look_up(index: SearchIndex, log_id: int, events: Sequence[LoggedEvent], findings: Findings) -> None:
    """Try whether events are found by their own terms, each at its own place."""
    for document in await documents_of(events):
        findings.sampled += 1
        if not await holds(index, log_id, document, _terms_of(document)):
            findings.unfindable.add(document.seq)


def _terms_of(document: Document) -> list[TermQuery]:
    """A few terms of a document: the first words of its first values, without and with paths, and some whole ones.

    These are taken from all over, at other places for each document: its terms stand in the order of its fields.
    """
    values = [value.split() for value in document.text.split(f" {GAP} ") if value]
    paths = [list(terms) for path, terms in groupby(document.paths.split(), _path) if path != GAP]
    words: list[TermQuery] = [Consecutive("text", tuple(value[:_FEW])) for value in values[:_FEW]]
    words += [Consecutive("paths", tuple(terms[:_FEW])) for terms in paths[:_FEW]]
    whole = document.terms.split()
    apart = len(whole) // _FEW or 1
    return [*words, *(HasAny((term,)) for term in whole[document.seq % apart :: apart])]


def _path(term: str) -> str:
    return term.partition("=")[0]


async def _walk(source: Source, log_id: int, through: int) -> AsyncGenerator[tuple[LoggedEvent, ...]]:
    """The events of a log up to a seq."""
    after, received_us = -1, None
    while after < through:
        stretch = await source.read(log_id, after, received_us, limit=_STRETCH_EVENTS, max_bytes=_STRETCH_BYTES)
        events = tuple(event for event in stretch.events if event.seq <= through)
        if events:
            yield events
        if stretch.ended:
            return
        after, received_us = stretch.through, stretch.received_us


async def _hits(index: SearchIndex, log_id: int) -> AsyncGenerator[tuple[Hit, ...]]:
    """All that an index holds."""
    after = None
    while True:
        hits = (await index.search(log_id, SearchRequest(MatchAll(), "oldest", _PAGE, after))).hits
        if hits:
            yield hits
        if len(hits) < _PAGE:
            return
        after = (hits[-1].occurred_us, hits[-1].seq)
