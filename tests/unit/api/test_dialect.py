from typing import Any

import pytest
from jsonschema import Draft202012Validator as Validator
from openapi_schema_validator import OAS30Validator

from tallystick.api.dialect import to_3_0

ONLY_NULL = {"type": "string", "nullable": True, "enum": [None]}

CASES: list[tuple[Any, Any]] = [
    (True, {}),
    (False, {"not": {}}),
    ({"const": "a"}, {"enum": ["a"]}),
    ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
    ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
    (
        {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "T"},
        {"type": "string", "nullable": True, "title": "T"},
    ),
    ({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}, {"anyOf": [{"$ref": "#/x"}, ONLY_NULL]}),
    ({"anyOf": [{"const": 1}, {"type": "null"}]}, {"anyOf": [{"enum": [1]}, ONLY_NULL]}),
    (
        {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}, ONLY_NULL]},
    ),
    ({"type": "null"}, ONLY_NULL),
    ({"type": ["string", "integer", "null"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}, ONLY_NULL]}),
    ({"type": ["string"]}, {"type": "string"}),
    ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
    ({"exclusiveMinimum": 0, "minimum": 1}, {"minimum": 1}),
    ({"exclusiveMaximum": 9, "maximum": 9}, {"maximum": 9, "exclusiveMaximum": True}),
    ({"examples": ["a", "b"]}, {"example": "a"}),
    ({"$ref": "#/x"}, {"$ref": "#/x"}),
    ({"$ref": "#/x", "description": "d"}, {"description": "d", "allOf": [{"$ref": "#/x"}]}),
    ({"prefixItems": [{"const": 1}, {"type": "string"}]}, {"items": {"anyOf": [{"enum": [1]}, {"type": "string"}]}}),
    ({"additionalProperties": False}, {"additionalProperties": False}),
    ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"enum": [1]}}),
    ({"properties": {"const": {"const": 1}}}, {"properties": {"const": {"enum": [1]}}}),
    ({"$schema": "x", "propertyNames": {}, "contentMediaType": "a/b", "type": "string"}, {"type": "string"}),
    ({"not": {"const": 1}, "items": {"const": 2}}, {"not": {"enum": [1]}, "items": {"enum": [2]}}),
]


@pytest.mark.parametrize(("newer", "older"), CASES)
def test_each_keyword_is_rewritten(newer: Any, older: Any) -> None:
    assert to_3_0(newer) == older


@pytest.mark.parametrize(
    "newer", [case for case, _ in CASES if not any(word in str(case) for word in ("$ref", "prefixItems", "$schema"))]
)
def test_the_older_schema_judges_values_as_the_newer_did(newer: Any) -> None:
    before: Any = Validator(newer)
    after: Any = OAS30Validator(to_3_0(newer))
    for value in (None, 0, 1, 2, 9, 10, "a", "b", [], ["a"], [1, "a"], {}, {"const": 1}, {"const": 2}, {"x": 1}):
        if value is not None or "null" in str(newer):  # without a type, the older dialect refuses null
            assert after.is_valid(value) == before.is_valid(value), value


def test_what_was_given_stays_as_it_was() -> None:
    given = {"anyOf": [{"type": "null"}, {"const": 1}], "properties": {"a": {"exclusiveMinimum": 1}}}
    copy = {"anyOf": [{"type": "null"}, {"const": 1}], "properties": {"a": {"exclusiveMinimum": 1}}}
    to_3_0(given)
    assert given == copy
