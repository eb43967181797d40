"""A tree as terms: what an engine is asked for."""

from typing import Final

from tallystick.query.analysis import exact_term, exists_term, network_terms, number_terms, path_text, sortable
from tallystick.query.ast import (
    SEVERITIES,
    And,
    Equals,
    Everything,
    Exists,
    InNetwork,
    Node,
    Not,
    NumberRange,
    OccurredBetween,
    OneOf,
    Or,
    SeverityAtLeast,
    Words,
)
from tallystick.query.terms import AllOf, AnyOf, Consecutive, HasAny, MatchAll, Occurred, TermQuery, Without

_GREATEST: Final = (1 << 64) - 1


def lower(node: Node) -> TermQuery:  # noqa: C901, PLR0911, PLR0912  # one for each kind of node
    """Write a tree in terms. A document matches it exactly when the event matches the tree."""
    match node:
        case Everything():
            return MatchAll()
        case And(parts):
            return AllOf(tuple(map(lower, parts)))
        case Or(parts):
            return AnyOf(tuple(map(lower, parts)))
        case Not(part):
            return Without(lower(part))
        case Equals(field, value):
            return HasAny((exact_term(field, value),))
        case OneOf(field, values):
            return HasAny(tuple(exact_term(field, value) for value in sorted(values)))
        case SeverityAtLeast(severity):
            worse = SEVERITIES[SEVERITIES.index(severity) :]
            return HasAny(tuple(exact_term("severity", each) for each in worse))
        case InNetwork(_, network):
            return HasAny(tuple(network_terms(network)))
        case Words(path, tokens, prefix):
            if path is None:
                return Consecutive("text", tokens, prefix)
            at = path_text(path)
            return Consecutive("paths", tuple(f"{at}={token}" for token in tokens), prefix)
        case NumberRange():
            return HasAny(tuple(number_terms(node.path, *_bounds(node))))
        case Exists(path):
            return HasAny((exists_term(path),))
        case OccurredBetween(from_us, to_us):
            return Occurred(from_us, to_us)


def _bounds(node: NumberRange) -> tuple[int, int]:
    """The least and the greatest sortable number that are within."""
    low = 0 if node.low is None else int(sortable(node.low), 16) + node.low_open
    high = _GREATEST if node.high is None else int(sortable(node.high), 16) - node.high_open
    return low, high
