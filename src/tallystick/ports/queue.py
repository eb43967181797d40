"""The queue that says that there is work: its messages, and what it promises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Message:
    """A message taken from a queue. It holds ids only: durability and content lie in the database.

    Attributes:
        subject: For a wake-up a log's id and its size, as in ``7:1204``; for a job its id.
        receipt: What `Queue.done` takes.
        cause: What it comes of (see `Tracing`), where that is known.
    """

    subject: str
    receipt: str
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds, nearly.

    Attributes:
        waiting: That nobody has taken.
        taken: That somebody is at work on.
        dead: That were given out too often.
    """

    waiting: int
    taken: int = 0
    dead: int = 0


QueueKind: TypeAlias = Literal["wake-ups", "jobs"]


class Queue(Protocol):
    """Says that there is work, at least once or, if a message is lost, not at all: whoever works sweeps now and then.

    Messages may come twice, late and in any order. Methods raise `UnavailableError` while the queue does not answer.
    """

    async def wake(self, sizes: Mapping[int, int], causes: Mapping[int, str]) -> None:
        """Say that logs have grown, each to this many events. The caller bounds how often (`WakeUps`).

        Args:
            sizes: By id of the log.
            causes: What the newest growth comes of (see `Tracing`), of the logs of which that is known.
        """
        ...

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        """Say that a job is to be run, and what it comes of."""
        ...

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        """Take messages, waiting up to `wait` seconds for the first. They come again unless `done` is told in time."""
        ...

    async def done(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        """Forget messages: their work is recorded in the database."""
        ...

    async def depth(self, kind: QueueKind) -> Depth:
        """How much work waits."""
        ...
