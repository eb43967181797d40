"""JSON Schema 2020-12, as FastAPI and pydantic emit it, rewritten in the older dialect of OpenAPI 3.0.

That one (its §"Schema Object") knows no `null` type, no `const`, a boolean `exclusiveMinimum`, one `example`, and
nothing beside a `$ref`.
"""

from typing import Any, Final, TypeAlias, cast

Json: TypeAlias = dict[str, Any]

_DROPPED: Final = frozenset(
    {"$schema", "$id", "$comment", "$anchor", "$defs", "if", "then", "else", "propertyNames", "patternProperties"}
    | {"unevaluatedProperties", "unevaluatedItems", "dependentRequired", "dependentSchemas", "contains", "minContains"}
    | {"maxContains", "contentMediaType", "contentEncoding", "contentSchema"}
)
"""JSON Schema keywords that 3.0 lacks and a description can do without: they narrow, and the server still checks."""

_NULL: Final[Json] = {"type": "null"}
_ONLY_NULL: Final[Json] = {"type": "string", "nullable": True, "enum": [None]}


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
        if bound is None or isinstance(bound, bool):
            continue
        sign = 1 if plain == "minimum" else -1
        if sign * schema.get(plain, bound) > sign * bound:
            del schema[exclusive]  # the inclusive bound is the narrower one
        else:
            schema[plain], schema[exclusive] = bound, True


def _types(schema: Json) -> None:
    types = schema.get("type")
    if types == "null":
        schema |= _ONLY_NULL
    if not isinstance(types, list):
        return
    del schema["type"]
    if len(cast("list[str]", types)) == 1:
        schema["type"] = types[0]
    else:
        schema["anyOf"] = [{"type": name} for name in cast("list[str]", types)]


def _without_null(schema: Json) -> None:
    """`anyOf: [X, null]` is X, nullable; but `nullable` means something only beside a `type` (3.0.3 §Schema Object)."""
    for name in ("anyOf", "oneOf"):
        parts = cast("list[Json]", schema.get(name, []))
        kept = [part for part in parts if part != _NULL]
        if len(kept) == len(parts):
            continue
        if len(kept) == 1 and "type" in kept[0] and "enum" not in kept[0]:
            del schema[name]
            schema |= {key: value for key, value in kept[0].items() if key not in schema}
            schema["nullable"] = True
        else:
            schema[name] = [*kept, _ONLY_NULL]


def _alone(schema: Json) -> Json:
    """In 3.0 whatever stands beside a `$ref` is ignored, so the reference goes into an `allOf`."""
    if "$ref" in schema and len(schema) > 1:
        reference = schema.pop("$ref")
        schema["allOf"] = [{"$ref": reference}, *schema.get("allOf", [])]
    return schema
