"""How to mend each kind of problem: what `GET /problems/{slug}` answers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "internal-error": (
            "A fault of the server. Send the request again; if it fails again, give the id at the end of "
            "`instance` to whoever runs the server: the log has the rest under it."
        ),
        "bad-request": (
            "The request could not be read at all. `detail` says what is malformed; mend it before sending it again."
        ),
        "unauthenticated": (
            "Send `Authorization: Bearer <token>` with a token that is signed by a known issuer, has not "
            "expired and was not revoked. `tallystick token create` makes one."
        ),
        "forbidden": (
            "The token is good, but its role, its scopes or its tenants do not allow this. `detail` names "
            "what is missing."
        ),
        "not-found": "Nothing by this name exists that the token may see. Check the id, the path and the tenant.",
        "method-not-allowed": "The path exists, the method does not. The `Allow` header lists those that do.",
        "request-timeout": (
            "The body did not arrive within the time it has, and nothing of it was stored. Send it again; over a slow "
            "line in parts, or compressed."
        ),
        "conflict": (
            "The same key came before with other content, or the name is taken. Use a new key for new content."
        ),
        "gone": "It was here and was removed, by retention or on order. It does not come back.",
        "too-large": "The body is over a limit that `detail` names. Send less at a time.",
        "unsupported-media-type": "Send the content type or coding that `detail` names.",
        "range-not-satisfiable": (
            "The range of bytes lies beyond the end. `Content-Range` says how many there are; without `Range` all are "
            "sent."
        ),
        "invalid": (
            "The request could be read but does not hold. Each entry of `errors` names a place (`pointer` "
            "in the body, `parameter` otherwise, `index` in a bulk request) and what to mend there."
        ),
        "rate-limited": (
            "The principal or its tenant used up its share, or too much came from an address without a valid token. "
            "Wait as many seconds as `Retry-After` says; `RateLimit` tells what is left."
        ),
        "unavailable": (
            "The server cannot answer now. Send the same request again after `Retry-After` seconds; with "
            "`event_id` or `Idempotency-Key` that never stores anything twice."
        ),
        "overloaded": (
            "More arrives than can be stored. Nothing of this request was; send it again after `Retry-After` seconds."
        ),
        "database-down": (
            "The database does not answer. Nothing of this request was acknowledged; send it again after "
            "`Retry-After` seconds."
        ),
        "search-down": (
            "The search index does not answer, or is being made anew. Send the request again after `Retry-After` "
            "seconds, or list by time or by seq without filters, which needs no index."
        ),
        "objects-down": (
            "The object store does not answer. What it holds is not lost; send the request again after `Retry-After` "
            "seconds. Everything else goes on."
        ),
        "keys-down": (
            "The tenant's keys are needed for this, and who holds the master key does not answer or refuses. Send the "
            "request again after `Retry-After` seconds. What needs no keys goes on."
        ),
    }
)
"""By slug. A test holds this table and the error tree together."""
