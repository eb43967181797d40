"""However appends, looks, pauses and reconnections follow each other: every stream gets each event once, in order.

The hub, its audiences and the replays are ours; the log and the connections are in memory, so that thousands of
interleavings are tried.
"""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from memory_streams import ACCESS, MemoryLog, MemorySocket, messages
from tallystick.query.ast import Equals, Everything, Node
from tallystick.stream.audience import Audience, Stream
from tallystick.stream.hub import Hub
from tallystick.stream.metrics import StreamMetrics
from tallystick.stream.model import StreamQuery
from tallystick.stream.replay import Replays
from tallystick.stream.watched import WatchedLog

ODD = Equals("action", "odd")
ROOM = 2_500
"""Bytes that are kept for who is slow: some ten events."""


class Client:
    """Watches, and connects again with the seq it is told, or with the last that it saw."""

    def __init__(self, hub: Hub, replays: Replays, narrowing: Node, after: int | None) -> None:
        self.hub, self.replays, self.narrowing = hub, replays, narrowing
        self.begins = after
        self.after = after
        self.seen: list[int] = []
        self.told: list[tuple[int, str]] = []
        self.socket = MemorySocket()
        self.left = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def live(self) -> None:
        async with self.hub.watching(1, self.after) as watched:
            await self._stay(watched)

    async def _stay(self, watched: WatchedLog) -> None:
        audience: Audience = watched.audience(self.narrowing, StreamQuery())
        start = audience.through if self.after is None else self.after
        if self.begins is None:
            self.begins = start
        stream = Stream(self.socket, ACCESS, start, StreamMetrics(CollectorRegistry()))
        stream.beat()
        replay = asyncio.create_task(self.replays.replay(1, audience, stream))
        try:
            await self.left.wait()
        finally:
            replay.cancel()
            await asyncio.wait({replay})
            audience.leave(stream)
            watched.let_go(self.narrowing, StreamQuery())

    def wants(self, seq: int) -> bool:
        return self.narrowing is not ODD or seq % 2 == 1

    def connect(self) -> None:
        self.socket, self.left = MemorySocket(), asyncio.Event()
        self.task = asyncio.create_task(self.live())

    def take(self) -> None:
        """Read all that was written."""
        for message in [each for frames in self.socket.written for each in messages(frames)]:
            self.seen += [item["n"] for item in message.get("items", ())]
            assert self.after is None or message["seq"] >= self.after
            self.after = message["seq"]
        self.socket.written.clear()

    async def disconnect(self) -> None:
        """Leave; what was on its way and not read is lost, as when a process is killed."""
        self.left.set()
        assert self.task is not None
        await self.task

    async def reconnect(self, *, reads: bool) -> None:
        if reads or self.socket.closed is not None:
            self.take()
        if self.socket.closed is not None:
            self.told.append(self.socket.closed)
            code, seq = self.socket.closed
            assert code == 4408
            assert self.after is not None
            assert int(seq) >= self.after  # what a filter skips counts, too
            self.after = int(seq)
        await self.disconnect()
        if self.after is None:
            self.begins = None  # it does not know where it was, so it begins anew
        self.connect()


STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 12)),
    st.tuples(st.just("turns"), st.integers(1, 30)),
    st.tuples(st.just("pause"), st.integers(0, 3)),
    st.tuples(st.just("go on"), st.integers(0, 3)),
    st.tuples(st.just("reconnect"), st.integers(0, 3)),
    st.tuples(st.just("break off"), st.integers(0, 3)),
)


class Play:
    """A log, four clients, and what happens to them."""

    def __init__(self, size: int) -> None:
        self.log = MemoryLog(size)
        self.hub = Hub(self.log, StreamMetrics(CollectorRegistry()), max_bytes=ROOM, patience=60, fresh=lambda: True)
        replays = Replays(self.log, 60, lambda: True)
        self.clients = [
            Client(self.hub, replays, narrowing, after) for narrowing in (Everything(), ODD) for after in (None, -1)
        ]

    async def step(self, step: str, number: int) -> None:
        match step:
            case "append":
                self.log.size_ += number
                self.hub.grown(1, self.log.size_)
            case "turns":
                for _ in range(number):
                    await asyncio.sleep(0)
            case "pause" | "go on":
                self.clients[number].socket.paused = step == "pause"
            case _:
                await self.clients[number].reconnect(reads=step == "reconnect")

    async def look(self) -> None:
        while True:
            await self.hub.look()
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Let everybody read to the end."""
        for client in self.clients:
            client.socket.paused = False
        async with asyncio.timeout(5):
            while not all(complete(client, self.log.size_) for client in self.clients):
                for client in self.clients:
                    client.take()
                    if client.socket.closed is not None:
                        await client.reconnect(reads=True)
                await asyncio.sleep(0)
        for client in self.clients:
            await client.disconnect()


async def play(steps: list[tuple[str, int]], size: int) -> set[int]:
    """Play it; returns the codes that streams were closed with."""
    played = Play(size)
    for client in played.clients:
        client.connect()
    looking = asyncio.create_task(played.look())
    try:
        for step in steps:
            await played.step(*step)
        await played.end()
    finally:
        looking.cancel()
        await asyncio.wait({looking})
    for client in played.clients:
        assert client.begins is not None
        assert client.seen == [seq for seq in range(client.begins + 1, played.log.size_) if client.wants(seq)]
    return {code for client in played.clients for code, _ in client.told}


def complete(client: Client, size: int) -> bool:
    if client.begins is None:
        return False
    wanted = [seq for seq in range(client.begins + 1, size) if client.wants(seq)]
    return not wanted or client.seen[-1:] == wanted[-1:]


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40), st.integers(0, 30))
def test_each_event_comes_once_and_in_order(steps: list[tuple[str, int]], size: int) -> None:
    asyncio.run(play(steps, size))


def test_the_play_overflows_the_room_of_who_pauses() -> None:
    steps = [("turns", 30), ("pause", 1), *[("append", 12), ("turns", 30)] * 20]
    assert asyncio.run(play(steps, 0)) == {4408}
