"""What took how long, and what caused it: the seam through which traces leave, silent unless somebody receives them."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, Protocol, TypeAlias

Attributes: TypeAlias = Mapping[str, str | int]
SpanKind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]

NOTHING: Final[Attributes] = {}


class Span(Protocol):
    """Something that is under way. Nothing is told of it that is personal, or of an event: no path, query or body."""

    def rename(self, name: str) -> None:
        """Name it, once that is known."""
        ...

    def tell(self, attributes: Attributes) -> None:
        """Say more of it."""
        ...

    def fail(self, kind: str) -> None:
        """Say that it failed, and by what class of error."""
        ...


class Tracing(Protocol):
    """Makes spans. A *cause* is a span that is recorded, written as a W3C `traceparent` (Trace Context §3.2).

    It never fails and never waits for who receives the spans.

    Attributes:
        on: Whether anybody receives them. Where not, what costs something need not be asked for.
    """

    on: bool

    def span(
        self,
        name: str,
        attributes: Attributes = NOTHING,
        *,
        kind: SpanKind = "internal",
        causes: Iterable[str] = (),
        parent: str | None = None,
        believed: bool = True,
        since_ns: int | None = None,
    ) -> AbstractContextManager[Span]:
        """Make a span of a block, inside of the one that is under way, if any. An error that ends it marks it.

        Args:
            name: Of few there are.
            attributes: What is known of it.
            kind: On which side of what it stands.
            causes: What it comes of, beside the one that it is in: it is linked to them. Where it is in none and one of
                them is recorded, so is it.
            parent: The `traceparent` of whoever asked for it, in place of the one that is under way.
            believed: Whether the parent's word decides if it is recorded; else the share does, as where there is none.
            since_ns: When it began, in Unix nanoseconds; now when absent.
        """
        ...

    def cause(self) -> str | None:
        """What is under way here, for what will come of it; None where it is not recorded."""
        ...

    def statement(self, sql: str, seconds: float, error: str | None) -> None:
        """Tell of a statement of the database that has just ended, where something is under way.

        Args:
            sql: Its text, of which its verb and what it is about are told.
            seconds: How long it took.
            error: The class of error that it ended with.
        """
        ...


class _Silence:
    """A `Span` of which nobody hears."""

    def rename(self, name: str) -> None: ...

    def tell(self, attributes: Attributes) -> None: ...

    def fail(self, kind: str) -> None: ...


_SILENCE: Final = nullcontext(_Silence())


class Untraced:
    """A `Tracing` that nobody receives."""

    on = False

    def span(self, name: str, attributes: Attributes = NOTHING, **_: object) -> AbstractContextManager[Span]:  # noqa: ARG002
        """See `Tracing`."""
        return _SILENCE

    def cause(self) -> str | None:
        """See `Tracing`."""
        return None

    def statement(self, sql: str, seconds: float, error: str | None) -> None:
        """See `Tracing`."""


UNTRACED: Final = Untraced()
