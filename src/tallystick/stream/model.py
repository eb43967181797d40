"""What goes over a stream: its frames, as WebSocket has them on the wire, and the codes with which it is closed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

import orjson
from websockets.frames import Frame, Opcode

from tallystick.errors import TallystickError
from tallystick.query.ast import Everything, Node

SUBPROTOCOL: Final = "tallystick.v1"
"""The subprotocol that a stream speaks (RFC 6455 §1.9)."""

SOCKET: Final = "tallystick.socket"
"""The ASGI extension whose value is the connection's `Socket`."""

GOING_ON_ELSEWHERE: Final = 1012
TOO_LARGE: Final = 1009
FAILED: Final = 1011
TRY_LATER: Final = 1013
BAD_REQUEST: Final = 4400
UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
TOO_SLOW: Final = 4408
PUT_BACK: Final = 4410
TOO_MANY: Final = 4429

MOST_EVENTS: Final = 1_000
MOST_BYTES: Final = 512 * 1024
"""Of one reading, and so of a frame, which ends with the event that crosses these: many clients take no message of more
than a mebibyte."""

_RANGES: Final = 1_000
"""Removed ranges of one frame."""

_MOST_REASON: Final = 123
"""Bytes of a reason: a control frame has at most 125, and the code takes two (RFC 6455 §5.5)."""

_CODES: Final = {
    HTTPStatus.UNAUTHORIZED: UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: FORBIDDEN,
    HTTPStatus.NOT_FOUND: FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS: TOO_MANY,
    HTTPStatus.SERVICE_UNAVAILABLE: TRY_LATER,
    HTTPStatus.INTERNAL_SERVER_ERROR: FAILED,
}


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """What is asked of a stream.

    Attributes:
        filters: Which events.
        text: What `q` asks for beside them.
        after_seq: Where it starts, exclusive; -1 is the beginning, None is now.
    """

    filters: Node = Everything()  # noqa: RUF009  # frozen, and without state
    text: Node = Everything()  # noqa: RUF009  # likewise
    after_seq: int | None = None


class Close(NamedTuple):
    """How a stream is closed.

    Attributes:
        code: RFC 6455 §7.4, or one of ours from 4400 on.
        reason: For a person to read; of 1012, 4408 and 4410 nothing but the seq to go on after.
    """

    code: int
    reason: str


class Socket(Protocol):
    """One WebSocket connection, written to past ASGI: the bytes of one frame are the same for all who get it."""

    @property
    def buffered(self) -> int:
        """Bytes that were written and not yet sent."""
        ...

    def write(self, frames: bytes) -> None:
        """Send whole frames. Does nothing once the connection is closing."""
        ...

    async def drained(self) -> None:
        """Wait until more can be written without holding much of it in memory, or the connection is lost."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and break the connection off where it is not answered in some seconds."""
        ...

    def on_end(self, end: Callable[[int], None]) -> None:
        """Whom to call, with a close code, when the server stops (1012) or the client answers no ping (4408)."""
        ...


def close_of(error: TallystickError) -> Close:
    """How a stream is closed that an error ends."""
    places = "; ".join(f"{flaw.parameter or flaw.pointer}: {flaw.detail}" for flaw in error.flaws)
    return Close(_CODES.get(error.status, BAD_REQUEST), shortened(places or error.detail))


def shortened(reason: str) -> str:
    """A reason, cut to what fits into a close frame."""
    return reason.encode()[:_MOST_REASON].decode(errors="ignore")


def framed(payload: bytes) -> bytes:
    """A text message as one unmasked frame (RFC 6455 §5.2)."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


def events_frame(items: Sequence[bytes], seq: int) -> bytes:
    """Events as they are answered, and the seq up to which nothing is left out."""
    return framed(b'{"type":"events","items":[%b],"seq":%d}' % (b",".join(items), seq))


def heartbeat_frame(seq: int) -> bytes:
    """Nothing else to tell up to a seq."""
    return framed(b'{"type":"heartbeat","seq":%d}' % seq)


def removed_frames(ranges: Sequence[tuple[int, int, str]], seq: int) -> bytes:
    """What retention or cleanup took: the first and last seq of each range, and why; many ranges as several frames.

    Args:
        ranges: In order.
        seq: Where to go on: the events between the ranges come after it.
    """
    removed = [{"first_seq": first, "last_seq": last, "reason": reason} for first, last, reason in ranges]
    parts = (removed[start : start + _RANGES] for start in range(0, len(removed), _RANGES))
    return b"".join(framed(b'{"type":"removed","removed":%b,"seq":%d}' % (orjson.dumps(part), seq)) for part in parts)
