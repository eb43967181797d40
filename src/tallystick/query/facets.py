"""What events are counted by: their kind, who did it, and what it was done to, each as one string."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias, cast

import orjson

Facet: TypeAlias = Literal["kind", "actor", "resource"]

FACETS: Final[tuple[Facet, ...]] = ("kind", "actor", "resource")
"""In the order of `facets_of`."""

_COUNTED: Final = ("action", "resource_type", "severity", "resource_id", "user_id")
_REMEMBERED_KINDS: Final = 1 << 12


class Kind(NamedTuple):
    """What every event has, and few logs have many of. Counted together, each of the three can be told from it."""

    action: str
    resource_type: str
    severity: str


class Resource(NamedTuple):
    """A thing that something was done to."""

    resource_type: str
    resource_id: str


def facets_of(body: Mapping[str, object]) -> tuple[str, str, str]:
    """What an event is counted by, in the order of `FACETS`; "" where it has none.

    Args:
        body: The stored body, parsed.
    """
    action, resource_type, severity, resource_id, actor = [
        value if isinstance(value, str) else "" for value in map(body.get, _COUNTED)
    ]
    resource = _key((resource_type, resource_id)) if resource_id else ""
    return _kind_key(action, resource_type, severity), actor, resource


def read_kind(key: str) -> Kind:
    """Read what `facets_of` wrote."""
    return Kind(*cast("list[str]", orjson.loads(key)))


def read_resource(key: str) -> Resource:
    """Read what `facets_of` wrote."""
    return Resource(*cast("list[str]", orjson.loads(key)))


@lru_cache(maxsize=_REMEMBERED_KINDS)
def _kind_key(*kind: str) -> str:
    return _key(kind)


def _key(values: tuple[str, ...]) -> str:
    return orjson.dumps(values).decode()
