"""The counters of rates, and what they promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Charge:
    """What one payer is to be charged.

    Attributes:
        payer: Whose window it is; no two have the same name.
        quota: Most that the payer may use in a window.
        cost: How much of it.
    """

    payer: str
    quota: int
    cost: int


@dataclass(frozen=True, slots=True)
class Window:
    """How a payer stood before a charge.

    Attributes:
        used: What it had used.
        seconds: Until its window ends; a whole window where none was running.
    """

    used: int
    seconds: float


class RateCounters(Protocol):
    """What payers used in their windows. A payer's window begins with the first charge after its last one ended.

    Whoever shares counters shares windows, by one clock: that of the counters.
    """

    async def charge(self, charges: Sequence[Charge], window: int) -> Sequence[Window]:
        """Charge all payers, or none when one of them has less left than its cost; nothing comes in between.

        Args:
            charges: Of different payers.
            window: How long windows are, in seconds.

        Raises:
            UnavailableError: The counters failed; whether they charged is not known.
        """
        ...

    async def check(self) -> str:
        """Look whether the counters work; returns what they are, in words.

        Raises:
            UnavailableError: They do not.
        """
        ...
