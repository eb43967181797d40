"""The event reference says what the event model does."""

import hashlib
import json
import re
from pathlib import Path

from tallystick.log.model import EVENT_SCHEMA, Clock, validate_event
from tallystick.query.filters import PARAMETERS
from tallystick.settings import EventSettings

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
EVENTS = (REFERENCE / "events.md").read_text()
SENT = EVENTS.split("## What you send")[1].split("## What the server adds")[0]


def test_the_example_is_a_valid_event() -> None:
    [example] = re.findall(r"```json\n(.*?)```", SENT, re.DOTALL)
    event = json.loads(example)

    fields, _ = validate_event(event, EventSettings(), Clock(1_795_540_896_123_456, 604_800_000_000, 300_000_000))

    assert fields == event


def test_every_field_has_a_row_with_its_limit() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", SENT, re.MULTILINE))
    properties = EVENT_SCHEMA.json_schema()["properties"]

    assert set(rows) == set(properties)
    for name, schema in properties.items():
        if "maxLength" in schema and name != "ip_address":
            assert re.search(rf"\b{schema['maxLength']}\b", rows[name]), f"{name} says {rows[name]}"


def test_the_default_limits_are_those_of_the_settings() -> None:
    limits = EventSettings()
    table = EVENTS.split("## Limits")[1].split("## What is refused")[0]

    assert f"{limits.max_depth} levels" in table
    assert f"| {limits.max_keys:,} |" in table
    assert f"| {limits.max_key_length} |" in table
    assert f"{limits.max_past // 86_400} days" in table
    assert f"{limits.max_future // 60} minutes" in table


def test_every_filter_is_in_the_reference() -> None:
    api = (REFERENCE / "api.md").read_text()
    table = api.split("## Reading")[1].split("A filter may be repeated")[0]

    assert set(PARAMETERS) <= set(re.findall(r"`(\w+)`", table))


def test_the_recipe_for_a_leaf_hash_works() -> None:
    page = (REFERENCE.parent / "explanation" / "verbatim-body.md").read_text()
    recipe = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def check" in block)
    names: dict[str, object] = {}
    exec(recipe, names)  # noqa: S102  # our own page
    check = names["check"]
    assert callable(check)

    body = b'{"id":"1","action":"a,b"}'
    leaf = hashlib.sha256(b"\0" + body).hexdigest().encode()
    assert check(b'{"seq":7,"leaf_hash":"' + leaf + b'",' + body[1:])
    assert not check(b'{"seq":7,"leaf_hash":"' + leaf + b'",' + body[1:].replace(b"a,b", b"a,c"))
