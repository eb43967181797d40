"""Direct routes: which requests reach them without a search, and that they answer as all others do."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tallystick.api.app import surround
from tallystick.api.direct import DirectRoute
from tallystick.api.metrics import HttpMetrics
from tallystick.api.problems import install_problem_handlers
from tallystick.errors import NotFoundError, OverloadedError
from tallystick.settings import ApiSettings

SHARED = OverloadedError("full")


def told(*words: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(" ".join((*words, *request.path_params.values())))

    return endpoint


async def refusing(request: Request) -> Response:
    raise NotFoundError(f"nothing at {request.scope['path']}")


async def overloaded(request: Request) -> Response:  # noqa: ARG001 - as all endpoints
    raise SHARED


async def failing(request: Request) -> Response:  # noqa: ARG001 - as all endpoints
    raise RuntimeError("hunter2")


class Late(Response):
    """Fails when it is to be sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as all responses
        raise NotFoundError("gone before it began")


async def late(request: Request) -> Response:  # noqa: ARG001 - as all endpoints
    return Late()


async def _with_default(request: Request, size: int = 3) -> PlainTextResponse:  # noqa: ARG001 - as all endpoints
    return PlainTextResponse(str(size))


@pytest.fixture
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    app = FastAPI(openapi_url=None)
    app.router.route_class = DirectRoute
    install_problem_handlers(app)
    app.add_api_route("/things", told("made"), methods=["POST"])
    app.add_api_route("/things", told("listed"), methods=["GET"])
    app.add_api_route("/things/first", told("first"), methods=["GET"])
    app.add_api_route("/things/{name}", told("one"), methods=["GET"])
    app.add_api_route("/things/shadowed", told("never"), methods=["GET"])
    app.add_api_route("/sized", _with_default, methods=["GET"])
    for path, endpoint in {"/no": refusing, "/full": overloaded, "/bug": failing, "/late": late}.items():
        app.add_api_route(path, endpoint, methods=["GET"])
    surround(app, HttpMetrics(CollectorRegistry()), ApiSettings(max_body_bytes=1024))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tallystick.test") as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("POST", "/things", "made"),
        ("GET", "/things", "listed"),
        ("GET", "/things/first", "first"),
        ("GET", "/things/second", "one second"),
        ("GET", "/things/shadowed", "one shadowed"),
        ("GET", "/sized?size=5", "5"),
    ],
)
async def test_the_first_route_that_takes_a_request_answers_it(
    http: httpx.AsyncClient, method: str, path: str, text: str
) -> None:
    answer = await http.request(method, path)
    assert (answer.status_code, answer.text) == (200, text)


async def test_only_the_head_is_answered_where_only_the_head_is_asked_for(http: httpx.AsyncClient) -> None:
    answer = await http.head("/things")
    assert (answer.status_code, answer.headers["content-length"], answer.text) == (200, "6", "")


async def test_other_methods_of_a_path_are_refused_with_those_it_has(http: httpx.AsyncClient) -> None:
    answer = await http.put("/things")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert (await http.options("/things")).status_code == 204


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/no", 404, "not-found"),
        ("/bug", 500, "internal-error"),
        ("/late", 404, "not-found"),
        ("/far", 404, "not-found"),
    ],
)
async def test_errors_are_problem_documents(http: httpx.AsyncClient, path: str, status: int, slug: str) -> None:
    answer = await http.get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
    assert "hunter2" not in answer.text


async def test_an_error_that_many_get_holds_nothing_of_them(http: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await http.get("/full")).status_code == 503
    assert SHARED.__traceback__ is None
