"""What a request tells of itself to whoever records who looked at what. Routes stand below that: hence a port."""

from collections.abc import Mapping
from typing import Protocol, cast

from starlette.requests import HTTPConnection

from tallystick.auth.access import Access

Asked = Mapping[str, object]
"""What is asked for: parameters by name, or the members of a JSON body."""


class Record(Protocol):
    """The record of one request, which `api` gives to each that is not public. An answer without one does not leave."""

    async def begin(self, access: Access, asked: Asked) -> None:
        """Record who asks for what, once both are known to be valid.

        Of what is only read, the intent commits while the reading goes on, and the answer waits for it. Before an act
        this returns when the intent is durable, so it comes last before anything is done.

        Raises:
            UnavailableError: It cannot be recorded, so nothing may be done.
        """
        ...

    async def durable(self) -> None:
        """Wait until the intent is stored, where something is to be sent before the endpoint returns.

        Raises:
            UnavailableError: It cannot be recorded, so nothing may be sent.
        """
        ...

    def tell(self, **outcome: object) -> None:
        """Add to what the outcome says."""
        ...

    def concern(self, *tenant_ids: str) -> None:
        """Record the outcome in the access logs of these tenants too."""
        ...

    def go_on(self) -> None:
        """The answer goes on after the endpoint has returned: `end` will be called."""
        ...

    async def failed(self, error: Exception) -> None:
        """Record what ended the request; to be called where an endpoint answers an error itself.

        Raises:
            UnavailableError: It cannot be recorded, so it may not be told.
        """
        ...

    def end(self, *, completed: bool, **outcome: object) -> None:
        """The answer has ended, after `go_on`.

        Args:
            completed: Whether all of it was sent.
            outcome: Further words of the outcome.
        """
        ...


def record_of(request: HTTPConnection) -> Record:
    """The record of a request."""
    return cast("Record", request.state.record)
