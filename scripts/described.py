"""The API's OpenAPI document, without starting anything that serves it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry

from tallystick.api.app import create_app
from tallystick.api.openapi import openapi_document
from tallystick.bootstrap.services import Services
from tallystick.settings import Settings
from tallystick.tracing import UNTRACED

Json = dict[str, Any]


@dataclass(frozen=True)
class Described:
    """An operation of the document.

    Attributes:
        name: Its ``operationId``.
        method: In capitals.
        path: With its parameters in braces.
        json: What the document says of it.
    """

    name: str
    method: str
    path: str
    json: Json

    @property
    def tag(self) -> str:
        """The group it belongs to."""
        return self.json["tags"][0]

    @property
    def summary(self) -> str:
        """What it does, in a few words."""
        return self.json["summary"]

    @property
    def parameters(self) -> list[Json]:
        """Those of path, query and header."""
        return self.json.get("parameters", [])

    @property
    def bodies(self) -> Mapping[str, Json]:
        """What its body may be, by media type."""
        return self.json.get("requestBody", {}).get("content", {})

    @property
    def answer(self) -> tuple[int, Json]:
        """The status that says it was done, with the answer: 201 and 202 before 200 and others."""
        done = sorted(status for status in self.json["responses"] if status.startswith("2"))
        status = next((each for each in done if each in ("201", "202")), done[0])
        return int(status), self.json["responses"][status]


@cache
def document() -> Json:
    """The OpenAPI document. Only settings are real in the application that it is asked of: nothing is served."""
    parts: dict[str, Any] = dict.fromkeys(field.name for field in fields(Services))
    parts |= {"settings": Settings(), "registry": CollectorRegistry(), "tracing": UNTRACED}
    return openapi_document(create_app(Services(**parts)))


def operations() -> Iterator[Described]:
    """Every operation of the document, in its order."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield Described(operation["operationId"], method.upper(), path, operation)


def resolved(node: Json) -> Json:
    """What a reference leads to; anything else as it is."""
    while "$ref" in node:
        found: Any = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def examples(content: Json) -> dict[str, Any]:
    """The examples of a body or an answer by name; one without a name is called ``example``."""
    if "examples" in content:
        return {name: example["value"] for name, example in content["examples"].items()}
    for holder in (content, resolved(content.get("schema", {}))):
        if "example" in holder:
            return {"example": holder["example"]}
    return {}
