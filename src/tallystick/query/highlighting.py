"""Where in an event the words of a question stand, for whoever shows it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from tallystick.query.analysis import TEXT_FIELDS, TREES, number_text
from tallystick.query.ast import And, Node, Or, Path, Words
from tallystick.query.tokens import Token, placed_tokens

MAX_HIGHLIGHTS: Final = 50
"""Most values of one event that are told of."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """A value in which something was found.

    Attributes:
        pointer: JSON Pointer (RFC 6901) of the value within the event.
        ranges: Begin and end of each place in it, in Unicode code points, in order and apart from each other; none
            where the value is a number or a truth value, which was found whole.
    """

    pointer: str
    ranges: tuple[tuple[int, int], ...]


def words_of(node: Node) -> list[Words]:
    """The words that a tree looks for. What it excludes is not looked for."""
    match node:
        case Words():
            return [node]
        case And(parts) | Or(parts):
            return [words for part in parts for words in words_of(part)]
        case _:
            return []


def highlight(body: Mapping[str, object], wanted: Sequence[Words]) -> tuple[Highlight, ...]:
    """Find where words stand in an event.

    Args:
        body: The event, parsed.
        wanted: As `words_of` gives them.
    """
    found: list[Highlight] = []
    for path, pointer, value in _leaves(body):
        here = [words for words in wanted if words.path is None or words.path == path]
        if here and (ranges := _find(value, here)) is not None:
            found.append(Highlight(pointer, ranges))
            if len(found) == MAX_HIGHLIGHTS:
                break
    return tuple(found)


def _leaves(body: Mapping[str, object]) -> Iterator[tuple[Path, str, object]]:
    """All values that are searched, with their path and their pointer."""
    for field in (*TEXT_FIELDS, *TREES):
        if field in body:
            yield from _below((field,), f"/{field}", body[field])


def _below(path: Path, pointer: str, value: object) -> Iterator[tuple[Path, str, object]]:
    if isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            step = key.replace("~", "~0").replace("/", "~1")
            yield from _below((*path, key), f"{pointer}/{step}", item)
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[object]", value)):
            yield from _below(path, f"{pointer}/{number}", item)
    elif value is not None:
        yield path, pointer, value


def _find(value: object, wanted: Sequence[Words]) -> tuple[tuple[int, int], ...] | None:
    """The places of a value where any of the words stand; None where none does."""
    tokens = placed_tokens(value if isinstance(value, str) else number_text(cast("float", value)))
    ranges = sorted(place for words in wanted for place in _places(tokens, words))
    if not ranges:
        return None
    return tuple(_joined(ranges)) if isinstance(value, str) else ()


def _places(tokens: Sequence[Token], words: Words) -> Iterator[tuple[int, int]]:
    *first, last = words.tokens
    for begin in range(len(tokens) - len(first)):
        end = begin + len(first)
        found = tokens[end].text
        if (found.startswith(last) if words.prefix else found == last) and all(
            token.text == text for token, text in zip(tokens[begin:end], first, strict=True)
        ):
            yield tokens[begin].begin, tokens[end].end


def _joined(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin, end = ranges[0]
    for next_begin, next_end in ranges[1:]:
        if next_begin > end:
            yield begin, end
            begin, end = next_begin, next_end
        else:
            end = max(end, next_end)
    yield begin, end
