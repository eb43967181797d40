"""What our WebSocket protocol stands on: names that uvicorn keeps to itself, so that another version is noticed."""

import inspect

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tallystick.runtime.websocket import StreamingProtocol


@pytest.mark.parametrize(
    "name", ["connection_made", "handle_connect", "handle_ping", "handle_cont", "send", "shutdown", "keepalive_timeout"]
)
def test_what_is_overridden_is_there_and_takes_the_same(name: str) -> None:
    theirs, ours = getattr(WebSocketsSansIOProtocol, name), getattr(StreamingProtocol, name)
    assert ours is not theirs
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_what_is_used_is_still_called_so() -> None:
    source = inspect.getsource(WebSocketsSansIOProtocol)
    for name in ("close_sent", "queue", "read_paused", "close_timer", "writable", "handshake_complete", "frames"):
        assert f"self.{name}" in source, name
    for name in ("stop_keepalive", "handle_ping"):
        assert f"def {name}(" in source, name
