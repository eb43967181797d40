"""The search index in Tantivy: what the port asks for, over folders of rolls."""

import asyncio
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import tantivy
from tantivy import Order

from tallystick.adapters.tantivy.counting import count_rolls
from tallystick.adapters.tantivy.files import FIRST_GENERATION, LogFolder, OutdatedIndexError, Roll, Rolls
from tallystick.adapters.tantivy.forgetting import EARLIEST, LATEST, counted, extreme, forget_in
from tallystick.adapters.tantivy.opened import OpenRoll
from tallystick.adapters.tantivy.reading import Reading, damage_of, damage_told
from tallystick.adapters.tantivy.schema import open_index, to_tantivy
from tallystick.adapters.tantivy.searching import search_rolls
from tallystick.ports import (
    CorruptIndexError,
    CountRequest,
    Counts,
    Hits,
    IndexBehindError,
    IndexState,
    SearchRequest,
)
from tallystick.query.terms import Document
from tallystick.settings import SearchSettings

_HEAP_BYTES: Final = 100_000_000
"""What a writer gathers before it writes a segment; Tantivy takes no less than half of it."""

_COUNTING_THREADS: Final = 2

_IDLE_SECONDS: Final = 20.0
"""After so long unused, what is open is closed: five thousand idle logs hold no file."""


@dataclass(slots=True)
class _Writing:
    """A generation that is open to be written."""

    generation: str
    rolls: Rolls
    writer: tantivy.IndexWriter
    lock: threading.Lock = field(default_factory=threading.Lock)
    used_at: float = field(default_factory=time.monotonic)


class TantivyIndex:
    """A `SearchIndex` in a folder.

    One process writes a log; Tantivy's own lock file sees to it. Others follow by the list of rolls, which is replaced
    after each commit. All work is done in threads.

    A generation is cut into rolls of `roll_events`, so that a page costs no more than one or two of them and merges
    stay small.

    Args:
        root: The folder; made when first written.
        settings: Sizes.
    """

    def __init__(self, root: Path, settings: SearchSettings) -> None:
        self._root = root
        self._settings = settings
        self._writing: OrderedDict[tuple[int, str], _Writing] = OrderedDict()
        self._reading: OrderedDict[int, Reading] = OrderedDict()
        self._guard = threading.Lock()
        self._closing: asyncio.Task[None] | None = None
        # Apart from searches, which would wait behind counts that take a second.
        self._counting = ThreadPoolExecutor(_COUNTING_THREADS, "tantivy-counting")
        self._rolls = ThreadPoolExecutor(os.cpu_count(), "tantivy-rolls")

    async def __aenter__(self) -> Self:
        self._closing = asyncio.create_task(self._close_idle(), name="tantivy")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._closing is not None:
            self._closing.cancel()
            with suppress(asyncio.CancelledError):
                await self._closing
        self._counting.shutdown(wait=True, cancel_futures=True)
        self._rolls.shutdown(wait=True, cancel_futures=True)
        await asyncio.to_thread(self._close_unused, 0.0)

    async def append(
        self,
        log_id: int,
        documents: Sequence[Document],
        *,
        through: int,
        after: int = -1,
        generation: str | None = None,
    ) -> int:
        """See `SearchIndex`."""
        return await asyncio.to_thread(self._append, log_id, documents, through, after, generation)

    async def search(self, log_id: int, request: SearchRequest) -> Hits:
        """See `SearchIndex`."""
        return await asyncio.get_running_loop().run_in_executor(None, self._search, log_id, request)

    async def count(self, log_id: int, request: CountRequest) -> Counts:
        """See `EventCounter`."""
        return await asyncio.get_running_loop().run_in_executor(self._counting, self._count, log_id, request)

    async def forget(self, log_id: int, seqs: Sequence[tuple[int, int]], *, generation: str | None = None) -> None:
        """See `EventForgetter`. A roll that is left with nothing is removed with its files."""
        await asyncio.to_thread(self._forget, log_id, seqs, generation)

    async def purge(self, log_id: int) -> bool:
        """See `EventForgetter`. Tantivy itself leaves a document where it is until its segment is merged."""
        rolls = await asyncio.to_thread(self._listed, log_id)
        return not any(roll.masked for roll in rolls.rolls)

    async def state(self, log_id: int, *, generation: str | None = None) -> IndexState:
        """See `SearchIndex`."""
        return await asyncio.to_thread(self._state, log_id, generation)

    async def swap(self, log_id: int, generation: str) -> None:
        """See `SearchIndex`."""
        await asyncio.to_thread(self._swap, log_id, generation)

    async def drop(self, log_id: int, *, generation: str | None = None) -> None:
        """See `SearchIndex`. A live generation that is damaged is set aside alone, under a name that tells when."""
        await asyncio.to_thread(self._drop, log_id, generation)

    # What follows runs in threads.

    def _folder(self, log_id: int) -> LogFolder:
        return LogFolder(self._root / str(log_id), log_id)

    def _append(
        self, log_id: int, documents: Sequence[Document], through: int, after: int, generation: str | None
    ) -> int:
        folder = self._folder(log_id)
        name = generation or folder.live() or FIRST_GENERATION
        with self._writer(folder, name) as writing:
            before = writing.rolls.through
            if before < after:
                raise IndexBehindError(before)
            if through <= before:
                return before
            new = [document for document in documents if document.seq > before]
            while new:
                room = self._settings.roll_events - writing.rolls.rolls[-1].documents
                if room <= 0:
                    self._begin_roll(folder, writing)
                    continue
                part, new = new[:room], new[room:]
                for document in part:
                    writing.writer.add_document(to_tantivy(document))
                writing.writer.commit()
                *closed, last = writing.rolls.rolls
                grown = last.with_more(len(part), (document.occurred_us for document in part))
                writing.rolls = Rolls(part[-1].seq if new else through, (*closed, grown))
                folder.write_rolls(name, writing.rolls)
            if writing.rolls.through != through:
                writing.rolls = Rolls(through, writing.rolls.rolls)
                folder.write_rolls(name, writing.rolls)
        if generation is None and folder.live() is None:
            folder.make_live(name)
        return before

    def _begin_roll(self, folder: LogFolder, writing: _Writing) -> None:
        writing.writer.wait_merging_threads()
        fresh = _fresh_roll(int(writing.rolls.rolls[-1].name) + 1)
        writing.writer = _new_writer(folder.generation(writing.generation) / fresh.name)
        writing.rolls = Rolls(writing.rolls.through, (*writing.rolls.rolls, fresh))

    def _forget(self, log_id: int, seqs: Sequence[tuple[int, int]], generation: str | None) -> None:
        folder = self._folder(log_id)
        name = generation or folder.live()
        if name is None or not seqs:
            return
        with self._writer(folder, name) as writing:
            path = folder.generation(name)
            # Only where all that is in it goes may the last one be dropped: what comes needs a roll to be in.
            *closed, last = writing.rolls.rolls
            kept = [less for roll in closed if (less := forget_in(path / roll.name, roll, seqs)) is not None]
            less = forget_in(path / last.name, last, seqs, writing.writer)
            if less is None:
                self._begin_roll(folder, writing)
                less = writing.rolls.rolls[-1]
            rolls = Rolls(writing.rolls.through, (*kept, less))
            if rolls != writing.rolls or less.name != last.name:
                writing.rolls = rolls
                folder.write_rolls(name, rolls)
                folder.sweep(name)

    def _listed(self, log_id: int) -> Rolls:
        folder = self._folder(log_id)
        name = folder.live()
        return Rolls() if name is None else folder.rolls(name)

    @contextmanager
    def _writer(self, folder: LogFolder, generation: str) -> Generator[_Writing]:
        """Hold a generation open to be written, alone."""
        key = (folder.log_id, generation)
        with damage_told(folder):
            while True:
                with self._guard:
                    writing = self._writing.get(key)
                    if writing is None:
                        writing = self._writing[key] = self._open_writer(folder, generation)
                    self._writing.move_to_end(key)
                with writing.lock:
                    if self._writing.get(key) is not writing:  # closed while this one waited
                        continue
                    writing.used_at = time.monotonic()
                    try:
                        yield writing
                    except BaseException:
                        # What it holds uncommitted would become part of the next commit.
                        self._close(key, writing)
                        raise
                    break
        self._close_surplus()

    def _open_writer(self, folder: LogFolder, generation: str) -> _Writing:
        path = folder.generation(generation)
        if folder.live() is None and generation == FIRST_GENERATION:
            folder.remove(generation)  # a crash came before it was made live
        rolls = folder.rolls(generation)
        if not rolls.rolls:
            fresh = _fresh_roll(0)
            return _Writing(generation, Rolls(rolls.through, (fresh,)), _new_writer(path / fresh.name))
        folder.sweep(generation)
        *closed, last = rolls.rolls
        index = open_index(path / last.name)
        searcher = index.searcher()
        if searcher.num_docs != last.documents:  # a crash came between the commit and the list
            rolls = Rolls(max(rolls.through, extreme(searcher, "seq", Order.Desc)), (*closed, counted(last, searcher)))
            folder.write_rolls(generation, rolls)
        return _Writing(generation, rolls, index.writer(_HEAP_BYTES, 1))

    def _search(self, log_id: int, request: SearchRequest) -> Hits:
        folder = self._folder(log_id)
        with damage_told(folder):
            rolls, opened = self._reader(folder)
            return Hits(search_rolls(opened, request, rolls.through), rolls.through)

    def _count(self, log_id: int, request: CountRequest) -> Counts:
        folder = self._folder(log_id)
        with damage_told(folder):
            rolls, opened = self._reader(folder)
            return count_rolls(opened, request, rolls.through, self._rolls)

    def _reader(self, folder: LogFolder) -> tuple[Rolls, tuple[OpenRoll, ...]]:
        with self._guard:
            reading = self._reading.setdefault(folder.log_id, Reading())
            self._reading.move_to_end(folder.log_id)
        with reading.lock:
            reading.used_at = time.monotonic()
            try:
                reading.follow(folder)
            except (OSError, ValueError, CorruptIndexError):
                reading.forget()
                reading.follow(folder)  # a swap took its files away in between
            rolls, opened = reading.rolls, reading.opened
        self._close_surplus()
        return rolls, opened

    def _state(self, log_id: int, generation: str | None) -> IndexState:
        folder = self._folder(log_id)
        name = generation or folder.live()
        if name is None:
            return IndexState(-1, 0, 0)
        rolls = folder.rolls(name)
        return IndexState(rolls.through, rolls.documents, folder.bytes(name))

    def _swap(self, log_id: int, generation: str) -> None:
        folder = self._folder(log_id)
        former = folder.live()
        if former == generation:
            return
        self._close_writers(lambda key, _: key == (log_id, former))
        folder.rolls(generation)
        folder.make_live(generation)
        if former is not None:
            folder.remove(former)

    def _drop(self, log_id: int, generation: str | None) -> None:
        folder = self._folder(log_id)
        if generation is not None and generation == folder.live():
            return
        self._close_writers(lambda key, _: key[0] == log_id and generation in (None, key[1]))
        if generation is not None:
            folder.remove(generation)
            return
        with self._guard:
            self._reading.pop(log_id, None)
        damage = damage_of(folder)
        if damage is None:
            folder.remove_all()
        else:
            folder.retire(kept=not isinstance(damage, OutdatedIndexError))

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_SECONDS / 2)
            await asyncio.to_thread(self._close_unused, _IDLE_SECONDS)

    def _close_unused(self, seconds: float) -> None:
        before = time.monotonic() - seconds
        self._close_writers(lambda _, writing: writing.used_at <= before)
        with self._guard:
            for log_id in [log_id for log_id, reading in self._reading.items() if reading.used_at <= before]:
                del self._reading[log_id]

    def _close_surplus(self) -> None:
        """Close the least recently used beyond the bound."""
        most = self._settings.open_indexes
        with self._guard:
            while len(self._reading) > most:
                self._reading.popitem(last=False)
            surplus = set(list(self._writing)[: max(len(self._writing) - most, 0)])
        if surplus:
            self._close_writers(lambda key, _: key in surplus)

    def _close_writers(self, chosen: Callable[[tuple[int, str], _Writing], bool]) -> None:
        with self._guard:
            closing = [(key, writing) for key, writing in self._writing.items() if chosen(key, writing)]
        for key, writing in closing:
            with writing.lock:
                if self._writing.get(key) is writing:
                    self._close(key, writing)

    def _close(self, key: tuple[int, str], writing: _Writing) -> None:
        """Let go of a generation, whose lock is held. Not before: Tantivy allows one writer at a time."""
        with suppress(OSError, ValueError, RuntimeError):  # its writer is gone already; what was committed is listed
            writing.writer.wait_merging_threads()
        with self._guard:
            self._writing.pop(key, None)


def _fresh_roll(number: int) -> Roll:
    return Roll(f"{number:06d}", 0, LATEST, EARLIEST)


def _new_writer(folder: Path) -> tantivy.IndexWriter:
    shutil.rmtree(folder, ignore_errors=True)  # left over from a crash: no list names it
    folder.mkdir(parents=True)
    return open_index(folder, create=True).writer(_HEAP_BYTES, 1)
