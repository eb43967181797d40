"""Attempts that were refused, collapsed, so that nobody can fill a log by knocking: one event a minute for each."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tallystick.access_log.model import Actor, Deed, Place, access_event
from tallystick.log.model import PreparedEvent

REFUSED: Final = "access.refused"
"""The action of these events."""

NOBODY: Final = Actor(issuer="tallystick:unknown", subject="anonymous")
"""Who sent no token, or one that does not hold."""

MINUTE: Final = 60.0
_MOST: Final = 4_096
_MOST_TARGETS: Final = 16
_ELSEWHERE: Final = "…"
"""In place of further targets of one principal."""

Put = Callable[[Place, PreparedEvent], None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One attempt that was refused.

    Attributes:
        actor: Who tried.
        target: The tenant they tried it in; empty where there is none.
        operation: What they tried.
        problem: The slug of what they were answered.
        places: The access logs that are to know: their own tenant's, if they have one, and the platform's last.
    """

    actor: Actor
    target: str
    operation: str
    problem: str
    places: Sequence[Place]

    @property
    def who(self) -> tuple[str, str]:
        """Whose refusals are told together."""
        return self.actor.issuer, self.actor.subject


@dataclass(slots=True)
class _Window:
    until: float
    held: int = 0
    last: Refusal | None = None


_Key = tuple[tuple[str, str], str]


@dataclass(slots=True)
class Refusals:
    """Collapses refusals. The first is told at once; those within the minute after it together, when that has passed.

    Memory is bounded: of one principal's targets so many are told apart, and of all principals; what comes beyond goes
    into the platform's log alone, as one.

    Args:
        put: Takes the events.
    """

    put: Put
    _windows: dict[_Key, _Window] = field(default_factory=dict[_Key, _Window])
    _targets: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def add(self, refusal: Refusal, now: float) -> None:
        """Take a refusal in.

        Args:
            refusal: It.
            now: In monotonic seconds.
        """
        key, refusal = self._told_apart(refusal)
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(now + MINUTE)
            self._targets[key[0]] += 1
            self._tell(refusal, 1)
        else:
            window.held += 1
            window.last = refusal

    def sweep(self, now: float) -> None:
        """Tell what was held for a minute; `now` may be infinity, which tells everything."""
        for key, window in [each for each in self._windows.items() if each[1].until <= now]:
            if window.last is not None:
                self._tell(window.last, window.held)
                window.held, window.last, window.until = 0, None, window.until + MINUTE
                continue
            del self._windows[key]
            self._targets[key[0]] -= 1
            if not self._targets[key[0]]:
                del self._targets[key[0]]

    def _told_apart(self, refusal: Refusal) -> tuple[_Key, Refusal]:
        key = (refusal.who, refusal.target)
        if key in self._windows:
            return key, refusal
        if self._targets[refusal.who] >= _MOST_TARGETS:
            key = (refusal.who, _ELSEWHERE)
        if key in self._windows or len(self._windows) < _MOST:
            return key, refusal
        others = Refusal(NOBODY, _ELSEWHERE, refusal.operation, refusal.problem, refusal.places[-1:])
        return (others.who, others.target), others

    def _tell(self, refusal: Refusal, count: int) -> None:
        deed = Deed(refusal.operation, REFUSED, "tenant", refusal.target or None)
        told = {"problem": refusal.problem, "count": count}
        for place in dict.fromkeys(refusal.places):
            self.put(place, access_event(place, refusal.actor, deed, "refused", told, severity="WARNING"))
