"""Documents and queries as search engines take them: terms already made, so that all engines agree.

A document is three strings of terms with one space between two, which every engine splits at spaces and does nothing
else with. `text` holds the tokens of all values in order, `paths` the same as ``path=token``; values are kept apart by
`GAP`, so that no phrase spans two, unless their paths do that already. `terms` holds what is looked up whole and has no
order: exact values, numbers and addresses by prefixes, and which paths exist.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

GAP: Final = "\u241e"
"""Stands between the values of a document; no token is written so."""

MAX_TERM: Final = 200
"""Longest term in UTF-16 code units: below what any engine cuts or refuses."""


class Document(NamedTuple):
    """An event as it is indexed. Made for each event, and so a tuple: no other class is made as fast.

    Attributes:
        seq: Position in the log.
        received_us: Arrival in Unix microseconds.
        occurred_us: Occurrence in Unix microseconds.
        text: Tokens with positions.
        paths: Tokens with their paths and positions.
        terms: Terms without positions.
        kind: What it is counted by (`query.facets`), as are the next two; "" for nothing.
        actor: Who did it.
        resource: What it was done to.
    """

    seq: int
    received_us: int
    occurred_us: int
    text: str
    paths: str
    terms: str
    kind: str = ""
    actor: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class MatchAll:
    """Every document."""


@dataclass(frozen=True, slots=True)
class Consecutive:
    """Documents that have these terms one after the other.

    Attributes:
        stream: Which of the two strings with positions.
        terms: One or more.
        prefix: The last one need only begin so.
    """

    stream: Literal["text", "paths"]
    terms: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class HasAny:
    """Documents that have at least one of these `terms`; none if there are none."""

    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Occurred:
    """Documents of a time range.

    Attributes:
        from_us: At or after, in Unix microseconds, or None.
        to_us: Before, in Unix microseconds, or None.
    """

    from_us: int | None
    to_us: int | None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Documents that match every part."""

    parts: tuple["TermQuery", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Documents that match at least one part; none if there are none."""

    parts: tuple["TermQuery", ...]


@dataclass(frozen=True, slots=True)
class Without:
    """Documents that do not match the part."""

    part: "TermQuery"


TermQuery: TypeAlias = MatchAll | Consecutive | HasAny | Occurred | AllOf | AnyOf | Without
