"""A roll that is open to be searched, and how often terms come in it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tantivy import Index, Searcher

from tallystick.adapters.tantivy.files import Roll
from tallystick.adapters.tantivy.schema import open_index

_MOST_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True)
class OpenRoll:
    """A roll as searches look at it until it changes.

    Attributes:
        roll: What it holds, as its list says.
        index: Where it lies.
        searcher: A snapshot of it, which may hold more.
    """

    roll: Roll
    index: Index
    searcher: Searcher
    _frequencies: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def frequency(self, stream: str, term: str) -> int:
        """In how many documents a term is, those that were forgotten since included.

        To ask Tantivy lets go of the interpreter, and to get it back takes longer than the answer where others want it.
        So it is remembered: one question is mostly asked for several pages, and questions share terms.
        """
        key = (stream, term)
        known = self._frequencies.get(key)
        if known is None:
            if len(self._frequencies) >= _MOST_REMEMBERED:
                self._frequencies.clear()
            known = self._frequencies[key] = self.searcher.doc_freq(stream, term)
        return known


def open_roll(generation: Path, roll: Roll, before: OpenRoll | None) -> OpenRoll:
    """Open a roll, or look anew at one that is open already and has changed.

    Args:
        generation: The folder that it is in.
        roll: What its list says of it.
        before: The same roll as it was opened before.
    """
    if before is None:
        index = open_index(generation / roll.name)
    elif before.roll == roll:
        return before
    else:
        index = before.index
        index.reload()
    return OpenRoll(roll, index, index.searcher())
