"""Small bodies that are not there yet when their request is begun."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from tallystick.errors import RequestTimeoutError
from tallystick.log.intake import WHOLE, read_body

LIMIT = 1024 * 1024


class Sender:
    """Sends a body when told to; `given_up` is set where whoever waits for it is cancelled."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.asked = asyncio.Event()
        self.given_up = False

    async def receive(self) -> Message:
        await asyncio.sleep(0)  # it suspends more than once
        self.asked.set()
        try:
            return await self.messages.get()
        except asyncio.CancelledError:
            self.given_up = True
            raise

    def request(self) -> Request:
        return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, self.receive)


@pytest.mark.parametrize("pieces", [[b"whole"], [b"in ", b"three ", b"parts"]])
async def test_a_body_that_is_not_there_yet_is_waited_for(pieces: list[bytes]) -> None:
    sender = Sender()
    reading = asyncio.create_task(read_body(sender.request(), LIMIT, 20))
    for number, piece in enumerate(pieces, 1):
        await sender.asked.wait()
        sender.asked.clear()
        sender.messages.put_nowait({"type": "http.request", "body": piece, "more_body": number < len(pieces)})
    assert await reading == b"".join(pieces)


async def test_a_small_body_that_does_not_arrive_in_time_is_given_up() -> None:
    sender = Sender()
    with pytest.raises(RequestTimeoutError):
        await read_body(sender.request(), LIMIT, 0.01)
    assert sender.given_up


async def test_a_body_that_the_server_has_is_read_whatever_the_time() -> None:
    sender = Sender()
    sender.messages.put_nowait({"type": "http.request", "body": b"there"})
    request = sender.request()
    request.scope["extensions"] = {WHOLE: {}}
    assert await read_body(request, LIMIT, 0) == b"there"


async def test_who_waits_for_a_small_body_can_be_cancelled() -> None:
    sender = Sender()
    reading = asyncio.create_task(read_body(sender.request(), LIMIT, 20))
    await sender.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sender.given_up


async def test_a_client_that_hangs_up_before_its_body_is_not_waited_for() -> None:
    sender = Sender()
    sender.messages.put_nowait({"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        await read_body(sender.request(), LIMIT, 20)
