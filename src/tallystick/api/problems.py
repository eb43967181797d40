"""Every error as a problem document (RFC 9457), whoever raised it: we, Starlette, FastAPI's validation, or a bug."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from tallystick.errors import Flaw, InvalidError, TallystickError

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger(__name__)


class _MethodNotAllowedError(TallystickError):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    slug = "method-not-allowed"
    title = "The method is not allowed here"


def _classes(root: type[TallystickError]) -> Iterator[type[TallystickError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


def problem_classes() -> dict[str, type[TallystickError]]:
    """Every kind of problem by its slug."""
    return {cls.slug: cls for cls in _classes(TallystickError)}


def instance_of(correlation_id: str) -> str:
    """The URN of one occurrence (RFC 9457 §3.1.5); it ends in the request's correlation id."""
    return f"urn:tallystick:request:{quote(correlation_id, safe='')}"


def problem_document(
    error: TallystickError, correlation_id: str, *, status: int | None = None, title: str | None = None
) -> dict[str, Any]:
    """The members of the problem document of an error.

    Args:
        error: What happened.
        correlation_id: The request's.
        status: In place of the error's own, where a foreign exception brought one that the tree does not have.
        title: In place of the error's own.
    """
    document: dict[str, Any] = {
        "type": f"/problems/{error.slug}" if title is None else "about:blank",
        "title": title or error.title,
        "status": int(status or error.status),
        "detail": error.detail,
        "instance": instance_of(correlation_id),
    }
    if error.flaws:
        document["errors"] = [flaw.as_json() for flaw in error.flaws]
    return document


def problem_response(error: TallystickError, correlation_id: str, members: Mapping[str, Any] | None = None) -> Response:
    """Render an error.

    Args:
        error: What happened.
        correlation_id: The request's.
        members: Extension members (RFC 9457 §3.2).
    """
    return _response(
        {**problem_document(error, correlation_id), **(members or {})},
        error.headers | ({"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}),
    )


def internal_error(correlation_id: str) -> Response:
    """The answer to a bug: nothing of it, but the id under which it was logged."""
    return problem_response(
        TallystickError("an unexpected failure; whoever runs this server finds it in the log by the id in `instance`"),
        correlation_id,
    )


def _response(document: dict[str, Any], headers: Mapping[str, str]) -> Response:
    if document["status"] == HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": "Bearer", **headers}
    return Response(
        orjson.dumps(document), status_code=document["status"], headers=dict(headers), media_type=MEDIA_TYPE
    )


def _correlation_id(request: Request) -> str:
    return cast("str", getattr(request.state, "correlation_id", "unknown"))


async def problem_of(request: Request, error: Exception) -> Response:
    """Answer an error of ours; where something else caused that this server is at fault, the log says so."""
    assert isinstance(error, TallystickError)  # noqa: S101 - Starlette's handler signature is wider than its promise
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and error.__cause__ is not None:
        _log.warning(
            "a request could not be served",
            slug=error.slug,
            cause=type(error.__cause__).__name__,
        )
    return problem_response(error, _correlation_id(request))


def allowed_methods(request: Request) -> list[str]:
    """The methods that the request's path knows, over all routes; empty when no route has that path."""
    methods: set[str] = set()
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    if not methods:
        return []
    return sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))


async def _http_exception(request: Request, error: Exception) -> Response:
    """What Starlette raises itself: an unknown path or method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = ", ".join(allowed_methods(request))
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": allow})
        return problem_response(
            _MethodNotAllowedError(f"this path answers {allow}", headers={"Allow": allow}), _correlation_id(request)
        )
    for cls in problem_classes().values():
        if cls.status == error.status_code:
            detail = (
                "there is nothing at this path; the paths are listed in /openapi.json"
                if error.status_code == HTTPStatus.NOT_FOUND
                else str(error.detail)
            )
            return problem_response(cls(detail, headers=headers), _correlation_id(request))
    status = HTTPStatus(error.status_code)
    document = problem_document(
        TallystickError(str(error.detail)), _correlation_id(request), status=status, title=status.phrase
    )
    return _response(document, headers)


def flaws_of(errors: Sequence[Any]) -> list[Flaw]:
    """Translate pydantic's errors, as FastAPI places them, into flaws. The rejected input itself is not repeated."""
    flaws: list[Flaw] = []
    for error in errors:
        place, *rest = error["loc"]
        detail = str(error["msg"])
        if place == "body":
            flaws.append(
                Flaw(detail, pointer="".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in rest))
            )
        else:
            flaws.append(Flaw(detail, parameter=".".join(map(str, rest)) or str(place)))
    return flaws


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    flaws = flaws_of(error.errors())
    return problem_response(
        InvalidError("the request is not valid: `errors` says where", flaws=flaws), _correlation_id(request)
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the application with a problem document; bugs are answered by `api.middleware`.

    The handlers are coroutines because Starlette would run plain functions in a thread.
    """
    app.add_exception_handler(TallystickError, problem_of)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
