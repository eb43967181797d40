"""How a route declares its operation, and how a test finds it again."""

from collections.abc import Callable
from typing import Any, TypeVar

from tallystick.auth.operations import Operation

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_DECLARED = "__tallystick_operation__"


def performs(operation: Operation) -> Callable[[Endpoint], Endpoint]:
    """Declare what an endpoint does.

    Goes between the router's decorator and the function::

    @router.get("/logs", operation_id=LIST_EVENTS.name)
    @performs(LIST_EVENTS)
    async def list_events(request: Request) -> Response: ...
    """

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _DECLARED, operation)
        return endpoint

    return declare


def operation_of(route: object) -> Operation | None:
    """The operation that a route's endpoint declares, or None when it declares none."""
    declared = getattr(getattr(route, "endpoint", None), _DECLARED, None)
    return declared if isinstance(declared, Operation) else None
