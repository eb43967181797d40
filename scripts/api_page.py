"""The reference page of the API: the prose of a frame, and a section for each operation of the OpenAPI document."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlencode

from described import Described, Json, examples, operations, resolved
from postman.declared import DECLARED
from tallystick.api.problems import problem_classes
from tallystick.auth.operations import OPERATIONS

FRAME: Final = Path(__file__).resolve().parents[1] / "docs" / "reference" / "api.md.in"
"""Prose, with a line ``<!-- operation NAME -->`` where the section of an operation belongs."""

_ELSEWHERE: Final[Mapping[str, str]] = {
    "EventFields": "[event](events.md#what-you-send)",
    "Event": "[event](events.md)",
}
"""Schemas that have a page of their own."""

_SPECIAL: Final = ("search-down",)
"""Problems that an operation has only where its document says more of the status."""

_LONG: Final = 6
"""Rows from which a table refers to others."""

_INLINE: Final = 100
"""Characters that a JSON value may have to stand on one line."""

_ENDLESS: Final = 10**9
"""A bound beyond which nobody will come, and which tells nothing."""

_BOUNDS: Final = (("minimum", "minLength"), ("maximum", "maxLength"))

_Row = tuple[str, str, str]
"""A name, its type and its meaning."""


def api_page(frame: str) -> str:
    """The page.

    Args:
        frame: Text with places for the table of operations and for each one's section.

    Raises:
        ValueError: An operation has no place in it, or several; or a place has no operation.
    """
    known = {operation.name: operation for operation in operations()}
    places = re.findall(r"^<!-- operation (\w+) -->$", frame, re.MULTILINE)
    if sorted(places) != sorted(known):
        faults = sorted(set(known) ^ set(places)) or sorted(name for name in known if places.count(name) > 1)
        raise ValueError(f"api.md.in: give each operation one line `<!-- operation NAME -->`: {', '.join(faults)}")
    sections = _Sections()
    page = re.sub(
        r"^<!-- operation (\w+) -->$", lambda match: sections.write(known[match[1]]), frame, flags=re.MULTILINE
    )
    table = "\n".join(_overview(known[name]) for name in places)
    return page.replace("<!-- endpoints -->", f"| Request | Does | Permission |\n| --- | --- | --- |\n{table}")


def _overview(operation: Described) -> str:
    registered = OPERATIONS.get(operation.name)
    needs = f"`{registered.permission}`" if registered else "none"
    return f"| `{operation.method} {operation.path}` | [{operation.summary}](#{_anchor(operation)}) | {needs} |"


def _anchor(operation: Described) -> str:
    return re.sub(r"[^\w\- ]", "", operation.summary.lower()).replace(" ", "-")


class _Sections:
    """Writes sections one after the other: what an earlier one has told, a later one refers to."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], Described] = {}
        self._schemas: dict[str, Described] = {}

    def write(self, operation: Described) -> str:
        """The section of an operation, without a line break at its end."""
        registered = OPERATIONS.get(operation.name)
        needs = f"needs `{registered.permission}`" if registered else "needs no token"
        blocks = [
            f"### {operation.summary}",
            f"`{operation.method} {operation.path}` {needs}.",
            re.sub(r"(?<!\n)\n(?!\n)", " ", operation.json["description"].strip()),
            *self._table(operation, "Parameter", [_parameter_row(each) for each in operation.parameters]),
            *self._body_blocks(operation),
            _request(operation),
            *self._answer_blocks(operation),
            _failures(operation),
        ]
        return "\n\n".join(blocks)

    def _body_blocks(self, operation: Described) -> Iterator[str]:
        if not operation.bodies:
            return
        said = operation.json["requestBody"].get("description", "")
        schema = next(iter(operation.bodies.values()))["schema"]
        each = schema.get("items", schema)
        if elsewhere := _ELSEWHERE.get(_name(each)):
            said += f" {'Each is' if 'items' in schema else 'It is'} an {elsewhere}."
        yield f"The body is {_either(operation.bodies)}. {said}".rstrip()
        if not elsewhere:
            whole = resolved(each)
            marks = dict.fromkeys(whole.get("required", ()), ", **required**")
            members = whole["properties"].items()
            rows = [
                (name, _type(member) + marks.get(name, ""), member.get("description", "")) for name, member in members
            ]
            yield from self._table(operation, "Member", rows)

    def _answer_blocks(self, operation: Described) -> Iterator[str]:
        status, answer = operation.answer
        contents = resolved(answer).get("content", {})
        others = [
            f" {other}: {response['description']}"
            for other, response in operation.json["responses"].items()
            if other != str(status) and other < "400"
        ]
        yield f"It answers {status} with {_either(contents) if contents else 'no body'}.{''.join(others)}"
        for media_type, content in [*contents.items()][:1]:
            yield from self._content_blocks(operation, media_type, content)
        headers = {name: header for name, header in answer.get("headers", {}).items() if "$ref" not in header}
        if headers:
            yield "Headers: " + " ".join(f"`{name}`: {header['description']}" for name, header in headers.items())

    def _content_blocks(self, operation: Described, media_type: str, content: Json) -> Iterator[str]:
        """An example of an answer, and its members."""
        value = next(iter(examples(content).values()))
        language = "json" if "json" in media_type else "text"
        yield f"```{language}\n{value.rstrip() if isinstance(value, str) else _pretty(value)}\n```"
        name = _name(content["schema"])
        if name in _ELSEWHERE:
            yield f"It is an {_ELSEWHERE[name]}."
        elif told := self._schemas.get(name):
            yield f"Its members are those of [{told.summary}](#{_anchor(told)})."
        else:
            yield from self._table(operation, "Member", list(self._rows(content["schema"])))
            if name:
                self._schemas[name] = operation

    def _rows(self, schema: Json, prefix: str = "") -> Iterator[_Row]:
        """The members of an answer, those of its objects with them."""
        for name, member in resolved(schema).get("properties", {}).items():
            inner, place = member, f"{prefix}{name}"
            while "items" in inner:
                inner, place = inner["items"], f"{place}[]"
            meaning = member.get("description") or resolved(inner).get("description", "")
            told = self._schemas.get(_name(inner))
            if told is not None:
                meaning += f" See [{told.summary}](#{_anchor(told)})."
            yield f"{prefix}{name}", _type(member), meaning
            if told is None and _name(inner) not in _ELSEWHERE:
                yield from self._rows(inner, f"{place}.")

    def _table(self, operation: Described, head: str, rows: Sequence[_Row]) -> Iterator[str]:
        """The table of some rows; a long one refers to earlier operations for what it shares with theirs."""
        own: list[_Row] = []
        shared: dict[str, list[str]] = {}
        for row in rows:
            told = self._told.get((row[0], row[2]))
            if told is None or len(rows) < _LONG or "required" in row[1]:
                own.append(row)
            else:
                shared.setdefault(f"[{told.summary}](#{_anchor(told)})", []).append(f"`{row[0]}`")
        for name, _, meaning in own:
            self._told.setdefault((name, meaning), operation)
        if own:
            yield "\n".join((f"| {head} | Type | Meaning |", "| --- | --- | --- |", *map(_line, own)))
        for place, names in shared.items():
            yield f"{'Also' if own else 'It takes'}, as in {place}: {', '.join(names)}."


def _line(row: _Row) -> str:
    name, kind, meaning = row
    return f"| `{name}` | {kind} | {' '.join(meaning.split()).replace('|', '&#124;')} |"


def _parameter_row(parameter: Json) -> _Row:
    schema = parameter["schema"]
    kind = _type(schema)
    if schema.get("type") == "array":
        how = "may be repeated" if parameter.get("explode", True) else "separated by commas"
        kind = f"{_type(schema['items'])}; {how}, up to {schema['maxItems']}"
    return parameter["name"], f"{parameter['in']}: {kind}", parameter.get("description", "")


def _failures(operation: Described) -> str:
    """What goes wrong: first what is this operation's own."""
    own: list[str] = []
    common: list[str] = []
    for status, response in operation.json["responses"].items():
        special = "$ref" not in response
        links = [
            f"[{slug}](errors.md#{slug})"
            for slug, known in problem_classes().items()
            if known.status == int(status) and (special or slug not in _SPECIAL)
        ]
        if special and links:
            own.append(f"- {status} {links[0] if len(links) == 1 else ''}".rstrip() + f": {response['description']}")
        if links and (not special or len(links) > 1):
            common.append(f"{status} {', '.join(links)}")
    return "It fails with\n\n" + "\n".join([*own, f"- {'; '.join(common)}"])


def _request(operation: Described) -> str:
    """A request with curl: what the collection asks first, with the examples of the document."""
    request = next(each for each in DECLARED[operation.name] if each.problem is None and each.operation is None)
    named = {parameter["name"]: parameter for parameter in operation.parameters}
    path = re.sub(r"\{(\w+)\}", lambda match: _example(named[match[1]], request.path), operation.path)
    query = {name: _example(named[name], request.query) for name in request.query}
    words: list[str] = []
    if operation.name in OPERATIONS:
        words.append('-H "Authorization: Bearer $TOKEN"')
    if operation.bodies:
        media_type, content = next(iter(operation.bodies.items()))
        body = _pretty(next(iter(examples(content).values())))
        words.append(f'-H "Content-Type: {media_type}" -d {shlex.quote(body)}')
    command = "curl -sS"
    if operation.method == "GET":
        words += [f"-d {shlex.quote(f'{name}={value}')}" for name, value in query.items()]
        command += "G" if query else ""
    elif query:
        path += f"?{urlencode(query)}"
    if operation.method not in ("GET", "POST") or (operation.method == "POST" and not operation.bodies):
        command += f" -X {operation.method}"
    lines = [f'{command} "$URL{path}"', *([" ".join(words)] if words else [])]
    return "\n".join(("```bash", " \\\n  ".join(lines), "```"))


def _example(parameter: Json, sent: Mapping[str, str]) -> str:
    """The document's example of a parameter; what the collection sends where it has none.

    Raises:
        ValueError: It has none, and what is sent is a variable.
    """
    example = parameter.get("example", parameter["schema"].get("example", sent[parameter["name"]]))
    value = str(cast("list[object]", example)[0] if isinstance(example, list) else example)
    if "{{" in value:
        raise ValueError(f"the parameter {parameter['name']} needs an example")
    return value


def _name(schema: Json) -> str:
    """The name of a schema that has one."""
    return schema.get("$ref", "").rpartition("/")[2] or schema.get("title", "")


def _type(schema: Json) -> str:
    """A schema's type as a person would say it, with its bounds and default."""
    null = " or null" if schema.get("nullable") else ""
    default = schema.get("default")
    without = (
        f"; `{default if isinstance(default, str) else json.dumps(default)}` without it"
        if default not in (None, "")
        else ""
    )
    return f"{_plain_type(schema)}{null}{without}"


def _plain_type(schema: Json) -> str:
    if elsewhere := _ELSEWHERE.get(_name(schema)):
        return elsewhere
    schema = resolved(schema)
    if choices := schema.get("allOf") or schema.get("anyOf"):
        return " or ".join(_plain_type(each) for each in choices)
    if "enum" in schema:
        return _either(schema["enum"])
    kind = schema.get("type", "any JSON value")
    if kind == "array":
        return f"list of {_plain_type(schema['items'])}" + _bounds(None, schema.get("maxItems"))
    if kind == "string":
        kind = {"date-time": "RFC 3339", "uuid": "UUID"}.get(schema.get("format", ""), "text")
    low, high = (schema.get(name, schema.get(other)) for name, other in _BOUNDS)
    return {"boolean": "true or false"}.get(kind, kind) + _bounds(low, high)


def _either(values: Iterable[str]) -> str:
    *some, last = (f"`{value}`" for value in values)
    return f"{', '.join(some)} or {last}" if some else last


def _bounds(low: float | None, high: float | None) -> str:
    if high is None or high > _ENDLESS:
        return "" if low is None else f", at least {low:,g}"
    return f", up to {int(high):,}" if low is None else f", {int(low):,} to {int(high):,}"


def _pretty(value: Any, indent: str = "") -> str:  # noqa: ANN401 - any JSON value
    """A JSON value in as few lines as can be read."""
    short = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(short) <= _INLINE or not isinstance(value, (dict, list)) or not value:
        return short
    inner = indent + "  "
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        parts = [f"{json.dumps(name)}: {_pretty(each, inner)}" for name, each in named.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _pretty(each, inner) for each in cast("list[Any]", value)) + f"\n{indent}]"
