"""What a stretch of a log adds to the rollups."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

import orjson

from tallystick.followers.model import LoggedEvent
from tallystick.query.facets import Facet, facets_of, read_kind

QUARTER_US: Final = 900_000_000
"""A quarter of an hour in microseconds, the width of the narrowest rollups."""

WIDTHS: Final = (15, 60, 360, 1440)
"""The minutes that rollups of kinds span, each a multiple of the one before."""

DAY_US: Final = 86_400_000_000

SPAN_US: Final = DAY_US // 4
"""What actors and resources are joined over once it has passed."""

_QUARTERS_A_SPAN: Final = SPAN_US // QUARTER_US


class KindAt(NamedTuple):
    """Events of one kind in one quarter of an hour.

    Attributes:
        quarter: Which, counted from 1970 in UTC.
        day: That of their arrival, likewise.
        kind: As in `query.facets`.
    """

    quarter: int
    day: int
    kind: str


class Part(NamedTuple):
    """Where the events of actors or resources in one quarter of an hour are counted; as of a `KindAt`."""

    facet: Facet
    quarter: int
    day: int


@dataclass(frozen=True, slots=True)
class Increments:
    """What is to be added.

    Attributes:
        kinds: Events of each kind.
        parts: Events of each actor and of each resource, as `query.facets` writes them.
    """

    kinds: "Counter[KindAt]" = field(default_factory=Counter["KindAt"])
    parts: "dict[Part, Counter[str]]" = field(default_factory=dict["Part", "Counter[str]"])

    def add(self, events: Sequence[LoggedEvent]) -> None:
        """Count events."""
        together: defaultdict[tuple[int, int], list[tuple[str, str, str]]] = defaultdict(list)
        for event in events:
            facets = facets_of(cast("dict[str, object]", orjson.loads(event.body)))
            together[event.occurred_us // QUARTER_US, event.received_us // DAY_US].append(facets)
        for (quarter, day), found in together.items():
            kinds, actors, resources = map(Counter, zip(*found, strict=True))
            for kind, number in kinds.items():
                self.kinds[KindAt(quarter, day, kind)] += number
            self._add_part(Part("actor", quarter, day), actors)
            self._add_part(Part("resource", quarter, day), resources)

    def _add_part(self, part: Part, values: "Counter[str]") -> None:
        values.pop("", None)
        if values:
            self.parts.setdefault(part, Counter()).update(values)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Spans in which they occurred, and days on which they arrived, counted from 1970."""
        return sorted({(at.quarter // _QUARTERS_A_SPAN, at.day) for at in self.kinds})

    def kind_rows(self) -> list[tuple[int, int, str, str, str, int]]:
        """Quarter, day of arrival, action, resource type, severity, events."""
        rows: list[tuple[int, int, str, str, str, int]] = []
        for at, events in sorted(self.kinds.items()):
            action, resource_type, severity = read_kind(at.kind)
            rows.append((at.quarter, at.day, action, resource_type, severity, events))
        return rows

    def values_of_spans(self, spans: set[int]) -> list[tuple[int, int, str, str, int]]:
        """Of some spans: span, day of arrival, facet, value, events."""
        counted: Counter[tuple[int, int, str, str]] = Counter()
        for part, values in self.parts.items():
            span = part.quarter // _QUARTERS_A_SPAN
            if span in spans:
                for value, events in values.items():
                    counted[span, part.day, part.facet, value] += events
        return [(*at, events) for at, events in sorted(counted.items())]
