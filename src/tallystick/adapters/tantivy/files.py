"""The files of one log's index: generations, their rolls, and which generation is live.

::

    <log id>/live                     the name of the live generation
    <log id>/<generation>/rolls.json  what its rolls hold, and how far it is
    <log id>/<generation>/<roll>/     a Tantivy index

Both small files are replaced whole (written aside, synced, renamed), after what they name is on disk. Whatever they do
not name is left over from a crash.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from tallystick.ports import CorruptIndexError

FIRST_GENERATION: Final = "first"

Stamp: TypeAlias = tuple[int, int]
"""Tells whether a small file was replaced: another file, or at another time."""

_VERSION: Final = 3
"""An index of another version is made anew from the log."""


class OutdatedIndexError(CorruptIndexError):
    """An index that another release made: of no use to this one, and nothing to look into."""


@dataclass(frozen=True, slots=True)
class Roll:
    """A part of an index that holds consecutive events.

    Attributes:
        name: Of its folder.
        documents: How many there are.
        oldest_us: The least occurrence among them, in Unix microseconds.
        newest_us: The greatest.
        masked: Documents that were forgotten since and that its files still hold.
    """

    name: str
    documents: int
    oldest_us: int
    newest_us: int
    masked: int = 0

    def with_more(self, documents: int, occurred_us: Iterable[int]) -> "Roll":
        """The roll after some documents were added, which occurred at these moments."""
        moments = list(occurred_us)
        return replace(
            self,
            documents=self.documents + documents,
            oldest_us=min(self.oldest_us, *moments),
            newest_us=max(self.newest_us, *moments),
        )


@dataclass(frozen=True, slots=True)
class Rolls:
    """What a generation holds.

    Attributes:
        through: Every event up to this seq is in it; -1 for none.
        rolls: In order of seq; the last is the one that is written.
    """

    through: int = -1
    rolls: tuple[Roll, ...] = ()

    @property
    def documents(self) -> int:
        """How many events it holds."""
        return sum(roll.documents for roll in self.rolls)


@dataclass(frozen=True, slots=True)
class LogFolder:
    """The folder of one log."""

    path: Path
    log_id: int

    def live(self) -> str | None:
        """The live generation; None where the log was never indexed."""
        try:
            return (self.path / "live").read_text()
        except FileNotFoundError:
            return None

    def make_live(self, generation: str) -> None:
        """Point to a generation."""
        self.path.mkdir(parents=True, exist_ok=True)
        _replace(self.path / "live", generation)

    def generation(self, name: str) -> Path:
        """The folder of a generation."""
        return self.path / name

    def rolls(self, generation: str) -> Rolls:
        """What a generation holds; nothing where it was never written.

        Raises:
            CorruptIndexError: Its list of rolls is damaged, or it is the live one and missing.
            OutdatedIndexError: Another release made it.
        """
        try:
            found = json.loads((self.generation(generation) / "rolls.json").read_bytes())
            if found["version"] != _VERSION:
                raise OutdatedIndexError(f"the search index of log {self.log_id} is of another release")
            return Rolls(found["through"], tuple(Roll(**roll) for roll in found["rolls"]))
        except FileNotFoundError:
            if generation == self.live():
                raise self.corrupt() from None
            return Rolls()
        except (ValueError, TypeError, KeyError) as error:
            raise self.corrupt() from error

    def write_rolls(self, generation: str, rolls: Rolls) -> None:
        """Say what a generation holds. Its rolls must be on disk."""
        listed = {"version": _VERSION, "through": rolls.through, "rolls": [_listed(roll) for roll in rolls.rolls]}
        _replace(self.generation(generation) / "rolls.json", json.dumps(listed))

    def stamp(self, generation: str) -> Stamp:
        """Changes whenever the list of rolls is replaced."""
        return _stamp(f"{self.path}/{generation}/rolls.json")

    def live_stamp(self) -> Stamp:
        """Changes whenever another generation is made live."""
        return _stamp(f"{self.path}/live")

    def remove(self, generation: str) -> None:
        """Remove a generation."""
        shutil.rmtree(self.generation(generation), ignore_errors=True)

    def remove_all(self) -> None:
        """Remove the log's folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self, generation: str) -> None:
        """Remove the rolls that a crash left unnamed."""
        named = {roll.name for roll in self.rolls(generation).rolls}
        for found in self.generation(generation).iterdir():
            if found.is_dir() and found.name not in named:
                shutil.rmtree(found, ignore_errors=True)

    def retire(self, *, kept: bool) -> None:
        """Take the live generation away, no other.

        Args:
            kept: It is moved out of the way, for somebody to look at; what was kept before is removed.
        """
        generation = self.live()
        (self.path / "live").unlink(missing_ok=True)
        if kept:
            for former in self.path.parent.glob(f"{self.path.name}.corrupt-*"):
                shutil.rmtree(former, ignore_errors=True)
            if generation is not None and self.generation(generation).exists():
                self.generation(generation).rename(self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}"))
        elif generation is not None:
            self.remove(generation)

    def bytes(self, generation: str) -> int:
        """What a generation takes on disk."""
        total = 0
        for root, _, names in os.walk(self.generation(generation)):
            for name in names:
                try:
                    total += (Path(root) / name).stat().st_size
                except FileNotFoundError:  # merged away just now
                    continue
        return total

    def corrupt(self) -> CorruptIndexError:
        """What to raise where a file of the log's index is damaged."""
        return CorruptIndexError(f"the search index of log {self.log_id} is damaged")


def _stamp(file: str) -> Stamp:
    try:
        found = os.stat(file)  # noqa: PTH116  # at each search: a path of its own takes longer than the look
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)


def _listed(roll: Roll) -> dict[str, object]:
    listed = asdict(roll)
    if not roll.masked:  # so that a release that knows of none reads the list
        del listed["masked"]
    return listed


def _replace(file: Path, text: str) -> None:
    aside = file.with_name(f"{file.name}.new")
    with aside.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
