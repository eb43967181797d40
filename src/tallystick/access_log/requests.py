"""Records requests: each endpoint that is not public is wrapped, so that no answer leaves without its record."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from tallystick.access_log.model import Actor, Deed, Place, Result
from tallystick.access_log.refusals import NOBODY
from tallystick.access_log.service import AccessLog, Attempt, Intent
from tallystick.auth.access import Access
from tallystick.auth.addresses import address_of
from tallystick.auth.model import Principal
from tallystick.auth.operations import Operation, Realm, Recorded, Recording
from tallystick.auth.recording import Asked
from tallystick.auth.refusals import refused_of
from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.errors import (
    ForbiddenError,
    GoneError,
    NotFoundError,
    RateLimitedError,
    TallystickError,
    UnauthenticatedError,
)

_REFUSALS: Final = (UnauthenticatedError, ForbiddenError, GoneError, NotFoundError)


class RequestRecord:
    """The record of one request; see `auth.recording.Record`.

    Reading an access log is recorded after the page was read and before it leaves: so its own intent is never in it.
    """

    def __init__(self, log: AccessLog, request: HTTPConnection, operation: Operation) -> None:
        self._log = log
        self._request = request
        self._operation = operation
        self._begun: tuple[Actor, Deed, tuple[Place, ...]] | None = None
        self._intent: Intent | None = None
        self._told: dict[str, object] = {}
        self._concerns: tuple[str, ...] = ()
        self._goes_on = False
        self._ended = False

    @property
    def _recording(self) -> Recording:
        recording = self._operation.recording
        if recording is None:
            raise RuntimeError(f"{self._operation.name} is not recorded: it must not be begun")
        return recording

    async def begin(self, access: Access, asked: Asked) -> None:
        """See `Record`."""
        recording, parameters = self._recording, self._request.path_params
        if recording.named_by is not None:
            resource_id = str(parameters[recording.named_by])
        else:
            resource_id = self._operation.log if recording.resource_type == "log" else None
        others = {name: value for name, value in parameters.items() if name != recording.named_by}
        asked = {name: value for name, value in {**others, **asked}.items() if name != "tenant_id"}
        deed = Deed(self._operation.name, recording.action, recording.resource_type, resource_id, asked)
        places = await self._log.places_of(access.tenant)
        if recording.platform_too and access.principal.platform and self._operation.realm is Realm.TENANT:
            places += await self._log.places(PLATFORM_TENANT)
        actor = actor_of(self._request, access.principal, access.tenant.id)
        self._begun = (actor, deed, tuple(dict.fromkeys(places)))
        if self._operation.log == "events" or recording.how is Recorded.ACT:
            self._intent = self._log.intend(*self._begun)
        if recording.how is Recorded.ACT:
            await self.durable()

    async def durable(self) -> None:
        """See `Record`."""
        if self._begun is None:
            raise RuntimeError(f"{self._operation.name} answers without being recorded")
        if self._intent is None:
            self._intent = self._log.intend(*self._begun)
        await self._intent.durable()

    def tell(self, **outcome: object) -> None:
        """See `Record`."""
        self._told |= outcome

    def concern(self, *tenant_ids: str) -> None:
        """See `Record`."""
        self._concerns += tenant_ids

    def go_on(self) -> None:
        """See `Record`."""
        self._goes_on = True

    def end(self, *, completed: bool, **outcome: object) -> None:
        """See `Record`."""
        self.tell(**outcome)
        self._outcome("completed" if completed else "aborted", ())

    async def answered(self) -> None:
        """The endpoint has its answer: let it leave.

        Raises:
            UnavailableError: It may not leave, since it cannot be recorded.
        """
        if self._operation.recording is None:
            return
        await self.durable()
        if not self._goes_on:
            self._outcome("completed", await self._log.further_places(*self._concerns))

    async def failed(self, error: Exception) -> None:
        """See `Record`. An error tells something, too, so it leaves when the intent is durable."""
        if self._begun is None:
            # One failure too many from an address is answered by 429; it is a refusal still.
            refusal = error.__cause__ if isinstance(error, RateLimitedError) else error
            if isinstance(refusal, _REFUSALS):
                await self._log.refuse(self._refusal(refusal))
            return
        await self.durable()
        self.tell(problem=error.slug if isinstance(error, TallystickError) else TallystickError.slug)
        self._outcome("failed", ())

    def _refusal(self, error: TallystickError) -> Attempt:
        refused, request = refused_of(error), self._request
        target = "" if refused is None else refused.tenant_id or ""
        if refused is None:
            actor = replace(NOBODY, ip_address=address_of(request))
            return Attempt(actor, None, target, self._operation.name, error.slug)
        actor = actor_of(request, refused.principal, target)
        return Attempt(actor, refused.principal.default_tenant, target, self._operation.name, error.slug)

    def _outcome(self, result: Result, also: "list[Place] | tuple[Place, ...]") -> None:
        if self._intent is not None and self._recording.how is not Recorded.READ and not self._ended:
            self._ended = True
            self._intent.outcome(result, self._told, also)


def recorded(endpoint: Callable[..., Awaitable[Response]], operation: Operation, log: AccessLog) -> Callable[..., Any]:
    """Wrap an HTTP endpoint that performs an operation."""

    @wraps(endpoint)
    async def call(*arguments: Any, **options: Any) -> Response:  # noqa: ANN401  # the endpoint's own
        request: HTTPConnection = options["request"] if "request" in options else arguments[0]
        # Past `request.state`, which would make an object for each request.
        record = request.scope["state"]["record"] = RequestRecord(log, request, operation)
        try:
            response = await endpoint(*arguments, **options)
        except Exception as error:
            await record.failed(error)
            raise
        await record.answered()
        return response

    return call


def recorded_stream(
    endpoint: Callable[..., Awaitable[None]], operation: Operation, log: AccessLog
) -> Callable[..., Any]:
    """Wrap the endpoint of a WebSocket. It waits for its intent itself, before its first frame."""

    @wraps(endpoint)
    async def call(websocket: HTTPConnection) -> None:
        record = websocket.state.record = RequestRecord(log, websocket, operation)
        try:
            await endpoint(websocket)
        except Exception as error:
            await record.failed(error)
            raise

    return call


def actor_of(request: HTTPConnection, principal: Principal, tenant_id: str) -> Actor:
    """Who sends a request, from where as far as trusted proxies tell, and with what program."""
    role = principal.role_in(tenant_id)
    return Actor(
        issuer=principal.issuer,
        subject=principal.subject,
        role="platform" if principal.platform else None if role is None else role.value,
        token_id=principal.token_id,
        ip_address=address_of(request),
        user_agent=request.headers.get("user-agent"),
        request_id=request.state.correlation_id,
    )
