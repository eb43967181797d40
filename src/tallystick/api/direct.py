"""Routes whose endpoint takes the request alone, called without FastAPI's dependency machinery.

FastAPI documents them as any other. What is left out at each request (two exit stacks, an empty dependency graph to
solve, a second layer of exception handling) took more time than storing the event.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """An API route that calls an asynchronous endpoint of one parameter, ``request``, directly."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401  # as APIRoute's
        super().__init__(path, endpoint, **options)
        if list(inspect.signature(endpoint).parameters) == ["request"]:
            call: Callable[[Request], Awaitable[Response]] = endpoint

            async def direct(scope: Scope, receive: Receive, send: Send) -> None:
                response = await call(Request(scope, receive, send))
                await response(scope, receive, send)

            self.app = direct
