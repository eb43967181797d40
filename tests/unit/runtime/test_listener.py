import os
import socket

import pytest

from tallystick.errors import ConfigurationError
from tallystick.runtime.listener import listen, url_of


def test_a_taken_port_names_the_port_its_holder_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} .*process {os.getpid()}.*TALLYSTICK_PORT"):
            listen("127.0.0.1", port)


def test_port_0_takes_any_free_one_and_the_url_says_which() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_connections_wait_before_anybody_takes_them() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as early:
        early.sendall(b"hello")
        taken, _ = listener.accept()
        with taken:
            assert taken.recv(5) == b"hello"


def test_every_address_is_reached_through_loopback() -> None:
    with listen("0.0.0.0", 0) as listener:  # noqa: S104 - what is tested
        assert url_of(listener).startswith("http://127.0.0.1:")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="TALLYSTICK_HOST"):
        listen("192.0.2.1", 0)
