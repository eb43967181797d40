"""The OpenAPI 3.0.3 document: what FastAPI emits, rewritten, and completed with what holds for all operations."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from tallystick import __version__
from tallystick.api.dialect import Json, to_3_0
from tallystick.api.problems import MEDIA_TYPE, problem_classes, problem_document
from tallystick.auth.operations import OPERATIONS, Realm
from tallystick.errors import Flaw, InvalidError, TallystickError

VERSION: Final = "3.0.3"

_DESCRIPTION: Final = """\
Applications append events of who did what to which resource. Each one is kept, in an order without gaps, and can be
proved unaltered.

What is stored can be watched as it is stored, over the WebSockets `/api/v1/logs/stream` and
`/api/v1/access-logs/stream`. This document has no words for
them; the API reference in `docs/reference/api.md` has.

Send `Authorization: Bearer <token>`. Every answer carries `X-Request-Id`; every error is a problem document (RFC 9457).
"""

_EXAMPLE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"

_DETAILS: Final[Mapping[int, str]] = {
    400: "the gzip data ends too early",
    401: "the token has expired",
    403: "this needs the permission `logs:read`, which the token's role does not grant",
    404: "there is nothing by this name",
    408: "the body did not arrive within 30 s; send it again, in parts if the line is slow",
    413: "the body may have up to 16777216 bytes: send less at a time",
    415: "send the body as application/json",
    422: "the request is not valid: `errors` says where",
    429: "of the 3000000 a minute that a principal may use 0 are left; try again in 12 s",
    500: "an unexpected failure; whoever runs this server finds it in the log by the id in `instance`",
    503: "the database does not answer, and nothing was stored; send the request again",
}

_PROBLEM_SCHEMA: Final[Json] = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "Names the kind of problem; leads to a page that says how to mend it.",
        },
        "title": {"type": "string", "description": "The kind of problem, for people."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What happened and what to do."},
        "instance": {
            "type": "string",
            "format": "uri-reference",
            "description": "Names this occurrence; ends in the value of X-Request-Id.",
        },
        "errors": {
            "type": "array",
            "description": "The single faults.",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {"type": "string"},
                    "pointer": {"type": "string", "description": "JSON Pointer (RFC 6901) into the body or the event."},
                    "parameter": {"type": "string", "description": "Name of the query parameter or header."},
                    "index": {"type": "integer", "description": "Position of the event in a bulk request."},
                },
            },
        },
    },
}


def _operations(document: Json) -> Iterator[Json]:
    for path in document["paths"].values():
        for method, operation in path.items():
            if method in ("get", "put", "post", "delete", "options", "head", "patch"):
                yield operation


def _rewrite_contents(holder: Json, schemas: Json) -> None:
    """Rewrite the schemas of a body, response, parameter or header; definitions move to the components."""
    for place in (holder, *holder.get("content", {}).values()):
        schema = place.get("schema")
        if schema is None:
            continue
        for name, definition in schema.get("$defs", {}).items():
            schemas.setdefault(name, to_3_0(definition))
        title = schema.get("title")
        rewritten = to_3_0(schema)
        if "$defs" in schema or (title and schema.get("type") == "object" and title.isidentifier()):
            schemas.setdefault(title, rewritten)
            rewritten = {"$ref": f"#/components/schemas/{title}"}
        place["schema"] = rewritten


def _class_of(status: int) -> type[TallystickError]:
    return next(cls for cls in problem_classes().values() if cls.status == status)


def _problem_response(status: int, description: str) -> Json:
    error = _class_of(status)(_DETAILS.get(status, description))
    if isinstance(error, InvalidError):
        error.flaws = (Flaw("is required", pointer="/name"),)
    example = problem_document(error, _EXAMPLE_ID)
    return {
        "description": description,
        "headers": _headers(status),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }


def _problem_responses() -> Json:
    statuses = sorted({cls.status.value for cls in problem_classes().values()})
    return {f"Problem{status}": _problem_response(status, f"{_class_of(status).title}.") for status in statuses}


def _headers(status: int) -> Json:
    headers: Json = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    if status in (429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if status == 401:
        headers["WWW-Authenticate"] = {"description": "RFC 6750 §3.", "schema": {"type": "string"}}
    return headers


def _statuses(operation: Json) -> list[int]:
    """The errors that an operation may answer with, whatever else it declares."""
    registered = OPERATIONS.get(operation["operationId"])
    statuses = [500, 503]
    if registered is not None:
        statuses += [401, 403, 422, 429]
        if registered.realm is Realm.TENANT:
            statuses += [404]
    if "requestBody" in operation:
        statuses += [400, 408, 413, 415, 422]
    return statuses


def _complete(operation: Json) -> None:
    if operation["operationId"] not in OPERATIONS:
        operation["security"] = []
    responses: Json = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status, response in responses.items():
        if int(status) < 400:
            response.setdefault("headers", {}).update(_headers(int(status)))
    declared = {int(status) for status in responses if int(status) >= 400}
    for status in sorted(declared | set(_statuses(operation))):
        described = responses.get(str(status), {}).get("description")
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
        if described and described not in operation.get("description", ""):
            responses[str(status)] = _problem_response(status, described)
    operation["responses"] = dict(sorted(responses.items()))


def _restore_examples(document: Json, app: FastAPI) -> None:
    """Put the examples back as they were declared: FastAPI leaves out every member of them that is null."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            declared = {"responses": {str(status): value for status, value in route.responses.items()}}
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                _restore(operation, {**declared, **(route.openapi_extra or {})})


def _restore(emitted: Json, declared: Mapping[str, Any]) -> None:
    for name, value in declared.items():
        if name in ("example", "examples"):
            emitted[name] = value
        elif isinstance(value, dict) and isinstance(emitted.get(name), dict):
            _restore(emitted[name], cast("Json", value))


def openapi_document(app: FastAPI) -> Json:
    """The OpenAPI document of the application, valid as 3.0.3."""
    document: Json = get_openapi(
        title="Tallystick", version=__version__, description=_DESCRIPTION, routes=app.routes, openapi_version=VERSION
    )
    _restore_examples(document, app)
    components: Json = document.setdefault("components", {})
    schemas: Json = components.get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["schemas"] = schemas = {name: to_3_0(schema) for name, schema in schemas.items()}
    schemas["Problem"] = _PROBLEM_SCHEMA
    components["responses"] = _problem_responses()
    components["headers"] = {
        "RequestId": {
            "description": "The id under which this request is found in the server's log.",
            "schema": {"type": "string", "example": _EXAMPLE_ID},
        },
        "RetryAfter": {"description": "Seconds to wait.", "schema": {"type": "integer", "example": 2}},
    }
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A signed token."}
    }
    document["security"] = [{"bearer": []}]
    document["info"]["license"] = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
    for operation in _operations(document):
        _complete(operation)
        for holder in (
            operation.get("requestBody"),
            *operation.get("parameters", ()),
            *operation["responses"].values(),
        ):
            if holder is not None and "$ref" not in holder:
                _rewrite_contents(holder, schemas)
                for header in holder.get("headers", {}).values():
                    _rewrite_contents(header, schemas)
    return document
