"""Makes the collection (Postman Collection v2.1) and its environment of the OpenAPI document and what is declared."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, cast
from urllib.parse import urlsplit

from described import Described, Json, document, examples, operations, resolved
from postman.declaring import JSON, PROBLEM, Example, Request
from tallystick.auth.operations import OPERATIONS
from tallystick.settings import Settings

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
"""Says to Postman what the file is."""

DESCRIPTION: Final = """\
Every operation of the API, once as it succeeds and once as it is refused, with tests.

Take the environment *Tallystick*, put your token into its variable `token`, and run the collection, or a folder from
its top: later requests use what earlier ones answered. It may be run again and again. Events go into the tenant
`tenant_id`; a tenant of its own is made to be renamed and suspended, for which the token must be a platform admin's.
"""

FOLDERS: Final[Mapping[str, str]] = {
    "health": "Is it there, and may it be asked? These need no token.",
    "tenants": "Each tenant has a log of its own, and sees no other's. Making and suspending are for platform admins.",
    "logs": "Append events, read them back, find them, and tell what belongs together.",
    "access logs": "Who looked at or changed what: the audit of the audit, in a log of its own.",
    "exports": "Large exports as files, which a job writes and only you can fetch.",
    "jobs": "What takes long: a worker does it.",
}
"""Every tag of the OpenAPI document in the order in which it is learnt, and what a person should know of it first."""

Declared = Mapping[str, Sequence[Request]]


def environment() -> Json:
    """The variables that a person sets. The token is a secret, and empty."""
    port = Settings.model_fields["port"].default
    return {
        "name": "Tallystick",
        "values": [
            {"key": "base_url", "value": f"http://127.0.0.1:{port}", "type": "default", "enabled": True},
            {"key": "token", "value": "", "type": "secret", "enabled": True},
            {"key": "tenant_id", "value": "default", "type": "default", "enabled": True},
        ],
        "_postman_variable_scope": "environment",
    }


def collection(declared: Declared) -> Json:
    """The collection.

    Raises:
        ValueError: An operation lacks a request, or a request asks what the document does not know.
    """
    known = {operation.name: operation for operation in operations()}
    _require_all(known, declared)
    tags = list(FOLDERS)
    ordered = sorted((known[name] for name in declared), key=lambda operation: tags.index(operation.tag))
    return {
        "info": {"name": document()["info"]["title"], "description": DESCRIPTION, "schema": SCHEMA},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        "item": [
            {
                "name": tag.capitalize(),
                "description": FOLDERS[tag],
                "item": [_folder(operation, declared[operation.name], known) for operation in tagged],
            }
            for tag, tagged in groupby(ordered, key=lambda operation: operation.tag)
        ],
    }


def assertions(declared: Declared) -> int:
    """How many tests a run of the collection makes."""
    known = {operation.name: operation for operation in operations()}
    return sum(
        len(list(_tests(known[request.operation or name], request)))
        for name, requests in declared.items()
        for request in requests
    )


def _require_all(known: Mapping[str, Described], declared: Declared) -> None:
    """Refuse a declaration that leaves something out, or that is of nothing."""
    faults = [f"{name}: the API has no such operation" for name in declared if name not in known]
    for name, operation in known.items():
        own = [request for request in declared.get(name, ()) if request.operation is None]
        for wanted, there in (
            ("happy", any(request.problem is None for request in own)),
            ("unhappy", any(request.problem is not None for request in own)),
        ):
            if not there:
                faults.append(f"{name}: declare a request that is {wanted}, in scripts/postman/declared/")
        if operation.tag not in FOLDERS:
            faults.append(f"{name}: say in FOLDERS what its tag `{operation.tag}` is")
    if faults:
        raise ValueError("\n".join(faults))


def _folder(operation: Described, requests: Sequence[Request], known: Mapping[str, Described]) -> Json:
    registered = OPERATIONS.get(operation.name)
    needs = f"\n\nNeeds the permission `{registered.permission}`." if registered else ""
    shown = False
    items: list[Json] = []
    for request in requests:
        asked = known[request.operation or operation.name]
        complete = request.problem is None and asked is operation and not shown
        shown = shown or complete
        items.append(_item(asked, request, complete=complete))
    return {"name": operation.summary, "description": operation.json["description"] + needs, "item": items}


def _item(operation: Described, request: Request, *, complete: bool) -> Json:
    """A request.

    Args:
        operation: Whose it is.
        request: As it is declared.
        complete: Whether it shows every parameter, and the answers that the document has as examples.
    """
    _require_known(operation, request)
    asked: Json = {
        "method": request.method or operation.method,
        "header": [{"key": name, "value": value} for name, value in request.headers.items()],
        "url": _url(operation, request, complete=complete),
    }
    if request.body is not None:
        text, media_type = _body(operation, request.body)
        if "Content-Type" not in request.headers:
            asked["header"].append({"key": "Content-Type", "value": media_type})
        language = "json" if "json" in media_type and "ndjson" not in media_type else "text"
        asked["body"] = {"mode": "raw", "raw": text, "options": {"raw": {"language": language}}}
    if complete:
        asked["header"] += [
            {**_described(parameter), "disabled": True}
            for parameter in operation.parameters
            if parameter["in"] == "header" and parameter["name"] not in request.headers
        ]
    if not request.token:
        asked["auth"] = {"type": "noauth"}
    item: Json = {"name": request.name, "event": list(_scripts(operation, request)), "request": asked}
    if complete:
        item["response"] = list(_saved(operation, _only_what_is_sent(asked)))
    return item


def _require_known(operation: Described, request: Request) -> None:
    """Refuse a request that the document does not describe, but where that is what it shows."""
    place = f"{operation.name}, {request.name!r}"
    asked = {parameter["name"] for parameter in operation.parameters if parameter["in"] == "path"}
    if set(request.path) != asked:
        raise ValueError(f"{place}: give the path's parameters, which are {sorted(asked)}")
    known = {parameter["name"] for parameter in operation.parameters if parameter["in"] == "query"}
    if request.problem is None and (unknown := set(request.query) - known):
        raise ValueError(f"{place}: {sorted(unknown)} are no parameters of it")
    if request.method is None and str(request.status) not in operation.json["responses"]:
        raise ValueError(f"{place}: the document has no answer {request.status}")


def _url(operation: Described, request: Request, *, complete: bool) -> Json:
    path = re.sub(r"\{(\w+)\}", r":\1", operation.path)
    described = {parameter["name"]: _described(parameter) for parameter in operation.parameters}
    query = [{**described.get(name, {"key": name}), "value": value} for name, value in request.query.items()]
    raw = "{{base_url}}" + path + ("?" + "&".join(f"{each['key']}={each['value']}" for each in query) if query else "")
    if complete:
        query += [
            {**described[parameter["name"]], "disabled": True}
            for parameter in operation.parameters
            if parameter["in"] == "query" and parameter["name"] not in request.query
        ]
    url: Json = {"raw": raw, "host": ["{{base_url}}"], "path": urlsplit(path).path.strip("/").split("/")}
    if query:
        url["query"] = query
    if request.path:
        url["variable"] = [{**described[name], "value": value} for name, value in request.path.items()]
    return url


def _described(parameter: Json) -> Json:
    """A parameter with its example and its meaning."""
    example = parameter.get("example", parameter["schema"].get("default", ""))
    value = cast("list[object]", example)[0] if isinstance(example, list) else example
    return {"key": parameter["name"], "value": str(value), "description": parameter.get("description", "")}


def _body(operation: Described, body: Any) -> tuple[str, str]:  # noqa: ANN401 - any JSON value
    """The text of a body, and its media type."""
    if not isinstance(body, Example):
        return _written(body), JSON
    known = examples(operation.bodies[body.media_type])
    value: Any = known[body.name or next(iter(known))]
    if isinstance(body.changes, Mapping):
        return _written(_changed(value, body.changes)), body.media_type
    return _written([_changed(*each) for each in zip(value, body.changes, strict=True)]), body.media_type


def _changed(value: Any, changes: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    return {**value, **changes} if changes else value


def _written(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _scripts(operation: Described, request: Request) -> Iterator[Json]:
    before = [
        f'pm.collectionVariables.set("{name}", pm.variables.replaceIn("{value}"));'
        for name, value in request.lets.items()
    ]
    before += request.before.strip().splitlines()
    if before:
        yield {"listen": "prerequest", "script": {"type": "text/javascript", "exec": before}}
    after = [f"const answer = {_READ.get(request.media_type or '', 'pm.response.text()')};", ""]
    after += [f"pm.test({json.dumps(name)}, () => {check});" for name, check in _tests(operation, request)]
    after += [f'pm.collectionVariables.set("{name}", {value});' for name, value in request.keeps.items()]
    yield {"listen": "test", "script": {"type": "text/javascript", "exec": after}}


_READ: Final[Mapping[str, str]] = {
    JSON: "pm.response.json()",
    PROBLEM: "pm.response.json()",
    "application/x-ndjson": r'pm.response.text().trim().split("\n").map((line) => JSON.parse(line))',
}


def _tests(operation: Described, request: Request) -> Iterator[tuple[str, str]]:
    """What a request's answer is tested for: a name and an expression each."""
    yield f"The status is {request.status}", f"pm.response.to.have.status({request.status})"
    if request.media_type is None:
        yield "There is no body", 'pm.expect(answer).to.equal("")'
    else:
        content_type = (
            f'pm.expect(pm.response.headers.get("Content-Type").split(";")[0]).to.equal("{request.media_type}")'
        )
        yield f"It is {request.media_type}", content_type
    if request.problem is not None:
        yield f"It is the problem {request.problem}", f'pm.expect(answer.type).to.equal("/problems/{request.problem}")'
        found = 'pm.expect(answer.instance.split(":").pop()).to.equal(pm.response.headers.get("X-Request-Id"))'
        yield "It names its line in the server's log", found
    elif required := _required(operation, request):
        names = ", ".join(f'"{name}"' for name in required)
        yield "It has what the schema requires", f"pm.expect(answer).to.include.all.keys({names})"
    yield from request.checks.items()


def _required(operation: Described, request: Request) -> list[str]:
    """The members that the schema of an answer requires."""
    contents = resolved(operation.json["responses"][str(request.status)]).get("content", {})
    return resolved(contents[JSON]["schema"]).get("required", []) if request.media_type == JSON else []


def _only_what_is_sent(asked: Json) -> Json:
    """A request without what is switched off."""
    url = asked["url"]
    sent = {**url, "query": [each for each in url.get("query", []) if "disabled" not in each]}
    return {**asked, "header": [each for each in asked["header"] if "disabled" not in each], "url": sent}


def _saved(operation: Described, asked: Json) -> Iterator[Json]:
    """The answers that the document has as examples, as Postman shows them beside a request."""
    status, answer = operation.answer
    for media_type, content in resolved(answer).get("content", {}).items():
        for name, value in examples(content).items():
            yield {
                "name": f"Example: {status}" if name == "example" else f"Example: {name}",
                "originalRequest": asked,
                "code": status,
                "header": [{"key": "Content-Type", "value": media_type}],
                "body": _written(value),
            }
