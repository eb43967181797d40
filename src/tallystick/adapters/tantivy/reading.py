"""A log that is open to be searched, and how damage is told from everything else that goes wrong there."""

import errno
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tallystick.adapters.tantivy.files import LogFolder, Rolls, Stamp
from tallystick.adapters.tantivy.opened import OpenRoll, open_roll
from tallystick.errors import SearchDownError
from tallystick.ports import CorruptIndexError, endless_phrase


@dataclass(slots=True)
class Reading:
    """A log that is open to be searched.

    Attributes:
        rolls: As they are listed.
        opened: The same, each with a snapshot of it that holds all that is listed.
    """

    generation: str | None = None
    stamps: tuple[Stamp, Stamp] | None = None
    rolls: Rolls = Rolls()  # noqa: RUF009  # frozen
    opened: tuple[OpenRoll, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)
    used_at: float = field(default_factory=time.monotonic)

    def forget(self) -> None:
        """Let go of everything."""
        self.generation, self.stamps, self.rolls, self.opened = None, None, Rolls(), ()

    def follow(self, folder: LogFolder) -> None:
        """Take in what the writer did since."""
        # Each search comes by here, so files are read only where they look replaced; they are looked at before that.
        live = folder.live_stamp()
        if self.generation is not None and self.stamps == (live, folder.stamp(self.generation)):
            return
        generation = folder.live()
        if generation is None:
            self.forget()
            return
        stamps = live, folder.stamp(generation)
        rolls = folder.rolls(generation)
        if generation != self.generation:
            self.forget()
        known = {opened.roll.name: opened for opened in self.opened}
        path = folder.generation(generation)
        self.opened = tuple(open_roll(path, roll, known.get(roll.name)) for roll in rolls.rolls)
        self.generation, self.stamps, self.rolls = generation, stamps, rolls


def damage_of(folder: LogFolder) -> CorruptIndexError | None:
    """Why the live index of a log cannot be read; None where it can."""
    try:
        with damage_told(folder):
            Reading().follow(folder)
    except CorruptIndexError as error:
        return error
    return None


@contextmanager
def damage_told(folder: LogFolder) -> Generator[None]:
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
