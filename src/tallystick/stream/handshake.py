"""How a stream begins: whose token it is, taken from wherever a client can put one that is no URL."""

import asyncio
from typing import Any, Final, cast

import orjson
from starlette.websockets import WebSocket

from tallystick.errors import BadRequestError, UnauthenticatedError
from tallystick.stream.model import SUBPROTOCOL

BEARER: Final = "bearer."
"""A client that can set no header offers its token as a subprotocol that begins so."""

PATIENCE: Final = 5.0
"""Seconds in which a client must authenticate that comes without a token."""

_MALFORMED: Final = 'the first message must be {"type":"authenticate","token":"…"}'


class ClientLeftError(Exception):
    """The client is gone."""


def offered_token(websocket: WebSocket) -> str | None:
    """The token among the subprotocols that a client offers; None where it sends one in another way.

    Raises:
        BadRequestError: It sends several.
    """
    offered: list[str] = websocket.scope["subprotocols"]
    tokens = [each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)]
    if len(tokens) + ("authorization" in websocket.headers) > 1:
        raise BadRequestError("send one token: in the header `Authorization`, or as one subprotocol")
    return tokens[0] if tokens else None


def agreed(websocket: WebSocket) -> str | None:
    """The subprotocol to answer with: ours if it was offered, and never the token."""
    return SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None


async def first_token(websocket: WebSocket) -> str:
    """Wait for the token in a client's first message.

    Raises:
        UnauthenticatedError: It did not come in time.
        BadRequestError: The message is another.
        ClientLeftError: The client left.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            message = await websocket.receive()
    except TimeoutError:
        raise UnauthenticatedError(f"no token came within {PATIENCE:g} seconds: {_MALFORMED}") from None
    if message["type"] != "websocket.receive":
        raise ClientLeftError
    return _token_in(message.get("text"))


def _token_in(text: str | None) -> str:
    try:
        said: Any = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        raise BadRequestError(_MALFORMED) from None
    if not isinstance(said, dict):
        raise BadRequestError(_MALFORMED)
    members = cast("dict[str, object]", said)
    token = members.get("token")
    if members.get("type") != "authenticate" or not isinstance(token, str) or members.keys() != {"type", "token"}:
        raise BadRequestError(_MALFORMED)
    return token
