"""What the hub reads, and what it does not; and whom it lets go where too much is asked of it."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import pytest
from prometheus_client import CollectorRegistry

from memory_streams import ACCESS, MemoryLog, MemorySocket, messages
from tallystick.errors import InvalidError, UnavailableError
from tallystick.followers.model import Stretch
from tallystick.log.queries import Place, Removed
from tallystick.query.ast import Equals, Everything, Not, OccurredBetween
from tallystick.stream.audience import Audience, Stream
from tallystick.stream.hub import Hub
from tallystick.stream.metrics import StreamMetrics
from tallystick.stream.model import StreamQuery

METRICS = StreamMetrics(CollectorRegistry())
ODD = Equals("action", "odd")


class CountedLog(MemoryLog):
    """Counts how often it is asked, and for what."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.asked_heads: list[int] = []
        self.read_logs: list[list[int]] = []

    async def grown(self, sizes: Mapping[int, int]) -> dict[int, int]:
        self.asked_heads.append(len(sizes))
        return await super().grown(sizes)

    async def read_all(self, places: Sequence[Place], *, limit: int, max_bytes: int) -> dict[int, Stretch]:
        self.read_logs.append([place.log_id for place in places])
        return await super().read_all(places, limit=limit, max_bytes=max_bytes)


def hub_of(log: MemoryLog, *, max_bytes: int = 1_000_000, fresh: bool = True) -> Hub:
    return Hub(log, METRICS, max_bytes=max_bytes, patience=60, fresh=lambda: fresh)


def seated(audience: Audience, *, paused: bool = False) -> Stream:
    stream = Stream(MemorySocket(paused), ACCESS, audience.through, METRICS)
    audience.pin(stream)
    audience.join(stream)
    return stream


def closed(stream: Stream) -> tuple[int, str] | None:
    assert isinstance(stream.socket, MemorySocket)
    return stream.socket.closed


def seqs(stream: Stream) -> list[int]:
    assert isinstance(stream.socket, MemorySocket)
    frames = b"".join(stream.socket.written)
    return [item["n"] for message in messages(frames) for item in message["items"]]


async def test_who_asks_the_same_shares_the_very_bytes() -> None:
    log = CountedLog(0)
    hub = hub_of(log)
    async with hub.watching(1, None) as watched, hub.watching(1, None) as again:
        assert again is watched
        audience = watched.audience(Everything(), StreamQuery())
        assert watched.audience(Everything(), StreamQuery()) is audience
        assert watched.audience(Equals("user_id", "ada"), StreamQuery()) is not audience
        one, other = seated(audience), seated(audience)
        log.size_ = 2
        await hub.look()
        assert log.read_logs == [[1]]
        assert isinstance(one.socket, MemorySocket)
        assert isinstance(other.socket, MemorySocket)
        assert one.socket.written[0] is other.socket.written[0]
        assert seqs(one) == [0, 1]
    await hub.look()
    assert log.asked_heads == [1]  # nobody watches


async def test_a_narrowed_stream_is_of_another_audience_than_one_that_filters_alike() -> None:
    async with hub_of(CountedLog(0)).watching(1, None) as watched:
        own = Equals("user_id", "ada")
        narrowed, filtered = watched.audience(own, StreamQuery()), watched.audience(Everything(), StreamQuery(own))
        assert narrowed is not filtered
        assert (narrowed.tells_removed, filtered.tells_removed) == (False, True)


async def test_quiet_logs_cost_one_look_at_the_heads() -> None:
    log = CountedLog(0)
    hub = hub_of(log)
    async with AsyncExitStack() as stack:
        for log_id in range(100):
            watched = await stack.enter_async_context(hub.watching(log_id, None))
            for _ in range(10):
                seated(watched.audience(Everything(), StreamQuery()))
        await hub.look()
    assert log.asked_heads == [100]
    assert log.read_logs == []


async def test_a_log_that_grows_without_end_is_read_on_in_the_next_look() -> None:
    log = CountedLog(0)
    hub = hub_of(log)
    async with hub.watching(1, None) as watched:
        stream = seated(watched.audience(Everything(), StreamQuery()))
        log.size_ = 100
        hub.grown(1, 100)
        await hub.look()
        assert seqs(stream) == list(range(4 * log.most))
        while len(seqs(stream)) < 100:
            await hub.look()
        assert seqs(stream) == list(range(100))


async def test_nothing_is_sent_while_it_is_not_known_who_may_see_it() -> None:
    log = CountedLog(0)
    hub = hub_of(log, fresh=False)
    async with hub.watching(1, None) as watched:
        stream = seated(watched.audience(Everything(), StreamQuery()))
        log.size_ = 3
        with pytest.raises(UnavailableError):
            await hub.look()
        assert seqs(stream) == []
        assert log.read_logs == []


async def test_no_stream_starts_after_the_end_of_a_log() -> None:
    hub = hub_of(CountedLog(5))
    for after in (5, 500):
        with pytest.raises(InvalidError) as refused:
            async with hub.watching(1, after):
                pass
        assert refused.value.flaws[0].detail == "must be up to 4, the newest seq of this log"
    async with hub.watching(1, 4) as watched:
        assert watched.through == 4


async def test_where_all_audiences_keep_too_much_the_slowest_are_let_go() -> None:
    log = CountedLog(0)
    hub = hub_of(log, max_bytes=3_000)
    async with hub.watching(1, None) as watched:
        quick = seated(watched.audience(Everything(), StreamQuery()))
        others = [StreamQuery(Not(Equals("action", f"other {number}"))) for number in range(20)]
        slow = [seated(watched.audience(Everything(), query), paused=True) for query in others]
        for size in range(3, 15, 3):
            log.size_ = size
            hub.grown(1, size)
            await hub.look()
        await hub.look()
        held = sum(audience.held for audience in watched.audiences)
        assert 12_000 < held <= 8 * 3_000
        assert seqs(quick) == list(range(12))
        assert quick.closed is None
        ended = [stream.closed for stream in slow if stream.closed is not None]
        assert ended
        assert {close.code for close in ended} == {4408}


async def test_a_filter_that_fails_ends_its_streams_and_no_others() -> None:
    log = CountedLog(0)
    hub = hub_of(log)
    async with hub.watching(1, None) as watched:
        quick = seated(watched.audience(Everything(), StreamQuery()))
        # Events of this log have no time that can be read, which no event has that was judged before it was stored.
        failing = watched.audience(Everything(), StreamQuery(OccurredBetween(0, 1)))
        stream = seated(failing)
        log.size_ = 2
        await hub.look()
        assert stream.closed is not None
        assert stream.closed.code == 1011
        assert seqs(quick) == [0, 1]
        failing.leave(stream)
        log.size_ = 3
        hub.grown(1, 3)
        await hub.look()
        assert seqs(quick) == [0, 1, 2]


async def test_a_log_that_was_put_back_ends_its_streams_and_tells_where_it_ends() -> None:
    """Its database was restored: other events will stand at places that were sent."""
    log = MemoryLog(10)
    hub = hub_of(log)
    async with hub.watching(1, None) as watched:
        whole, narrowed = (seated(watched.audience(narrowing, StreamQuery())) for narrowing in (Everything(), ODD))
        log.size_ = 6
        await hub.look()
        assert [closed(stream) for stream in (whole, narrowed)] == [(4410, "5"), (4410, "5")]
        anew = seated(watched.audience(Equals("action", "odd"), StreamQuery()))
        log.size_ = 9
        hub.grown(1, 9)
        for _ in range(3):
            await hub.look()
        assert seqs(anew) == [7]


async def test_a_log_that_cannot_be_told_of_holds_up_no_other() -> None:
    class Broken(MemoryLog):
        async def removed(self, log_id: int, after: int, through: int) -> tuple[Removed, ...]:
            raise LookupError(f"{log_id}: {after} to {through}")

        async def read_all(self, places: Sequence[Place], *, limit: int, max_bytes: int) -> dict[int, Stretch]:
            found = await super().read_all(places, limit=limit, max_bytes=max_bytes)
            if 1 in found:  # something is missing within
                whole = found[1]
                found[1] = Stretch(whole.after, whole.through, whole.events[1:], None, whole.ended)
            return found

    log = Broken(0)
    hub = hub_of(log)
    async with hub.watching(1, None) as broken, hub.watching(2, None) as sound:
        first = seated(broken.audience(Everything(), StreamQuery()))
        second = seated(sound.audience(Everything(), StreamQuery()))
        log.size_ = 2
        hub.grown(1, 2)
        hub.grown(2, 2)
        await hub.look()
        assert (closed(first) or (0, ""))[0] == 1011
        assert seqs(second) == [0, 1]
