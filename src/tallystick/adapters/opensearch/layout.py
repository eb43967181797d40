"""Which indices hold a log, and what they are called.

::

    <prefix>-events-000041               the first part of a hundred logs; each is read through
    <prefix>-log-4123                    its alias, which filters and routes. Once the log is large, it leads as well to
    <prefix>-log-4123-first-5f0c8d1e-000001        the log's next part, alone in an index
    <prefix>-log-4123-job-9              leads to a generation that is being built
    <prefix>-gone-4123-first-5f0c8d1e    leads to what is to be removed

A *build* is what a log's index is made of from its first event on: ``4123-first-5f0c8d1e`` above. Whoever begins anew
begins another one, and an alias shows the documents of one build. So what waits to be removed is never seen, and what
is removed through its alias is nothing else.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tallystick.adapters.opensearch.schema import Dsl

_FIRST_GENERATION: Final = "first"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alias leads.

    Attributes:
        build: What it shows.
        parts: The indices in order of seq; the last is the one that is written.
    """

    build: str
    parts: tuple[str, ...]


def read_places(found: Mapping[str, Any]) -> dict[str, Place]:
    """Read what OpenSearch says of aliases: where each of them leads."""
    places: dict[str, Place] = {}
    for index in sorted(found):  # the shared one comes first: -events- before -log-
        for alias, told in found[index]["aliases"].items():
            before = places[alias].parts if alias in places else ()
            places[alias] = Place(told["filter"]["term"]["log"], (*before, index))
    return places


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
    def generations(self) -> str:
        """A pattern of the aliases of all generations that are being built."""
        return f"{self.live}-*"

    @property
    def all_gone(self) -> str:
        """A pattern of the aliases of all that is to be removed."""
        return f"{self.prefix}-gone-{self.log_id}-*"

    def generation(self, name: str | None) -> str:
        """The alias of a generation; None is the live one."""
        return self.live if name is None else f"{self.live}-{_checked(name)}"

    def gone(self, build: str) -> str:
        """The alias of a build that is to be removed."""
        return f"{self.prefix}-gone-{build}"

    def new_build(self, generation: str | None) -> str:
        """Name a build."""
        return f"{self.log_id}-{generation or _FIRST_GENERATION}-{secrets.token_hex(4)}"

    def is_of(self, build: str, generation: str) -> bool:
        """Whether a build was begun as this generation."""
        return build.rpartition("-")[0] == f"{self.log_id}-{generation}"

    def shared_part(self, shared_logs: int) -> str:
        """The index that the log begins in, with its neighbours."""
        return f"{self.prefix}-events-{self.log_id // shared_logs:06d}"

    def is_shared(self, index: str) -> bool:
        """Whether an index holds other logs as well."""
        return index.startswith(f"{self.prefix}-events-")

    def own_parts(self, build: str) -> str:
        """A pattern of the indices that hold a build alone."""
        return f"{self.prefix}-log-{build}-*"

    def next_part(self, place: Place) -> str:
        """The index that follows the last one."""
        last = place.parts[-1]
        number = 1 if self.is_shared(last) else int(last.rpartition("-")[2]) + 1
        return f"{self.prefix}-log-{place.build}-{number:06d}"

    def lead(self, alias: str, place: Place) -> list[Dsl]:
        """Let an alias lead to a place, narrowed to its build whatever is asked through it."""
        narrowed: Dsl = {"routing": str(self.log_id), "filter": {"term": {"log": place.build}}}
        return [{"add": {"index": index, "alias": alias, **narrowed}} for index in place.parts]


def lead_away(alias: str, place: Place) -> list[Dsl]:
    """Let an alias lead to a place no longer."""
    return [{"remove": {"index": index, "alias": alias}} for index in place.parts]


def _checked(generation: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,99}", generation) is None:
        raise ValueError(f"no name of a generation: {generation!r}")
    return generation
