"""Conditional requests: whether a client has already what it asks for."""

from starlette.requests import Request


def has_copy(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` names this entity tag, compared weakly (RFC 9110 §13.1.2).

    Args:
        request: The header may come in several lines, each a list.
        tag: With its quotes.
    """
    lines = request.headers.getlist("if-none-match")
    named = [each.strip().removeprefix("W/") for line in lines for each in line.split(",")]
    return tag in named or "*" in named
