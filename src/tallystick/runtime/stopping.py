"""When a process of ours must end: on a signal, or when the supervisor that started it is gone."""

import asyncio
import os
import signal
from collections.abc import Callable


def stop_event(watched: int | None, hurry: Callable[[], None] = lambda: None) -> asyncio.Event:
    """Make an event that is set when this process must end.

    Args:
        watched: Read end of a pipe whose write end only the supervisor holds. The kernel closes that in whatever way
            the supervisor ends, `kill -9` included, so its end of file means that nobody watches over us any more.
        hurry: Called on every signal after the first.
    """
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if event.is_set():
            hurry()
        event.set()

    def on_readable() -> None:
        if watched is not None and not os.read(watched, 64):
            loop.remove_reader(watched)
            event.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if watched is not None:
        os.set_blocking(watched, False)
        loop.add_reader(watched, on_readable)
    return event
