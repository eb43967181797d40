"""Whose body is worked on: one at a time, clients in turn, and only so many let in.

Parsing ten thousand events is work of the event loop that single requests of others need as well. However many bodies
one client sends at once, only one slice of them is worked on between rounds of the loop for all others, and every other
client's body comes before its second. While single events are being appended, work on bodies rests as long as it takes.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from tallystick.errors import OverloadedError

PER_CLIENT: Final = 8
"""Bodies of one client that may be on their way, from the first byte to the answer."""

PAUSE: Final = 0.25
"""Seconds before a refusal is answered, in the mean: refused together, clients shall not come back together."""

_ROUNDS: Final = 3

_SHORTEST_REST: Final = 0.002
"""Seconds: the loop's clock counts milliseconds, so what is shorter would take several times as long as it should."""

_LONGEST_REST: Final = 0.02


async def give_way() -> None:
    """Let all others run between two slices of long work.

    A single request takes about seven rounds of the loop (its connection, the queue, five answers of the database).
    With a slice in each of them it would wait for seven slices; with one in three it waits for two or three.
    """
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)


class Rests:
    """When long work rests: while requests are in progress that are done quickly, each within a ``with`` block.

    It works as long as it rests, so it keeps half of the loop. Giving way alone lets the others wait for a slice of it
    in every third round.

    Args:
        shortest: Seconds of work that it rests for at least; for less it rests with the next slice.
        longest: Seconds that it rests at most between two slices.
    """

    def __init__(self, shortest: float = _SHORTEST_REST, longest: float = _LONGEST_REST) -> None:
        self._shortest = shortest
        self._longest = longest
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self._owed = 0.0

    def __enter__(self) -> None:
        """One more is in progress."""
        self._count += 1
        self._none.clear()

    def __exit__(self, *_: object) -> None:
        """It is answered, or failed."""
        self._count -= 1
        if not self._count:
            self._none.set()

    async def rest(self, worked: float) -> None:
        """Give way; while quick requests are in progress, for as long as was worked since the last rest.

        Args:
            worked: Seconds that the last slice took.
        """
        await give_way()
        self._owed = min(self._owed + worked, self._longest) if self._count else 0.0
        if self._owed >= self._shortest:
            owed, self._owed = self._owed, 0.0
            with suppress(TimeoutError):
                async with asyncio.timeout(owed):
                    await self._none.wait()


class Turns:
    """Admits bodies and gives out turns, for one event loop.

    Bodies are counted for each client alone: a bound on the number of all could be used up by a few who send
    nothing. What all of them hold is bounded in bytes, by `Intake`.
    """

    def __init__(self, per_client: int = PER_CLIENT, pause: float = PAUSE) -> None:
        self._per_client = per_client
        self._pause = pause
        self._admitted: dict[str, int] = {}
        self._taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncGenerator[None]:
        """Let a body in until the block ends.

        A client that has too many on their way is refused after a pause: one that tries again at once would else keep
        the process busy with refusals.

        Raises:
            OverloadedError: The client has too many on their way; nothing was read.
        """
        count = self._admitted.get(client, 0)
        if count >= self._per_client:
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
            raise OverloadedError(f"{count} bulk requests of this client are on their way; wait for one to be answered")
        self._admitted[client] = count + 1
        try:
            yield
        finally:
            left = self._admitted[client] - 1
            if left:
                self._admitted[client] = left
            else:
                del self._admitted[client]

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncGenerator[None]:
        """Wait for the client's turn, and keep it until the block ends."""
        if self._taken:
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(client, deque()).append(ready)
            try:
                await ready
            except asyncio.CancelledError:
                if ready.done() and not ready.cancelled():
                    self._pass_on(client)  # it was given the turn in the same moment
                raise
        self._taken = True
        try:
            yield
        finally:
            self._pass_on(client)

    def _pass_on(self, holder: str) -> None:
        """Give the turn to the client that waits longest since its last one."""
        if holder in self._waiting:
            self._waiting.move_to_end(holder)
        while self._waiting:
            client, waiting = self._waiting.popitem(last=False)
            ready = waiting.popleft()
            if waiting:
                self._waiting[client] = waiting
            if not ready.done():
                ready.set_result(None)
                return  # still taken, now by that client
        self._taken = False
