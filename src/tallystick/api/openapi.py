"""The OpenAPI 3.0.3 document: what FastAPI emits for 3.1, rewritten, and completed with what holds for every operation.

FastAPI describes schemas in JSON Schema 2020-12. OpenAPI 3.0 knows an older dialect (its §"Schema Object"): no
`null` type, no `const`, boolean `exclusiveMinimum`, one `example`, nothing beside a `$ref`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from tallystick import __version__
from tallystick.api.problems import MEDIA_TYPE, problem_classes, problem_document
from tallystick.auth.operations import OPERATIONS, Realm
from tallystick.errors import Flaw, InvalidError, TallystickError

Json: TypeAlias = dict[str, Any]

VERSION: Final = "3.0.3"

_DROPPED: Final = frozenset(
    {"$schema", "$id", "$comment", "$anchor", "$defs", "if", "then", "else", "propertyNames", "patternProperties"}
    | {"unevaluatedProperties", "unevaluatedItems", "dependentRequired", "dependentSchemas", "contains", "minContains"}
    | {"maxContains", "contentMediaType", "contentEncoding", "contentSchema"}
)
"""JSON Schema keywords that 3.0 lacks and a description can do without: they narrow, and the server still checks."""

_DESCRIPTION: Final = """\
Applications append events of who did what to which resource. Each one is kept, in an order without gaps, and can be
proved unaltered.

Send `Authorization: Bearer <token>`. Every answer carries `X-Request-Id`; every error is a problem document (RFC 9457).
"""

_NULL: Final[Json] = {"type": "null"}

_EXAMPLE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"

_DETAILS: Final[Mapping[int, str]] = {
    400: "the body is empty: send a JSON object",
    401: "the token has expired",
    403: "this needs the permission `logs:read`, which the token's role does not grant",
    404: "there is nothing by this name",
    413: "the body may have up to 16777216 bytes: send less at a time",
    415: "send the body with Content-Type: application/json",
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


def to_3_0(schema: object) -> Any:  # noqa: ANN401 - a JSON Schema is an object or, in 2020-12, a boolean
    """Rewrite one JSON Schema of 2020-12 as a Schema Object of OpenAPI 3.0."""
    if schema is True:
        return {}
    if schema is False:
        return {"not": {}}
    new = {name: _member(name, value) for name, value in cast("Json", schema).items() if name not in _DROPPED}
    _positional_items(new)
    _bounds(new)
    if "const" in new:
        new["enum"] = [new.pop("const")]
    if "examples" in new:
        examples = new.pop("examples")
        if examples:
            new.setdefault("example", examples[0])
    _types(new)
    _without_null(new)
    return _alone(new)


def _member(name: str, value: Any) -> Any:  # noqa: ANN401 - as above
    """The value of one keyword, with the schemas in it rewritten."""
    if name == "properties":
        return {key: to_3_0(schema) for key, schema in value.items()}
    if name in ("allOf", "anyOf", "oneOf"):
        return [part if part == _NULL else to_3_0(part) for part in value]
    if name in ("items", "not") or (name == "additionalProperties" and not isinstance(value, bool)):
        return to_3_0(value)
    return value


def _positional_items(schema: Json) -> None:
    if "prefixItems" not in schema:
        return
    items = [to_3_0(item) for item in schema.pop("prefixItems")]
    schema["items"] = {"anyOf": items} if items else {}


def _bounds(schema: Json) -> None:
    for exclusive, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        bound = schema.get(exclusive)
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            schema[plain] = bound
            schema[exclusive] = True


def _types(schema: Json) -> None:
    types = schema.get("type")
    if types == "null":
        del schema["type"]
        schema |= {"nullable": True, "enum": [None]}
    if not isinstance(types, list):
        return
    named = [name for name in cast("list[str]", types) if name != "null"]
    if len(named) < len(cast("list[str]", types)):
        schema["nullable"] = True
    del schema["type"]
    if len(named) == 1:
        schema["type"] = named[0]
    else:
        schema["anyOf"] = [{"type": name} for name in named]


def _without_null(schema: Json) -> None:
    """`anyOf: [X, null]` is X, nullable."""
    for name in ("anyOf", "oneOf"):
        parts = cast("list[Json]", schema.get(name, []))
        kept = [part for part in parts if part != _NULL]
        if len(kept) == len(parts):
            continue
        schema["nullable"] = True
        if len(kept) > 1:
            schema[name] = kept
            continue
        del schema[name]
        if not kept:
            schema["enum"] = [None]
        elif "$ref" in kept[0]:
            schema["allOf"] = kept
        else:
            schema |= {key: value for key, value in kept[0].items() if key not in schema}


def _alone(schema: Json) -> Json:
    """In 3.0 whatever stands beside a `$ref` is ignored, so the reference goes into an `allOf`."""
    if "$ref" in schema and len(schema) > 1:
        reference = schema.pop("$ref")
        schema["allOf"] = [{"$ref": reference}, *schema.get("allOf", [])]
    return schema


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
        statuses += [400, 413, 415, 422]
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
