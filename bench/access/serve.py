"""An API process beside those of an installation: the product's own application, or one that records no reads.

`tallystick bench access` compares the two. The second is put together here, of the product's own routes, since the
product has neither a setting nor an argument that would do it; see README.md.
"""

import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import uvloop
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.responses import Response

from tallystick.api.app import PREFIX, create_app, surround
from tallystick.api.direct import DirectRoute
from tallystick.api.health import health_routes
from tallystick.api.metrics import HttpMetrics
from tallystick.api.problems import install_problem_handlers
from tallystick.auth.access import Access
from tallystick.auth.operations import EVENTS
from tallystick.auth.recording import Asked
from tallystick.bootstrap.services import Services, services
from tallystick.log.routes_read import read_routes
from tallystick.log.routes_write import write_routes
from tallystick.runtime.serving import open_socket, serve
from tallystick.search.routes import search_routes
from tallystick.settings import Settings
from tallystick.tenants.routes_mask import mask_routes

Endpoint = Callable[..., Awaitable[Response]]


class NoRecord:
    """Takes what a request tells of itself (`auth.recording.Record`) and forgets it."""

    async def begin(self, access: Access, asked: Asked) -> None:
        """Forget who asks for what."""

    async def durable(self) -> None:
        """Wait for nothing."""

    def tell(self, **outcome: object) -> None:
        """Forget it."""

    def concern(self, *tenant_ids: str) -> None:
        """Forget it."""

    def go_on(self) -> None:
        """Forget it."""

    async def failed(self, error: Exception) -> None:
        """Forget it."""

    def end(self, *, completed: bool, **outcome: object) -> None:
        """Forget it."""


def unrecorded(endpoint: Endpoint) -> Endpoint:
    """Call an endpoint as `access_log.requests.recorded` does, and record nothing."""

    @wraps(endpoint)
    async def call(*arguments: Any, **options: Any) -> Response:  # noqa: ANN401  # the endpoint's own
        request = options["request"] if "request" in options else arguments[0]
        request.state.record = NoRecord()
        return await endpoint(*arguments, **options)

    return call


def create_unrecorded(made: Services) -> FastAPI:
    """Writes, searches and reads of events, in the order in which the product tries their routes."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.router.route_class = DirectRoute
    install_problem_handlers(app)
    _add(app, write_routes(made.writer, made.gate, made.masking, made.settings), PREFIX)
    _add(app, mask_routes(made.gate, made.masking, made.settings), PREFIX)
    _add(app, search_routes(made.search, made.gate, made.settings, EVENTS), PREFIX)
    _add(app, read_routes(made.reader, made.gate, EVENTS), PREFIX)
    _add(app, health_routes(made), "")
    surround(app, HttpMetrics(made.registry), made.settings.api)
    return app


def _add(app: FastAPI, router: APIRouter, prefix: str) -> None:
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.add_api_route(
                prefix + route.path,
                unrecorded(route.endpoint),
                methods=sorted(route.methods or ()),
                response_model=route.response_model,
                response_class=route.response_class,
                status_code=route.status_code,
            )


async def main(kind: str, descriptor: int, watched: int) -> None:
    """Serve until told to stop, or until whoever started it is gone."""
    settings = Settings()
    listener = open_socket(settings, descriptor)
    async with services(settings) as made:
        app = {"recorded": create_app, "unrecorded": create_unrecorded}[kind](made)
        await serve(app, settings, listener, watched, made.lifecycle.drain)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
