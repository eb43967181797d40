"""No route can be forgotten: what is not public is wrapped, and an endpoint that records nothing answers nothing."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from doors import Door
from tallystick.access_log.requests import recorded
from tallystick.auth.operations import APPEND_EVENT, APPEND_EVENTS, LIST_EVENTS, OPERATIONS, Realm
from tallystick.auth.routing import operation_of


def test_all_but_appends_are_recorded() -> None:
    assert {each for each in OPERATIONS.values() if each.recording is None} == {APPEND_EVENT, APPEND_EVENTS}


def test_the_words_of_operations_are_their_own() -> None:
    actions = [each.recording.action for each in OPERATIONS.values() if each.recording is not None]
    assert len(set(actions)) == len(actions)


async def test_every_route_that_is_not_public_is_wrapped(door: Door) -> None:
    found: set[str] = set()
    for route in door.app.routes:
        operation = operation_of(route)
        if operation is not None and operation.realm is not Realm.PUBLIC:
            found.add(operation.name)
            assert hasattr(getattr(route, "endpoint", None), "__wrapped__"), operation.name
    assert found == set(OPERATIONS)


async def test_an_endpoint_that_records_nothing_does_not_answer(door: Door) -> None:
    async def forgetful(_: Request) -> Response:
        return Response(b"secret")

    state: dict[str, Any] = {"correlation_id": "x"}
    request = Request({"type": "http", "headers": [], "path_params": {}, "state": state, "client": None})
    with pytest.raises(RuntimeError, match="without being recorded"):
        await recorded(forgetful, LIST_EVENTS, door.services.access_log)(request)
