"""The words of masking: actions, rules, and what was found where."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, Protocol


class Action(StrEnum):
    """What becomes of what a rule finds."""

    REDACT = "redact"
    HASH = "hash"
    ENCRYPT = "encrypt"
    DROP = "drop"


MEANINGS: Final[Mapping[Action, str]] = {
    Action.REDACT: "a marker takes its place; nobody can know what it was",
    Action.HASH: "a keyed digest takes its place: equal values of the tenant stay equal, and none can be read",
    Action.ENCRYPT: "a sealed value takes its place, which those who may can reveal",
    Action.DROP: "it goes without a trace",
}

KEYED: Final = frozenset({Action.HASH, Action.ENCRYPT})
"""Actions that need the tenant's keys."""

FoundBy = Literal["name", "value"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was masked.

    Attributes:
        pointer: JSON Pointer (RFC 6901) into the event as it was sent, but for what a key itself hides.
        rule: The rule that found it.
        action: What became of it.
        found_by: Whether the name told, or the value.
    """

    pointer: str
    rule: str
    action: Action
    found_by: FoundBy


class Sealer(Protocol):
    """The keys of one tenant, as masking needs them; see `privacy.sealing.DataKeys`."""

    def digest(self, value: str) -> str:
        """What stands for a value: equal for equal values of the tenant."""
        ...

    def seal(self, value: Any, salt: bytes, pointer: str) -> Mapping[str, str]:  # noqa: ANN401 - any JSON value
        """Encrypt a JSON value for one place in the event of this salt."""
        ...

    def seal_text(self, text: str, salt: bytes, pointer: str) -> str:
        """The same where readers expect a string."""
        ...


def marker(rule: str) -> str:
    """What stands in the place of what a rule redacted."""
    return f"[redacted:{rule}]"


def is_masked(text: str) -> bool:
    """Whether nothing is left to mask in a whole value: it is empty, a marker, or was starred out by its sender."""
    return not text.strip("*•") or (text.startswith("[redacted:") and text.endswith("]") and text.count("[") == 1)
