"""Which indices hold a log, and what they are called.

::

    <prefix>-events-000041       the first part of each of a hundred logs; one of them is read through
    <prefix>-log-4123            its alias, which filters and routes; once the log is large, the alias spans as well
    <prefix>-log-4123-first-000001      its next part, alone in an index
    <prefix>-log-4123-g7         the alias of a generation that is being built, in indices of its own:
    <prefix>-log-4123-g7-000001

A *build* is what a log's index is made of from its first event on: whoever begins anew begins another one, so that
nothing which a former one left behind is ever seen. Builds are ordered by the time they were begun.
"""

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tallystick.adapters.opensearch.schema import Dsl

FIRST_GENERATION: Final = "first"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one log.

    Attributes:
        prefix: All names begin with it.
        log_id: The log.
    """

    prefix: str
    log_id: int

    @property
    def live(self) -> str:
        """The alias that is searched."""
        return f"{self.prefix}-log-{self.log_id}"

    @property
    def own(self) -> str:
        """A pattern of all indices that hold this log alone."""
        return f"{self.live}-*"

    @property
    def shared(self) -> str:
        """A pattern of all indices that logs share."""
        return f"{self.prefix}-events-*"

    def alias(self, generation: str | None) -> str:
        """The alias of a generation; None is the live one."""
        return self.live if generation is None else f"{self.live}-{_checked(generation)}"

    def first_part(self, generation: str | None, shared_logs: int) -> str:
        """The index that a generation begins in."""
        if generation is None:
            return f"{self.prefix}-events-{self.log_id // shared_logs:06d}"
        return f"{self.alias(generation)}-000001"

    def next_part(self, index: str) -> str:
        """The index that follows one."""
        if not index.startswith(f"{self.live}-"):
            return f"{self.alias(FIRST_GENERATION)}-000001"
        generation, _, number = index.rpartition("-")
        return f"{generation}-{int(number) + 1:06d}"

    def is_of(self, index: str, generation: str) -> bool:
        """Whether an index holds a part of a generation."""
        return index.rpartition("-")[0] == self.alias(generation)

    def new_build(self) -> str:
        """Name a build."""
        return f"{self.log_id}-{time.time_ns() // 1_000_000:012x}{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a generation lies.

    Attributes:
        build: What its documents belong to.
        parts: Its indices in order of seq; the last is the one that is written.
    """

    build: str
    parts: tuple[str, ...]


def read_place(alias: str, found: Mapping[str, Any]) -> Place:
    """Read what OpenSearch says of an alias."""
    # The shared one comes first: -events- before -log-.
    parts = tuple(sorted(found))
    return Place(found[parts[-1]]["aliases"][alias]["filter"]["term"]["log"], parts)


def alias_options(log_id: int, build: str) -> Dsl:
    """How an alias narrows an index to one log, whatever is asked through it."""
    return {"routing": str(log_id), "filter": {"term": {"log": build}}}


def _checked(generation: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,99}", generation) is None:
        raise ValueError(f"no name of a generation: {generation!r}")
    return generation
