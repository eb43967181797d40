"""The application: the capabilities' routes under `/api/v1`, health and documentation, and one layer around all."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import Receive, Scope, Send

from tallystick import __version__
from tallystick.access_log.requests import recorded, recorded_stream
from tallystick.access_log.service import AccessLog
from tallystick.api.direct import DirectPaths, DirectRoute
from tallystick.api.docs import docs_routes
from tallystick.api.forwarded import Proxies
from tallystick.api.health import health_routes
from tallystick.api.jobs import job_routes
from tallystick.api.metrics import HttpMetrics
from tallystick.api.middleware import Edge
from tallystick.api.problems import install_problem_handlers
from tallystick.api.tracing import TracedRequests
from tallystick.auth.operations import EVENTS, READINGS, Realm
from tallystick.auth.routing import operation_of
from tallystick.bootstrap.services import Services
from tallystick.export.routes import export_routes
from tallystick.export.stored_routes import stored_routes
from tallystick.history.reveal_routes import reveal_routes
from tallystick.history.routes import history_routes
from tallystick.log.routes_read import read_routes
from tallystick.log.routes_write import write_routes
from tallystick.retention.offboarding_routes import offboarding_routes
from tallystick.retention.routes import cleanup_routes
from tallystick.search.routes import search_routes
from tallystick.settings import ApiSettings
from tallystick.stats.routes import stats_routes
from tallystick.stream.routes import stream_routes
from tallystick.tenants.routes import tenant_routes
from tallystick.tenants.routes_mask import mask_routes
from tallystick.tracing import UNTRACED, Tracing

PREFIX = "/api/v1"


class Application(FastAPI):
    """FastAPI's application, whose requests go straight to our layers: it would ask first what telemetry they need."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket, or tell of begin and end."""
        if scope["type"] == "lifespan" or self.middleware_stack is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)


def _add(app: FastAPI, router: APIRouter, log: AccessLog, prefix: str = "") -> None:
    """Add a router's routes one by one, each recorded as its operation says.

    `include_router` would keep them nested and match each request twice, at 7 µs, and the access line could not
    name the whole template of the route.
    """
    for route in router.routes:
        if isinstance(route, APIWebSocketRoute):
            app.add_api_websocket_route(prefix + route.path, _recorded(route, log), route.name)
            continue
        if not isinstance(route, APIRoute):
            raise TypeError(f"{route} is not an API route")
        app.add_api_route(
            prefix + route.path,
            _recorded(route, log),
            methods=sorted(route.methods or ()),
            name=route.name,
            operation_id=route.operation_id,
            tags=route.tags,
            summary=route.summary,
            description=route.description,
            response_description=route.response_description,
            response_model=route.response_model,
            response_class=route.response_class,
            status_code=route.status_code,
            responses=route.responses,
            openapi_extra=route.openapi_extra,
            include_in_schema=route.include_in_schema,
            deprecated=route.deprecated,
        )


def _recorded(route: APIRoute | APIWebSocketRoute, log: AccessLog) -> Callable[..., Any]:
    """The endpoint of a route, which is recorded unless it declares that it is public."""
    operation = operation_of(route)
    if operation is None:
        raise TypeError(f"{route.path} declares no operation: see auth.routing.performs")
    if operation.realm is Realm.PUBLIC:
        return route.endpoint
    wrap = recorded_stream if isinstance(route, APIWebSocketRoute) else recorded
    return wrap(route.endpoint, operation, log)


def surround(app: FastAPI, metrics: HttpMetrics, settings: ApiSettings, tracing: Tracing = UNTRACED) -> None:
    """Put our layers around the routes.

    They stand in place of Starlette's, the outermost of which answers bugs in plain text and raises them again.
    """
    handlers = dict(app.exception_handlers)
    searched = ExceptionMiddleware(AsyncExitStackMiddleware(app.router), handlers)
    routes = DirectPaths(searched, app.routes, handlers)
    inner = TracedRequests(routes, tracing) if tracing.on else routes
    app.middleware_stack = Edge(
        inner, metrics, settings.max_body_bytes, Proxies(settings.trusted_proxies), hsts=settings.hsts
    )


def create_app(services: Services) -> FastAPI:
    """Make the application of one process.

    Args:
        services: Running; they outlive the application.
    """
    app = Application(
        title="Tallystick",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.router.route_class = DirectRoute
    install_problem_handlers(app)
    log = services.access_log
    # The hottest path first: routes are tried in order.
    _add(app, write_routes(services.writer, services.gate, services.masking, services.settings), log, PREFIX)
    _add(app, mask_routes(services.gate, services.masking, services.settings), log, PREFIX)
    for of in READINGS.values():
        _add(app, search_routes(services.search, services.gate, services.settings, of), log, PREFIX)
        # Before those of one event, whose path may be anything.
        _add(app, export_routes(services.exports, services.gate, services.settings.api.read_timeout, of), log, PREFIX)
        _add(app, stream_routes(services.streams, services.gate, of), log, PREFIX)
        if of is EVENTS:
            _add(app, stats_routes(services.stats, services.gate), log, PREFIX)
        if of is EVENTS:
            _add(app, cleanup_routes(services.cleanups, services.gate), log, PREFIX)
            _add(app, offboarding_routes(services.offboardings, services.gate), log, PREFIX)
        _add(app, read_routes(services.reader, services.gate, of), log, PREFIX)
    _add(app, stored_routes(services.stored_exports, services.gate, services.settings), log, PREFIX)
    _add(app, history_routes(services.search, services.gate), log, PREFIX)
    _add(app, reveal_routes(services.reveals, services.gate, services.settings), log, PREFIX)
    _add(app, tenant_routes(services.tenants, services.gate, services.settings), log, PREFIX)
    _add(app, job_routes(services.jobs, services.gate, services.settings), log, PREFIX)
    _add(app, health_routes(services), log)
    _add(app, docs_routes(app), log)
    surround(app, HttpMetrics(services.registry), services.settings.api, services.tracing)
    return app
