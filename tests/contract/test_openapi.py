"""The document is valid as 3.0.3, says what is so of every operation, and its examples are true."""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, cast

import httpx
import jsonschema
import orjson
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

import described
from doors import Door
from factories import unique
from sealed_events import append_sealed
from tallystick.api.problems import problem_classes
from tallystick.auth.operations import OPERATIONS, STREAM_ACCESS_EVENTS, STREAM_EVENTS
from tallystick.auth.routing import operation_of

METHODS = ("get", "post", "put", "patch", "delete")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                yield path, method, methods[method]


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def examples_of(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    """Beside the schema, or within it."""
    named = [example["value"] for example in content.get("examples", {}).values()]
    schema = resolved(document, content["schema"])
    return named + [holder["example"] for holder in (content, schema) if "example" in holder]


@pytest.fixture
async def document(door: Door) -> dict[str, Any]:
    answer = await door.client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


async def test_it_is_valid_as_3_0_3(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.0.3"
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []


async def test_the_reference_and_the_collection_are_made_of_it(document: dict[str, Any]) -> None:
    assert described.document() == document


def newer(node: Any, path: str = "") -> Iterator[str]:
    """Where the document says what only 3.1 understands."""
    if isinstance(node, dict):
        node = cast("dict[str, Any]", node)
        for name in {"const", "prefixItems", "$defs", "if"} & set(node):
            if not path.endswith("/properties"):
                yield f"{path}: {name}"
        if ("$ref" in node and len(node) > 1) or isinstance(node.get("type"), list) or node.get("type") == "null":
            yield f"{path}: {node}"
        for name, value in node.items():
            if name not in ("example", "examples", "default", "value"):
                yield from newer(value, f"{path}/{name}")
    elif isinstance(node, list):
        for index, value in enumerate(cast("list[Any]", node)):
            yield from newer(value, f"{path}/{index}")


async def test_nothing_in_it_is_of_3_1(document: dict[str, Any]) -> None:
    assert list(newer(document)) == []


async def test_it_names_every_operation_of_the_registry(document: dict[str, Any]) -> None:
    secured = {operation["operationId"] for _, _, operation in operations(document) if "security" not in operation}
    without_words = {STREAM_EVENTS.name, STREAM_ACCESS_EVENTS.name}  # OpenAPI 3.0 has none for WebSockets
    assert secured == set(OPERATIONS) - without_words
    for path in ("/api/v1/logs/stream", "/api/v1/access-logs/stream"):
        assert path in document["info"]["description"]


async def test_every_route_declares_its_operation(door: Door) -> None:
    for route in door.app.routes:
        assert isinstance(route, APIRoute | APIWebSocketRoute), route
        operation = operation_of(route)
        assert operation is not None, f"{route.path} declares no operation"
        if operation.permission is not None:
            name = route.operation_id if isinstance(route, APIRoute) else route.name
            assert name == operation.name


async def test_every_operation_says_what_it_is_and_how_it_fails(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        place = f"{method} {path}"
        assert operation.get("summary"), place
        assert operation.get("description"), place
        for status, response in operation["responses"].items():
            found = resolved(document, response)
            assert "X-Request-Id" in found["headers"], f"{place} {status}"
            if int(status) >= 400:
                assert set(found["content"]) == {"application/problem+json"}, f"{place} {status}"
        assert {"500", "503"} <= set(operation["responses"]), place
        if "security" not in operation:
            assert {"401", "403", "429"} <= set(operation["responses"]), place


async def test_every_answer_and_body_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        holders = {**operation["responses"], "body": operation.get("requestBody", {"content": {}})}
        for name, holder in holders.items():
            for media_type, content in resolved(document, holder).get("content", {}).items():
                place = f"{method} {path} {name} {media_type}"
                examples = examples_of(document, content)
                assert examples, f"{place} has no example"
                if "json" not in media_type or "ndjson" in media_type:
                    continue
                validator = OAS30Validator({**content["schema"], "components": document["components"]})
                for example in examples:
                    try:
                        validator.validate(example)
                    except jsonschema.ValidationError as error:
                        pytest.fail(f"{place}: {error.message}")


async def test_examples_of_bodies_are_accepted_one_by_one(door: Door, document: dict[str, Any]) -> None:
    headers = door.bearer(platform=True, default_tenant="acme")
    sealed = await append_sealed(door)
    sent = 0
    for path, method, operation in operations(document):
        for media_type, content in operation.get("requestBody", {"content": {}})["content"].items():
            for example in examples_of(document, content):
                body: Any = example
                if operation["operationId"] == "create_tenant":
                    body = {**example, "id": unique("made")}
                answer = await door.client.request(
                    method,
                    path.replace("{tenant_id}", "acme").replace("{event_id}", sealed),
                    headers={**headers, "content-type": media_type},
                    content=body.encode() if isinstance(body, str) else orjson.dumps(body),
                )
                assert answer.status_code in (200, 201, 202), f"{method} {path} {media_type}: {answer.text}"
                schema = resolved(document, operation["responses"][str(answer.status_code)])
                OAS30Validator(
                    {**schema["content"]["application/json"]["schema"], "components": document["components"]}
                ).validate(answer.json())
                sent += 1
                # The examples of a tenant suspend it, too.
                await door.client.patch("/api/v1/tenants/acme", headers=headers, json={"suspended": False})
    assert sent >= 6


async def test_examples_of_errors_are_what_the_server_says(door: Door, document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            for content in resolved(document, response).get("content", {}).values():
                for example in examples_of(document, content):
                    if int(status) >= 400:
                        cls = problem_classes()[example["type"].removeprefix("/problems/")]
                        assert (example["status"], example["title"]) == (int(status), cls.title), f"{method} {path}"
                        assert (await door.client.get(example["type"])).status_code == 200


async def test_it_is_revalidated_by_its_tag(door: Door) -> None:
    first = await door.client.get("/openapi.json")
    tag = first.headers["etag"]
    for lines in ([tag], [f"W/{tag}"], [f'"other", {tag}'], ['"other"', tag], ["*"]):
        again = await door.client.get("/openapi.json", headers=[("if-none-match", line) for line in lines])
        assert again.status_code == 304, lines
        assert again.content == b""
    other = await door.client.get("/openapi.json", headers={"if-none-match": '"other"'})
    assert other.status_code == 200


async def test_swagger_ui_is_served_from_here_alone(door: Door) -> None:
    page = await door.client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!doctype html>", "")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    links = [part.split('"')[1] for part in page.text.split(" ") if part.startswith(("src=", "href="))]
    assert len(links) == 4
    for link in links:
        asset = await door.client.get(f"/{link}")
        assert asset.status_code == 200, link
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    missing: httpx.Response = await door.client.get("/docs/secret.txt")
    assert missing.status_code == 404
    assert missing.headers["cache-control"] == "no-store"


async def test_what_the_page_loads_is_named_by_its_content(door: Door) -> None:
    page = await door.client.get("/docs")
    assert page.headers["cache-control"] == "no-cache"
    hashed = re.findall(r"docs/([a-z0-9-]+)\.([0-9a-f]{32})\.(\w+)", page.text)
    (start,) = [f"{name}.{digest}.{ending}" for name, digest, ending in hashed if name == "start"]
    script = (await door.client.get(f"/docs/{start}")).text
    hashed += re.findall(r"docs/(openapi)\.([0-9a-f]{32})\.(json)", script)
    assert len(hashed) == 5
    document = await door.client.get("/openapi.json")
    assert document.headers["cache-control"] == "no-cache"
    assert sha256(document.content).hexdigest().startswith(hashed[-1][1])
    for name, digest, ending in hashed:
        kept = await door.client.get(f"/docs/{name}.{digest}.{ending}")
        assert sha256(kept.content).hexdigest().startswith(digest)
        for other in (f"{name}.{ending}", f"{name}.{'0' * 32}.{ending}"):
            answer = await door.client.get(f"/docs/{other}")
            assert (answer.content, answer.headers["cache-control"]) == (kept.content, "no-cache")
            again = await door.client.get(f"/docs/{other}", headers={"if-none-match": kept.headers["etag"]})
            assert again.status_code == 304
