"""The WebSocket `/logs/stream`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.model import Principal
from tallystick.auth.operations import EVENTS, Operation, Reading
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.errors import TallystickError, UnavailableError
from tallystick.log.entrance import admit
from tallystick.log.query_string import first, query_of
from tallystick.stream.handshake import ClientLeftError, agreed, first_token, offered_token
from tallystick.stream.model import BAD_REQUEST, SOCKET, Close, Socket, StreamQuery, close_of
from tallystick.stream.parameters import ALTERNATIVES, STREAMING, stream_query
from tallystick.stream.service import StreamService
from tallystick.stream.watched import WatchedLog


class _Entered(NamedTuple):
    """Who was let in, and to what."""

    access: Access
    query: StreamQuery
    watched: WatchedLog


class _Door:
    """Lets clients in to streams."""

    def __init__(self, service: StreamService, gate: Gate, operation: Operation) -> None:
        self._operation = operation
        self._service = service
        self._gate = gate

    async def known(self, websocket: WebSocket, socket: Socket, token: str | None) -> None:
        """Who sends a token with the request is refused before anything is upgraded."""
        principal = await self._gate.identify(websocket, token)
        async with self._entering(websocket, principal) as entered:
            await websocket.accept(agreed(websocket))
            await self._stream(websocket, socket, entered)

    async def stranger(self, websocket: WebSocket, socket: Socket) -> None:
        """Who sends it in the first message can only be refused by closing."""
        with self._service.strangers():
            await websocket.accept(agreed(websocket))
            principal = await self._gate.identify(websocket, await first_token(websocket))
        async with self._entering(websocket, principal) as entered:
            await self._stream(websocket, socket, entered)

    @asynccontextmanager
    async def _entering(self, websocket: WebSocket, principal: Principal) -> AsyncGenerator[_Entered]:
        values = query_of(websocket, STREAMING, ALTERNATIVES)
        access = await admit(self._gate, websocket, principal, self._operation, first(values, "tenant_id"), values)
        query = stream_query(values)
        with self._service.admitted(principal.client):
            await record_of(websocket).durable()
            async with self._service.watching(access, query) as watched:
                yield _Entered(access, query, watched)

    async def _stream(self, websocket: WebSocket, socket: Socket, entered: _Entered) -> None:
        async with self._service.opened(entered.watched, entered.access, entered.query, socket) as stream:
            socket.on_end(stream.break_off)
            record = record_of(websocket)
            record.go_on()
            try:
                while (await websocket.receive())["type"] == "websocket.receive":
                    stream.close(Close(BAD_REQUEST, "a stream takes no message after the first"))
            finally:
                code = None if stream.closed is None else stream.closed.code
                # A stream has no end of its own: what a client leaves is complete.
                record.end(completed=code is None, count=stream.events, last_seq=stream.seq, code=code)


async def _recorded(websocket: WebSocket, error: TallystickError) -> TallystickError:
    """What ended a stream, once it is recorded; where it cannot be, that is what the client is told."""
    try:
        await record_of(websocket).failed(error)
    except UnavailableError as unavailable:
        return unavailable
    return error


def stream_routes(service: StreamService, gate: Gate, of: Reading = EVENTS) -> APIRouter:
    """The route that streams the events of a log."""
    router = APIRouter()
    door = _Door(service, gate, of.stream)

    @router.websocket(of.path + "/stream", name=of.stream.name)
    @performs(of.stream)
    async def stream_events(websocket: WebSocket) -> None:
        """Every event that matches, as it is stored. See `docs/reference/api.md`: OpenAPI has no words for it."""
        socket: Socket = websocket.scope["extensions"][SOCKET]
        try:
            token = offered_token(websocket)
            if token is not None or "authorization" in websocket.headers:
                await door.known(websocket, socket, token)
            else:
                await door.stranger(websocket, socket)
        except TallystickError as error:
            if websocket.application_state is WebSocketState.CONNECTING:
                raise
            socket.close(*close_of(await _recorded(websocket, error)))
        except (ClientLeftError, WebSocketDisconnect):
            return

    return router
