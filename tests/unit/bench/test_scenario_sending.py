"""One process's share of a scenario against canned answers: when it sends, how it waits, what it notes."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterator

import orjson
import pytest

from canned_answers import serving
from tallystick.bench.payloads import Payloads
from tallystick.bench.scenarios.asking import Questions
from tallystick.bench.scenarios.ledger import Comparison, Ledger
from tallystick.bench.scenarios.model import Ask, Group, Phase, Scenario, Share, Stream
from tallystick.bench.scenarios.samples import Samples
from tallystick.bench.scenarios.sending import UNREADABLE, Pool, Sender
from tallystick.bench.scenarios.target import Seed, Target
from tallystick.log.identity import make_id

BODY = re.compile(rb"\r\n\r\n(.*)", re.DOTALL)


def answered(status: int, body: object = None, *, wait: int | None = None) -> bytes:
    content = b"" if body is None else orjson.dumps(body)
    patience = "" if wait is None else f"Retry-After: {wait}\r\n"
    return f"HTTP/1.1 {status} X\r\n{patience}Content-Length: {len(content)}\r\n\r\n".encode() + content


def stored(seq: int) -> bytes:
    return answered(201, {"id": make_id(1_764_000_000_000, seq, 1), "seq": seq})


def body_of(request: bytes) -> bytes:
    found = BODY.search(request)
    assert found is not None
    return found[1]


def acknowledged(ledger: Ledger) -> int:
    return Comparison([ledger]).findings().acknowledged


async def sent(
    respond: Callable[[bytes], bytes],
    rate: float,
    seconds: float,
    *,
    group: Group = Group.APPENDS,
    ask: Ask = Ask.APPEND,
    connections: int = 8,
    pause: float = 0.0,
) -> tuple[Samples, Ledger]:
    """What a stream of single events brought, from a server of canned answers."""
    stream = Stream("single", group, ask, (0, 1))
    scenario = Scenario("any", (stream,), (Phase("all", seconds, (rate,)),), 1)
    ledger = Ledger("run", 0)
    async with serving(respond, pause) as url:
        target = Target(url, {"acme": "token"}, None, makes_tenants=False)
        questions = Questions(target, scenario, ledger, deque(), seed=1)
        share = Share(0, 1, apart=stream.apart)
        sender = Sender(scenario, share, questions, Pool(target, connections), time.perf_counter())
        samples = Samples()
        running = asyncio.create_task(sender.run())
        while not running.done():  # as it is read in a run, while requests are under way
            await asyncio.wait([running], timeout=0.01)
            samples.merge(sender.take())
        await running
        return samples, ledger


async def test_every_event_has_an_id_of_its_own_and_is_noted_as_acknowledged() -> None:
    received: list[bytes] = []

    def respond(request: bytes) -> bytes:
        received.append(body_of(request))
        return stored(len(received))

    samples, ledger = await sent(respond, rate=100, seconds=0.3)
    assert [sample.answered for sample in samples] == [True] * 30
    assert {orjson.loads(body)["event_id"] for body in received} == {ledger.event_id(number) for number in range(30)}
    assert acknowledged(ledger) == 30
    assert max(samples.dues) < 0.3


async def test_a_refused_request_waits_as_long_as_it_is_told_and_goes_again_unchanged() -> None:
    received: list[tuple[float, bytes]] = []

    def respond(request: bytes) -> bytes:
        received.append((time.perf_counter(), body_of(request)))
        return answered(503, wait=1) if len(received) == 1 else stored(0)

    samples, ledger = await sent(respond, rate=10, seconds=0.1)
    (first, body), (again, same) = received
    assert again - first >= 1
    assert body == same
    (sample,) = samples
    assert sample.answered
    assert sample.seconds >= 1, "the wait is part of what an application feels"
    assert [refusal.status for refusal in samples.refusals] == [503]
    assert acknowledged(ledger) == 1


@pytest.mark.parametrize("body", [None, {"seq": 0}, [], {"id": None}], ids=["nothing", "no id", "a list", "no text"])
async def test_an_acknowledgement_that_cannot_be_read_is_told(body: object) -> None:
    samples, ledger = await sent(lambda _: answered(201, body), rate=10, seconds=0.1)
    assert [sample.answered for sample in samples] == [False]
    assert samples.flaws == {("single", UNREADABLE): 1}
    assert acknowledged(ledger) == 0


async def test_a_search_that_cannot_be_read_is_told() -> None:
    def respond(request: bytes) -> bytes:
        return answered(200, {"items": []}) if b"/search" in request else stored(3)

    samples, _ = await sent(respond, rate=10, seconds=0.1, ask=Ask.PROBE)
    assert samples.flaws == {("single", UNREADABLE): 1}
    assert not samples.freshness


async def test_a_request_that_was_not_understood_is_not_sent_again() -> None:
    received: list[bytes] = []

    def respond(request: bytes) -> bytes:
        received.append(request)
        return answered(422)

    samples, ledger = await sent(respond, rate=10, seconds=0.1)
    assert len(received) == 1
    (sample,) = samples
    assert (sample.answered, sample.status) == (False, 422)
    assert acknowledged(ledger) == 0


async def test_a_flood_does_not_wait() -> None:
    samples, _ = await sent(lambda _: answered(503, wait=60), rate=50, seconds=0.2, group=Group.FLOOD)
    assert [sample.status for sample in samples] == [503] * 10
    assert max(samples.seconds) < 30


async def test_a_broken_connection_is_no_answer_and_the_event_goes_again() -> None:
    replies: Iterator[bytes] = iter([b"HTTP/1.1 close", stored(0)])  # it breaks off in the middle of a head
    samples, ledger = await sent(lambda _: next(replies), rate=10, seconds=0.1)
    assert [refusal.status for refusal in samples.refusals] == [0]
    assert acknowledged(ledger) == 1


async def test_a_slow_answer_delays_no_other_request() -> None:
    """With one connection, requests queue for it, and their waits count from when they were due."""
    samples, _ = await sent(lambda _: stored(0), rate=100, seconds=0.1, connections=1, pause=0.05)
    assert len(list(samples)) == 10
    assert max(samples.seconds) > 10 * 0.05 - 0.1
    assert max(samples.dues) < 0.1


async def test_what_is_on_its_way_is_waited_for_when_it_is_ended() -> None:
    release = asyncio.Event()
    arrived = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await release.wait()
        writer.write(stored(0))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        target = Target(url, {"acme": "token"}, None, makes_tenants=False)
        stream = Stream("single", Group.APPENDS, Ask.APPEND, (0, 1))
        scenario = Scenario("any", (stream,), (Phase("all", 600, (10,)),), 1)
        questions = Questions(target, scenario, Ledger("run", 0), deque(), seed=1)
        sender = Sender(scenario, Share(0, 1), questions, Pool(target, 1), time.perf_counter())
        running = asyncio.create_task(sender.run())
        await asyncio.wait_for(arrived.wait(), 30)
        sender.stop()
        release.set()
        await asyncio.wait_for(running, 60)
        samples = sender.take()
    assert any(sample.answered for sample in samples)


@pytest.mark.parametrize("ask", [ask for ask in Ask if ask not in (Ask.APPEND, Ask.PROBE)])
def test_every_read_asks_for_what_is_known_to_be_there(ask: Ask) -> None:
    seed = Seed("acme", make_id(1_764_000_000_000, 5, 1), Payloads(1).one("acme"))
    stream = Stream(ask, Group.READS, ask, (0, 1))
    scenario = Scenario("any", (stream,), (Phase("all", 1, (1,)),), 1)
    target = Target("http://127.0.0.1:1", {"acme": "the-token"}, None, makes_tenants=False)
    questions = Questions(target, scenario, Ledger("run", 0), deque([seed]), seed=1)
    request = questions.form(stream).request
    assert b"acme" in request.raw
    assert b"Authorization: Bearer the-token\r\n" in request.raw
    assert request.expect == 200


async def test_how_fresh_an_event_was_is_kept_however_long_it_was_looked_for() -> None:
    looks: list[bytes] = []

    def respond(request: bytes) -> bytes:
        if b"/search" not in request:
            return stored(7)
        looks.append(request)
        return answered(200, {"items": ["it"], "complete": True, "indexed_through": 6 + (len(looks) > 2)})

    samples, _ = await sent(respond, rate=10, seconds=0.1, group=Group.PROBES, ask=Ask.PROBE)
    (seen,) = samples.freshness
    assert (len(looks), seen.missed) == (3, False)
    assert seen.found is not None
    assert seen.indexed is not None
    assert seen.found < seen.indexed
