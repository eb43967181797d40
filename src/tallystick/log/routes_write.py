"""`POST /logs` and `POST /logs/bulk`."""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.headers import header_of
from tallystick.auth.model import Principal
from tallystick.auth.operations import APPEND_EVENT, APPEND_EVENTS
from tallystick.auth.permissions import Permission
from tallystick.auth.routing import performs
from tallystick.errors import Flaw, InvalidError, TooLargeError
from tallystick.log.intake import Intake, form_of, read_body
from tallystick.log.lanes import Append, Stored
from tallystick.log.model import SALT_BYTES, Author, Clock, PreparedEvent, form_event, parse_json, validate_event
from tallystick.log.query_string import first, query_of
from tallystick.log.retries import RequestKey
from tallystick.log.retry_book import event_conflict
from tallystick.log.schemas_write import BULK_BODY, EVENT_BODY, IDEMPOTENCY_KEY, ON_ERROR, BulkAnswer, StoredEvent
from tallystick.log.splitting import read_array, split_ndjson
from tallystick.log.turns import Rests, Turns
from tallystick.log.writer import Writer
from tallystick.privacy.masking.service import Masking
from tallystick.settings import Settings

_JSON: Final = "application/json"
_SLICE: Final = 25
"""Events that are parsed or formed before the event loop gets its turn: less than a millisecond."""

_TURN_SECONDS: Final = 0.002

_LISTED_FLAWS: Final = 1_000
"""Beyond so many flaws of a request, each further bad event is named by its first one."""

_THREAD_BYTES: Final = 1024 * 1024
_KEY: Final = re.compile(r'"(?P<quoted>[\x21\x23-\x7e]{1,255})"|(?P<bare>[\x21\x23-\x7e]{1,255})')


def write_routes(writer: Writer, gate: Gate, masking: Masking, settings: Settings) -> APIRouter:
    """The routes that append events."""
    router = APIRouter(tags=["logs"])
    desk = _Desk(writer, gate, masking, settings)

    @router.post(
        "/logs",
        operation_id=APPEND_EVENT.name,
        summary="Append an event",
        status_code=201,
        response_model=StoredEvent,
        responses={
            201: {"headers": {"Location": {"description": "Where to read it.", "schema": {"type": "string"}}}},
            409: {"description": "The `event_id` or `Idempotency-Key` came before with other content."},
        },
        openapi_extra={"requestBody": EVENT_BODY, "parameters": [IDEMPOTENCY_KEY]},
    )
    @performs(APPEND_EVENT)
    async def append_event(request: Request) -> Response:
        """Store one event. A 201 says that it is durable, and where it lies in the log.

        Sent again with the same `event_id` (or `Idempotency-Key`) and content, it is answered the same and stored once.
        """
        return await desk.append_one(request)

    @router.post(
        "/logs/bulk",
        operation_id=APPEND_EVENTS.name,
        summary="Append many events",
        status_code=201,
        response_model=BulkAnswer,
        responses={
            200: {"description": "Nothing was stored: all events were rejected.", "model": BulkAnswer},
            409: {"description": "An `event_id` or the `Idempotency-Key` came before with other content."},
        },
        openapi_extra={"requestBody": BULK_BODY, "parameters": [ON_ERROR, IDEMPOTENCY_KEY]},
    )
    @performs(APPEND_EVENTS)
    async def append_events(request: Request) -> Response:
        """Store up to 10,000 events of one tenant in one transaction: all, or with `on_error=skip` the good ones."""
        return await desk.append_many(request)

    return router


class _Desk:
    """Takes bodies in, and hands what they hold to the writer."""

    def __init__(self, writer: Writer, gate: Gate, masking: Masking, settings: Settings) -> None:
        self._writer = writer
        self._gate = gate
        self._masking = masking
        self._settings = settings
        self._intake = Intake(settings.api.max_body_bytes, settings.api.body_timeout)
        self._turns = Turns()
        self._rests = Rests()

    async def append_one(self, request: Request) -> Response:
        principal = await self._gate.authenticate(request)
        form_of(request, allowed=("json",))
        query_of(request)
        api = self._settings.api
        body = await read_body(request, api.max_event_bytes, api.body_timeout)
        with self._rests:  # not before: whoever sends a body slowly shall slow nobody else down
            return await self._append_one(request, principal, body)

    async def _append_one(self, request: Request, principal: Principal, body: bytes) -> Response:
        value = parse_json(body)
        access = await self._gate.authorise(principal, APPEND_EVENT, _tenant_of(value))
        await self._gate.charge(request, access, 1)
        fields, occurred_us = validate_event(value, self._settings.events, self._clock(access))
        masker = await self._masking.of(access.tenant)
        event = form_event(fields, occurred_us, tenant_id=access.tenant.id, author=_author(principal), masker=masker)
        key = await _request_key(request, principal, APPEND_EVENT.name, body)
        outcome = await self._writer.append(Append(access.events_log, (event,), _one_answer, key))
        first = outcome.stored[0] if outcome.stored else None
        event_id = first.id if first is not None else orjson.loads(outcome.answer)["id"]
        return Response(
            outcome.answer, 201, {"Location": f"{request.scope['path']}/{event_id}{access.elsewhere}"}, media_type=_JSON
        )

    async def append_many(self, request: Request) -> Response:
        principal = await self._gate.authenticate(request)
        form = form_of(request, allowed=("json", "ndjson"))
        skip = _skips(request)
        client = principal.client
        # Whoever has used up their share is refused before anything is read: the tenant is told by the body alone.
        await self._gate.charge(request, principal, 1)
        async with self._turns.admit(client):
            async with self._intake.hold(request, client) as body, self._turns.turn(client):
                bulk = _Bulk()
                most = self._settings.api.max_event_bytes
                await self._parse(split_ndjson(body) if form == "ndjson" else read_array(body, most), bulk)
                access = await self._gate.authorise(principal, APPEND_EVENTS, bulk.tenant_id)
                await self._gate.charge(request, access, max(len(bulk.values), 1), paid=1)
                await self._form(bulk, access)
                # Without `on_error`: whoever repeats an import with another choice has still sent the same events.
                key = await _request_key(request, principal, APPEND_EVENTS.name, body)
            return await self._store(bulk, access, key, skip=skip)

    async def _store(self, bulk: "_Bulk", access: Access, key: RequestKey | None, *, skip: bool) -> Response:
        if bulk.flaws and not skip:
            bad = len({flaw.index for flaw in bulk.flaws})
            raise InvalidError(
                f"{bad:,} of {len(bulk.values):,} events are not valid, so none was stored; "
                "mend them, or send on_error=skip to store the others",
                flaws=bulk.flaws,
            )
        if not bulk.events:
            return Response(bulk.answer(()), 200, media_type=_JSON)
        append = Append(access.events_log, bulk.events, bulk.answer, key, bulk=True, skip_conflicts=skip)
        outcome = await self._writer.append(append)
        nothing = b'{"stored":0,"known":0,' in outcome.answer[:32]
        return Response(outcome.answer, 200 if nothing else 201, media_type=_JSON)

    async def _parse(self, items: Iterator[object], bulk: "_Bulk") -> None:
        """Parse the items, in slices."""
        api = self._settings.api
        began = time.monotonic()
        for index, item in enumerate(items):
            if index == api.max_bulk_events:
                raise TooLargeError(f"a bulk request may have {api.max_bulk_events:,} events; send them in parts")
            if index % _SLICE == _SLICE - 1:
                await self._rests.rest(time.monotonic() - began)
                began = time.monotonic()
            if isinstance(item, bytes):
                bulk.parse(item, api.max_event_bytes)
            else:
                bulk.values.append(item)
        bulk.find_tenant()

    async def _form(self, bulk: "_Bulk", access: Access) -> None:
        """Validate and form the events, in slices."""
        limits, clock = self._settings.events, self._clock(access)
        author, masker = _author(access.principal), await self._masking.of(access.tenant)
        default = access.principal.default_tenant
        salts = os.urandom(SALT_BYTES * len(bulk.values))
        began = time.monotonic()
        for index, value in enumerate(bulk.values):
            worked = time.monotonic() - began
            # What is masked may take much longer than most: a slice is bounded by the clock, too.
            if index % _SLICE == _SLICE - 1 or worked > _TURN_SECONDS:
                await self._rests.rest(worked)
                began = time.monotonic()
            if index in bulk.unreadable:
                continue
            try:
                fields, occurred_us = validate_event(value, limits, clock)
            except InvalidError as error:
                listed = error.flaws if len(bulk.flaws) < _LISTED_FLAWS else error.flaws[:1]
                bulk.flaws.extend(replace(flaw, index=index) for flaw in listed)
                continue
            if fields.get("tenant_id", default) != access.tenant.id:
                bulk.flaws.append(
                    Flaw("is of another tenant: a bulk request is one tenant's", "/tenant_id", index=index)
                )
                continue
            bulk.indexes.append(index)
            salt = salts[index * SALT_BYTES : (index + 1) * SALT_BYTES]
            bulk.events.append(
                form_event(fields, occurred_us, tenant_id=access.tenant.id, author=author, masker=masker, salt=salt)
            )
            bulk.values[index] = None

    def _clock(self, access: Access) -> Clock:
        events = self._settings.events
        past_us = None if access.may(Permission.LOGS_IMPORT) else events.max_past * 1_000_000
        return Clock(time.time_ns() // 1000, past_us, events.max_future * 1_000_000)


class _Bulk:
    """A bulk request on its way from bytes to events.

    Attributes:
        values: What was parsed, by index in the request.
        unreadable: Indexes of what could not be.
        flaws: What is wrong, each with its index.
        events: What is good.
        indexes: Where each of `events` stood.
        tenant_id: The tenant the first readable event names, or None.
    """

    def __init__(self) -> None:
        self.values: list[object] = []
        self.unreadable: set[int] = set()
        self.flaws: list[Flaw] = []
        self.events: list[PreparedEvent] = []
        self.indexes: list[int] = []
        self.tenant_id: str | None = None

    def parse(self, raw: bytes, max_bytes: int) -> None:
        index = len(self.values)
        self.values.append(None)
        if len(raw) > max_bytes:
            self.unreadable.add(index)
            self.flaws.append(Flaw(f"is larger than {max_bytes:,} bytes", "", index=index))
            return
        try:
            self.values[index] = parse_json(raw)
        except InvalidError as error:
            self.unreadable.add(index)
            self.flaws.extend(replace(flaw, index=index) for flaw in error.flaws)

    def find_tenant(self) -> None:
        readable = (value for index, value in enumerate(self.values) if index not in self.unreadable)
        self.tenant_id = _tenant_of(next(readable, None))

    def answer(self, stored: Sequence[Stored | None]) -> bytes:
        """What is answered once the good events are stored."""
        ids: list[str | None] = [None] * len(self.values)
        rejected = list(self.flaws)
        known = 0
        for index, place in zip(self.indexes, stored, strict=False):
            if place is None:
                rejected.append(event_conflict(index))
            else:
                ids[index] = place.id
                known += place.known
        count = len(self.indexes) - sum(place is None for place in stored) - known
        rejected.sort(key=lambda flaw: flaw.index or 0)
        return orjson.dumps(
            {"stored": count, "known": known, "ids": ids, "rejected": [flaw.as_json() for flaw in rejected]}
        )


def _tenant_of(value: object) -> str | None:
    """The tenant an event names; what is no string is left to validation, with the token's default."""
    named = cast("dict[str, Any]", value).get("tenant_id") if isinstance(value, dict) else None
    return named if isinstance(named, str) else None


def _author(principal: Principal) -> Author:
    return Author(issuer=principal.issuer, subject=principal.subject)


def _one_answer(stored: Sequence[Stored | None]) -> bytes:
    (place,) = stored
    if place is None:
        raise ValueError("a single event is stored or refused")
    return place.answer()


def _skips(request: Request) -> bool:
    mode = first(query_of(request, ("on_error",)), "on_error")
    if mode not in (None, "fail", "skip"):
        raise InvalidError("`on_error` is not valid", flaws=[Flaw("must be fail or skip", parameter="on_error")])
    return mode == "skip"


async def _request_key(request: Request, principal: Principal, operation: str, body: bytes) -> RequestKey | None:
    header = header_of(request.scope, b"idempotency-key")
    if header is None:
        return None
    match = _KEY.fullmatch(header)
    if match is None:
        flaw = Flaw("must be 1 to 255 visible ASCII characters", parameter="Idempotency-Key")
        raise InvalidError("the Idempotency-Key is not valid", flaws=[flaw])
    digest = hashlib.sha256(operation.encode() + b"\0")
    if len(body) > _THREAD_BYTES:
        await asyncio.to_thread(digest.update, body)
    else:
        digest.update(body)
    return RequestKey(match["quoted"] or match["bare"], digest.digest(), principal.client)
