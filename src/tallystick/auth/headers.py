"""Headers of a request by name, looked for among the bytes as the server has them.

Starlette's mapping makes an object for each request, and an exception for each header that is not there.
"""

from starlette.types import Scope


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first header of a name in lower case, or None."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """All headers of a name in lower case, in their order."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
