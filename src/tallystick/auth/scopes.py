"""The scope claim: what a token keeps of its role's permissions.

Space-separated, as in OAuth 2 (RFC 6749 §3.3)::

    scope     = permission [ ":resource_type=" type *( "," type ) ]
    type      = the resource type, percent-encoded where it holds a space, a comma or a percent sign

``logs:read`` keeps the permission; ``logs:read:resource_type=invoice,order`` keeps it for events of these types
alone. Several of one permission add up. Only ``logs:read`` can be narrowed to types. Whatever else the claim
holds (``openid``, a misspelt name) grants nothing, so that a token with a scope claim never holds more than it
names. A token without the claim is not narrowed.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from tallystick.auth.permissions import Permission

_TYPES: Final = ":resource_type="
_PERMISSIONS: Final = frozenset(permission.value for permission in Permission)


def parse_scopes(words: Iterable[str]) -> dict[str, frozenset[str] | None]:
    """The permissions that scopes keep, each with the resource types it is narrowed to, or None for all."""
    kept: dict[str, frozenset[str] | None] = {}
    for word in words:
        name, narrowed, listed = word.partition(_TYPES)
        if name not in _PERMISSIONS or (narrowed and name != Permission.LOGS_READ):
            continue
        types = frozenset(unquote(item) for item in listed.split(",") if item) if narrowed else None
        before = kept.get(name, frozenset())
        kept[name] = None if types is None or before is None else before | types
    return kept


def is_scope(word: str) -> bool:
    """Whether a word grants anything: what `tallystick token create` accepts."""
    return any(types is None or types for types in parse_scopes([word]).values())
