"""The search index in Tantivy: what the port asks for, over folders of rolls."""

import asyncio
import errno
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import tantivy
from tantivy import Order, Query

from tallystick.adapters.tantivy.files import FIRST_GENERATION, LogFolder, Roll, Rolls
from tallystick.adapters.tantivy.schema import open_index, to_tantivy
from tallystick.adapters.tantivy.searching import OpenRoll, search_rolls
from tallystick.errors import SearchDownError
from tallystick.ports import CorruptIndexError, Hits, IndexBehindError, IndexState, SearchRequest, endless_phrase
from tallystick.query.terms import Document
from tallystick.settings import SearchSettings

_HEAP_BYTES: Final = 30_000_000
"""What a writer gathers before it writes a segment; Tantivy takes no less than half of it."""

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


@dataclass(slots=True)
class _Reading:
    """A log that is open to be searched."""

    generation: str | None = None
    stamp: tuple[int, int] = (-1, -1)
    rolls: Rolls = Rolls()  # noqa: RUF009  # frozen
    open: dict[str, tantivy.Index] = field(default_factory=dict[str, tantivy.Index])
    lock: threading.Lock = field(default_factory=threading.Lock)
    used_at: float = field(default_factory=time.monotonic)

    def forget(self) -> None:
        """Let go of everything."""
        self.generation, self.stamp, self.rolls = None, (-1, -1), Rolls()
        self.open.clear()


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
        self._reading: OrderedDict[int, _Reading] = OrderedDict()
        self._guard = threading.Lock()
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._closing = asyncio.create_task(self._close_idle(), name="tantivy")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._closing is not None:
            self._closing.cancel()
            with suppress(asyncio.CancelledError):
                await self._closing
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
        return await asyncio.to_thread(self._search, log_id, request)

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
        fresh = _fresh_roll(len(writing.rolls.rolls))
        writing.writer = _new_writer(folder.generation(writing.generation) / fresh.name)
        writing.rolls = Rolls(writing.rolls.through, (*writing.rolls.rolls, fresh))

    @contextmanager
    def _writer(self, folder: LogFolder, generation: str) -> Generator[_Writing]:
        """Hold a generation open to be written, alone."""
        key = (folder.log_id, generation)
        with _damage_told(folder):
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
            rolls = Rolls(
                max(rolls.through, _extreme(searcher, "seq", Order.Desc)), (*closed, _counted(last, searcher))
            )
            folder.write_rolls(generation, rolls)
        return _Writing(generation, rolls, index.writer(_HEAP_BYTES, 1))

    def _search(self, log_id: int, request: SearchRequest) -> Hits:
        folder = self._folder(log_id)
        with _damage_told(folder):
            rolls, opened = self._reader(folder)
            return Hits(search_rolls(opened, request, rolls.through), rolls.through)

    def _reader(self, folder: LogFolder) -> tuple[Rolls, list[OpenRoll]]:
        with self._guard:
            reading = self._reading.setdefault(folder.log_id, _Reading())
            self._reading.move_to_end(folder.log_id)
        with reading.lock:
            reading.used_at = time.monotonic()
            try:
                _refresh(folder, reading)
            except (OSError, ValueError, CorruptIndexError):
                reading.forget()
                _refresh(folder, reading)  # a swap took its files away in between
            rolls = reading.rolls
            opened = [OpenRoll(roll, reading.open[roll.name].searcher()) for roll in rolls.rolls]
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
        if _is_damaged(folder):
            folder.set_aside()
        else:
            folder.remove_all()

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


_LATEST, _EARLIEST = (1 << 63) - 1, -(1 << 63)


def _fresh_roll(number: int) -> Roll:
    return Roll(f"{number:06d}", 0, _LATEST, _EARLIEST)


def _new_writer(folder: Path) -> tantivy.IndexWriter:
    shutil.rmtree(folder, ignore_errors=True)  # left over from a crash: no list names it
    folder.mkdir(parents=True)
    return open_index(folder, create=True).writer(_HEAP_BYTES, 1)


def _extreme(searcher: tantivy.Searcher, name: str, order: Order) -> int:
    """The greatest (descending) or least number that a roll holds."""
    result = searcher.search(Query.all_query(), limit=1, count=False, order_by_field=name, order=order)
    (number,) = searcher.fast_field_values(name, [place for _, place in result.hits])
    return int(number or 0)


def _counted(roll: Roll, searcher: tantivy.Searcher) -> Roll:
    """What a roll holds, by looking."""
    if not searcher.num_docs:
        return replace(roll, documents=0, oldest_us=_LATEST, newest_us=_EARLIEST)
    oldest, newest = (_extreme(searcher, "occurred_us", order) for order in (Order.Asc, Order.Desc))
    return replace(roll, documents=searcher.num_docs, oldest_us=oldest, newest_us=newest)


def _refresh(folder: LogFolder, reading: _Reading) -> None:
    """Take in what the writer did since."""
    generation = folder.live()
    if generation is None:
        reading.forget()
        return
    stamp = folder.stamp(generation)
    if (generation, stamp) == (reading.generation, reading.stamp):
        return
    rolls = folder.rolls(generation)
    if generation != reading.generation:
        reading.forget()
    known = {roll.name: roll for roll in reading.rolls.rolls}
    for roll in rolls.rolls:
        if roll.name not in reading.open:
            reading.open[roll.name] = open_index(folder.generation(generation) / roll.name)
        elif roll != known.get(roll.name):
            reading.open[roll.name].reload()
    reading.generation, reading.stamp, reading.rolls = generation, stamp, rolls


def _is_damaged(folder: LogFolder) -> bool:
    try:
        with _damage_told(folder):
            _refresh(folder, _Reading())
    except CorruptIndexError:
        return True
    return False


@contextmanager
def _damage_told(folder: LogFolder) -> Generator[None]:
    """Tell damage from everything else that Tantivy raises by the same class.

    Raises:
        CorruptIndexError: The files are damaged.
        SearchDownError: Another process writes, or the disk takes no more.
        InvalidError: The query asks for too much.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        told = str(error)
        if "max expansions" in told:
            raise endless_phrase() from None
        if "LockBusy" in told:
            raise SearchDownError("another process writes this search index", retry_after=2) from error
        if "StorageFull" in told or getattr(error, "errno", None) == errno.ENOSPC:
            raise SearchDownError("the disk of the search index is full: free some space", retry_after=30) from error
        raise folder.corrupt() from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # how the bindings tell that Tantivy gave up
            raise folder.corrupt() from error
        raise
