"""Routes whose endpoint takes the request alone, called without the machinery of FastAPI and Starlette.

FastAPI documents them as any other. What is left out at each request (two exit stacks, an empty dependency graph to
solve, two layers of exception handling, the search for a route) took more time than storing the event.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from tallystick.api.problems import problem_of
from tallystick.errors import TallystickError

Endpoint = Callable[[Request], Awaitable[Response]]


class DirectRoute(APIRoute):
    """An API route that calls an asynchronous endpoint of one parameter, ``request``, directly.

    Attributes:
        direct: That endpoint, or None where it takes something else.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401  # as APIRoute's
        super().__init__(path, endpoint, **options)
        self.direct: Endpoint | None = None
        if list(inspect.signature(endpoint).parameters) == ["request"]:
            call: Endpoint = endpoint
            self.direct = call

            async def direct(scope: Scope, receive: Receive, send: Send) -> None:
                response = await call(Request(scope, receive, send))
                await response(scope, receive, send)

            self.app = direct


class DirectPaths:
    """Finds direct routes whose path has no parameters by the path itself; all else goes to the application inside.

    Args:
        app: It finds routes and answers errors as Starlette does.
        routes: All routes, in the order in which they are tried.
        handlers: Of errors, by class.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], handlers: Mapping[Any, ExceptionHandler]) -> None:
        self._app = app
        self._handlers = handlers
        self._routes: dict[tuple[str, str], tuple[DirectRoute, Endpoint]] = {}
        for route in routes:
            if isinstance(route, DirectRoute) and route.direct is not None and not route.param_convertors:
                for method in route.methods or ():
                    if _found(routes, method, route.path) is route:
                        self._routes[method, route.path] = (route, route.direct)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], endpoint = found
        scope["path_params"] = {}
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request)
        except TallystickError as error:
            response = await problem_of(request, error)
            error.__traceback__ = None  # the same may be raised to many; with each it would hold one more
        if response.__class__ is not Response:  # it may still fail while it is sent
            response = ExceptionMiddleware(response, self._handlers)
        await response(scope, receive, send)


def _found(routes: Sequence[BaseRoute], method: str, path: str) -> BaseRoute | None:
    """The route that is tried first of those that take a request."""
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)
