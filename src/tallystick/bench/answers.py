"""What came back: response times by kind, and the answers that were not what they must be."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.bench.requests import Answer, Request
from tallystick.errors import ConfigurationError

Judge = Callable[[Request, bytes], str | None]
"""Looks at the body of a successful answer: None, or what is wrong with it."""


def any_body(_request: Request, _body: bytes) -> None:
    """Find nothing wrong."""


@dataclass(slots=True)
class Answers:
    """What came back.

    Attributes:
        seconds: Response times by kind, of successes only.
        failures: Answers of another status than expected, by kind and status; status 0 is a broken connection.
        flaws: Answers of the status expected whose body is not what it must be, by kind and flaw.
        began: The first due moment, by `time.perf_counter`.
        elapsed: Seconds from then to the last answer.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    failures: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    flaws: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    began: float = 0.0
    elapsed: float = 0.0

    def count(self, request: Request, answer: Answer, seconds: float, judge: Judge = any_body) -> None:
        """Note one answer."""
        if answer.status != request.expect:
            key = (request.kind, answer.status)
            self.failures[key] = self.failures.get(key, 0) + 1
        elif (flaw := judge(request, answer.body)) is not None:
            found = (request.kind, flaw)
            self.flaws[found] = self.flaws.get(found, 0) + 1
        else:
            self.seconds.setdefault(request.kind, []).append(seconds)

    def insist(self) -> None:
        """Refuse figures with failures in them.

        Raises:
            ConfigurationError: There was one.
        """
        wrong = {**self.failures, **self.flaws}
        if wrong:
            listed = ", ".join(f"{count} of {kind}: {what}" for (kind, what), count in wrong.items())
            raise ConfigurationError(f"requests failed ({listed}): these figures are worth nothing")
