"""Every event that was sent, and under which id it was acknowledged: 17 bytes each, so that an hour's fit in memory."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_LOW: Final = (1 << 64) - 1
_MOST_SEEN: Final = 255


@dataclass(slots=True)
class Ledger:
    """The events of one process that sends.

    Each carries an `event_id` of the run's name, the ledger's and its own number. So it may be sent again without being
    stored twice, and whoever reads the log finds it here.

    Attributes:
        run: The run's name.
        name: The ledger's, of the run.
        high: The upper half of each acknowledged id; both halves are 0 while there is none.
        low: The lower half.
    """

    run: str
    name: int
    high: "array[int]" = field(default_factory=lambda: array("Q"))
    low: "array[int]" = field(default_factory=lambda: array("Q"))

    def issue(self, count: int) -> int:
        """Note events that are about to be sent; gives the number of the first."""
        first = len(self.high)
        self.high.extend(bytes(count))
        self.low.extend(bytes(count))
        return first

    def event_id(self, number: int) -> str:
        """The `event_id` of an event."""
        return f"{self.run}-{self.name}-{number}"

    def acknowledge(self, number: int, event: str) -> None:
        """Note the id under which an event is stored."""
        whole = _whole(event)
        self.high[number], self.low[number] = whole >> 64, whole & _LOW


@dataclass(slots=True)
class Findings:
    """What comparing ledgers with the logs found.

    Attributes:
        acknowledged: Events that were acknowledged.
        missing: Acknowledged, and not stored.
        doubled: Stored more than once.
        renamed: Stored under another id than was acknowledged.
        unanswered: Stored without having been acknowledged, which is no fault: the answer was lost.
    """

    acknowledged: int = 0
    missing: int = 0
    doubled: int = 0
    renamed: int = 0
    unanswered: int = 0

    @property
    def hold(self) -> bool:
        """Whether every acknowledged event is stored exactly once, under its id."""
        return not (self.missing or self.doubled or self.renamed)


class Comparison:
    """Compares what is read back with the ledgers of a run.

    Args:
        ledgers: All of them, in the order of their names.
    """

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers
        self._seen = [bytearray(len(ledger.high)) for ledger in ledgers]
        self._prefix = f"{ledgers[0].run}-"
        self._renamed = 0

    def see(self, event_id: str | None, event: str) -> None:
        """Note an event that was read back, whoever sent it."""
        if event_id is None or not event_id.startswith(self._prefix):
            return
        name, _, number = event_id[len(self._prefix) :].partition("-")
        ledger, seen, at = self._ledgers[int(name)], self._seen[int(name)], int(number)
        seen[at] = min(seen[at] + 1, _MOST_SEEN)
        acknowledged = ledger.high[at] << 64 | ledger.low[at]
        self._renamed += acknowledged not in (0, _whole(event))

    def findings(self) -> Findings:
        """What was found, once all was read."""
        found = Findings(renamed=self._renamed)
        for ledger, seen in zip(self._ledgers, self._seen, strict=True):
            for half, times in zip(ledger.low, seen, strict=True):
                found.acknowledged += half != 0
                found.missing += half != 0 and times == 0
                found.doubled += times > 1
                found.unanswered += half == 0 and times > 0
        return found


def _whole(event: str) -> int:
    return int(event.replace("-", ""), 16)
