"""Refusals with the challenge of RFC 6750 §3: they say what is wrong with a token and nothing else."""

from dataclasses import dataclass
from typing import Final, TypeVar

from tallystick.auth.model import Principal
from tallystick.errors import ForbiddenError, TallystickError, UnauthenticatedError

REALM: Final = "tallystick"

_REFUSED: Final = "__tallystick_refused__"

_Error = TypeVar("_Error", bound=TallystickError)


@dataclass(frozen=True, slots=True)
class Refused:
    """Who was refused, where that is known.

    Attributes:
        principal: Who.
        tenant_id: The tenant they wanted to do something in, or None.
    """

    principal: Principal
    tenant_id: str | None


def blaming(error: _Error, principal: Principal, tenant_id: str | None) -> _Error:
    """Put down who was refused, for the access log."""
    setattr(error, _REFUSED, Refused(principal, tenant_id))
    return error


def refused_of(error: TallystickError) -> Refused | None:
    """Who was refused, or None where that is not known."""
    found = getattr(error, _REFUSED, None)
    return found if isinstance(found, Refused) else None


def challenge(problem: str | None) -> UnauthenticatedError:
    """A 401.

    Args:
        problem: What is wrong with the token, or None when there is none (RFC 6750 §3.1: then no error is named).
    """
    if problem is None:
        return UnauthenticatedError(
            "send a token: `Authorization: Bearer <token>`",
            headers={"WWW-Authenticate": f'Bearer realm="{REALM}"'},
        )
    value = f'Bearer realm="{REALM}", error="invalid_token", error_description="{_quotable(problem)}"'
    return UnauthenticatedError(problem, headers={"WWW-Authenticate": value})


def insufficient_scope(scope: str) -> ForbiddenError:
    """A 403 for a token whose scopes leave the permission out."""
    value = f'Bearer realm="{REALM}", error="insufficient_scope", scope="{_quotable(scope)}"'
    return ForbiddenError(
        f"the token's scopes leave out `{scope}`; use one without scopes, or with this one",
        headers={"WWW-Authenticate": value},
    )


def _quotable(text: str) -> str:
    """The characters that RFC 6750 §3 allows in ``error_description``, others replaced."""
    return "".join("'" if c == '"' else c if " " <= c <= "~" and c != "\\" else "?" for c in text)
