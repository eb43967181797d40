"""Conditional requests: whether a client has already what it asks for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.requests import Request

OWN_COPY: Final[Mapping[str, str]] = MappingProxyType({"Cache-Control": "private, no-cache", "Vary": "Authorization"})
"""Headers of what a client may keep for itself alone, and must ask about before each use."""


def has_copy(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` names this entity tag, compared weakly (RFC 9110 §13.1.2).

    Args:
        request: The header may come in several lines, each a list.
        tag: With its quotes.
    """
    lines = request.headers.getlist("if-none-match")
    named = [each.strip().removeprefix("W/") for line in lines for each in line.split(",")]
    return tag in named or "*" in named
