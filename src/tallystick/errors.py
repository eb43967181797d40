"""Every error that Tallystick answers with, in one tree.

::

    TallystickError
    ├── BadRequestError            400  the request cannot be read
    ├── UnauthenticatedError       401  no token, or one that does not hold
    ├── ForbiddenError             403  the token does not allow this
    ├── NotFoundError              404
    ├── RequestTimeoutError        408  the body did not arrive in time
    ├── ConflictError              409  the same key came with other content
    ├── GoneError                  410  retention or erasure removed it
    ├── TooLargeError              413
    ├── UnsupportedMediaError      415
    ├── RangeNotSatisfiableError   416  a range beyond the end
    ├── InvalidError               422  read, but not valid: says where
    ├── RateLimitedError           429  wait, then retry
    └── UnavailableError           503  wait, then retry
        ├── OverloadedError             a queue is full
        ├── DatabaseDownError           the database does not answer
        ├── SearchDownError             the search index does not answer
        ├── ObjectsDownError            the object store does not answer
        └── KeysDownError               who holds the master key does not answer
    ConfigurationError                  never on the wire: a setting or an environment to mend

`api.problems` renders them as problem details (RFC 9457). ``type`` is a stable URI reference made from ``slug``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong in a request.

    Attributes:
        detail: What is wrong and how to mend it.
        pointer: JSON Pointer (RFC 6901) into the body, or None.
        parameter: Name of the query parameter or header, or None.
        index: Position of the event in a bulk request, from 0, or None.
    """

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    index: int | None = None

    def as_json(self) -> dict[str, str | int]:
        """The flaw as a member of the problem's ``errors``: absent members stay absent."""
        members = {
            "index": self.index,
            "pointer": self.pointer,
            "parameter": self.parameter,
            "detail": self.detail,
        }
        return {name: value for name, value in members.items() if value is not None}


class TallystickError(Exception):
    """An error with a place on the wire.

    Args:
        detail: What happened and what the caller can do, for a person to read.
        flaws: The single faults, where there are several or one has a place.
        retry_after: Seconds after which a retry makes sense (RFC 9110 §10.2.3).
        headers: Further response headers.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The server failed"

    def __init__(
        self,
        detail: str,
        *,
        flaws: Sequence[Flaw] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.flaws = tuple(flaws)
        self.retry_after = retry_after
        self.headers = dict(headers or {})


class BadRequestError(TallystickError):
    """The request cannot be read at all."""

    status = HTTPStatus.BAD_REQUEST
    slug = "bad-request"
    title = "The request cannot be read"


class UnauthenticatedError(TallystickError):
    """No token, or one that is malformed, expired, revoked or from an unknown issuer."""

    status = HTTPStatus.UNAUTHORIZED
    slug = "unauthenticated"
    title = "A valid token is needed"


class ForbiddenError(TallystickError):
    """The principal is known and may not do this."""

    status = HTTPStatus.FORBIDDEN
    slug = "forbidden"
    title = "The token does not allow this"


class NotFoundError(TallystickError):
    """Nothing by that name that the principal may see."""

    status = HTTPStatus.NOT_FOUND
    slug = "not-found"
    title = "Not found"


class RequestTimeoutError(TallystickError):
    """The body did not arrive within the time it has; nothing was stored."""

    status = HTTPStatus.REQUEST_TIMEOUT
    slug = "request-timeout"
    title = "The body did not arrive in time"


class ConflictError(TallystickError):
    """The request contradicts what is stored."""

    status = HTTPStatus.CONFLICT
    slug = "conflict"
    title = "This contradicts what is stored"


class GoneError(TallystickError):
    """It was here and was removed, by retention or on order."""

    status = HTTPStatus.GONE
    slug = "gone"
    title = "Removed"


class TooLargeError(TallystickError):
    """The body is over its limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "too-large"
    title = "The request is too large"


class UnsupportedMediaError(TallystickError):
    """A content type or encoding that is not understood."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    slug = "unsupported-media-type"
    title = "The content type or encoding is not supported"


class RangeNotSatisfiableError(TallystickError):
    """The range of bytes that was asked for lies beyond the end."""

    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    slug = "range-not-satisfiable"
    title = "The range lies beyond the end"


class InvalidError(TallystickError):
    """Well formed, but not valid; `flaws` says where."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "invalid"
    title = "The request is not valid"


class RateLimitedError(TallystickError):
    """The principal or its tenant used up its share for now, or an address failed too often to authenticate."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "rate-limited"
    title = "Too many requests"


class UnavailableError(TallystickError):
    """The service cannot answer now; the same request may succeed later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "unavailable"
    title = "Try again later"

    def __init__(self, detail: str, *, retry_after: int = 1, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail, retry_after=retry_after, headers=headers)


class OverloadedError(UnavailableError):
    """A bounded queue is full: pushback, nothing was stored."""

    slug = "overloaded"
    title = "The server is at its limit"


class DatabaseDownError(UnavailableError):
    """The database does not answer; nothing was acknowledged."""

    slug = "database-down"
    title = "The database does not answer"


class SearchDownError(UnavailableError):
    """The search index does not answer. Time-ordered listings without filters go on without it."""

    slug = "search-down"
    title = "The search index does not answer"


class ObjectsDownError(UnavailableError):
    """The object store does not answer, or refuses. Only what is kept there waits for it."""

    slug = "objects-down"
    title = "The object store does not answer"


class KeysDownError(UnavailableError):
    """Who holds the master key does not answer, or refuses. Only what needs a tenant's keys waits for it."""

    slug = "keys-down"
    title = "The keys cannot be reached"


class ConfigurationError(Exception):
    """A setting or an environment that a person must mend; the message says how. Never on the wire."""
