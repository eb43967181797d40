"""Regular expressions of RE2 over UTF-8 bytes: linear in their input, whatever it is.

Bytes are matched as they are (RE2's Latin-1), so that classes and case folding know ASCII alone and mean the same over
a string as over the JSON that holds it.
"""

from collections.abc import Iterator
from typing import Any, Final, Protocol, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

_MEMORY: Final = 16 * 1024 * 1024
"""Most bytes of automata an expression may keep; beyond it RE2 begins them anew, and stays linear."""


class Match(Protocol):
    """A match of bytes."""

    def span(self, group: int = 0) -> tuple[int, int]:
        """Where a group begins and ends; (-1, -1) where it took no part."""
        ...

    def group(self, group: int = 0) -> bytes:
        """What a group matched."""
        ...


class Expression(Protocol):
    """A compiled expression."""

    @property
    def groups(self) -> int:
        """How many groups it has."""
        ...

    def search(self, text: bytes, pos: int | None = None) -> Match | None:
        """The leftmost match."""
        ...

    def finditer(self, text: bytes) -> Iterator[Match]:
        """All matches that do not overlap."""
        ...


def compiled(pattern: str, *, captures: bool = True) -> Expression:
    """Compile an expression.

    Args:
        pattern: RE2's syntax, in ASCII.
        captures: Whether its groups will be asked for.
    """
    library = cast("Any", re2)
    options = library.Options()
    options.encoding = library.Options.Encoding.LATIN1
    options.max_mem = _MEMORY
    options.log_errors = False
    options.never_capture = not captures
    return cast("Expression", library.compile(pattern.encode("ascii"), options))
