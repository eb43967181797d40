"""What a batch is to store: which events of each request are new, and what the others' answers are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tallystick.errors import TallystickError
from tallystick.log.identity import make_id
from tallystick.log.lanes import Append, Outcome, Stored
from tallystick.log.model import PreparedEvent, form_head
from tallystick_tlog.leaf import leaf_hash

Result: TypeAlias = "Outcome | TallystickError"


@dataclass(eq=False, slots=True)
class New:
    """A new event, and where it came to lie."""

    event: PreparedEvent
    stored: Stored | None = None

    def place(self, seq: int, received_ms: int, received_at: str, random: int) -> tuple[bytes, bytes]:
        """Give it its place in the log.

        Args:
            seq: Position in the log.
            received_ms: Arrival in Unix milliseconds.
            received_at: The same as RFC 3339.
            random: The random bits of its id.

        Returns:
            The body, now complete, and its leaf hash.
        """
        event_id = make_id(received_ms, seq, random)
        body = form_head(event_id, received_at, with_timestamp=self.event.occurred_us is None) + self.event.rest
        leaf = leaf_hash(body)
        self.stored = Stored(event_id, seq, leaf.hex(), received_at)
        return body, leaf


@dataclass(frozen=True, slots=True)
class Again:
    """An event that comes twice in the batch: the answer is the first one's."""

    first: New


Slot: TypeAlias = New | Again | Stored | None
"""What becomes of one event: new, the same as one of this batch, stored before, or in conflict."""


@dataclass(slots=True)
class Plan:
    """What becomes of a request, event by event."""

    append: Append
    slots: Sequence[Slot]

    @property
    def new(self) -> list[New]:
        """Its new events, in order."""
        return [slot for slot in self.slots if isinstance(slot, New)]

    def outcome(self) -> Outcome:
        """What is answered once the new events have their places."""
        stored = [_stored(slot) for slot in self.slots]
        return Outcome(stored, self.append.render(stored))


def _stored(slot: Slot) -> Stored | None:
    if isinstance(slot, New):
        return slot.stored
    if isinstance(slot, Again):
        first = slot.first.stored
        return first and replace(first, known=True)
    return slot
