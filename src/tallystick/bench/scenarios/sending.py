"""Sends one process's share of a scenario: each request when it is due, whatever became of those before.

A closed loop sends less when the server is slow, and so hides the very waits it should show (coordinated omission).
Here each time counts from the moment the request was due until it was answered for good. A refused one is sent again
once the time has passed that the server asked for, which is part of its time, as it would be for an application.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from typing import Final

import orjson

from tallystick.bench.requests import Answer, Connection, Request
from tallystick.bench.scenarios.asking import Question, Questions
from tallystick.bench.scenarios.model import Ask, Due, Scenario, Share, schedule
from tallystick.bench.scenarios.samples import UNANSWERED, Freshness, Refusal, Sample, Samples
from tallystick.bench.scenarios.target import Target

RETRIED: Final = frozenset({UNANSWERED, 408, 429, 502, 503, 504})
"""Answers after which a request is sent again: the `event_id` of its events makes that safe."""

PATIENCE: Final = 60.0
"""Seconds from when a request was due to when it is sent for the last time; as long does a run wait for its end."""

UNREADABLE: Final = "it cannot be read"
"""What is wrong with an answer that is no JSON, or lacks what it must have."""

_NOT_READ: Final = (ValueError, LookupError, TypeError, AttributeError)

_ANSWER_SECONDS: Final = 30.0
_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_LOOK_SECONDS: Final = 0.25
_FRESH_SECONDS: Final = 30.0
_STEP_SECONDS: Final = 0.1


class Pool:
    """Keep-alive connections. The one that was used last is used next, so that no more are open than are needed."""

    def __init__(self, target: Target, connections: int) -> None:
        self._url, self._tls = target.url, target.tls()
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(connections)

    async def exchange(self, form: Callable[[], Request]) -> Answer:
        """Send a request over a free connection; the status is 0 where there is no answer in time.

        Args:
            form: Gives the request, once there is a connection: those that wait for one take no memory.
        """
        async with self._free:
            connection = self._idle.pop() if self._idle else Connection(self._url, self._tls)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await connection.exchange(form())
            except TimeoutError:
                connection.close()
                return Answer(UNANSWERED, b"")
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            return answer

    async def end(self) -> None:
        """Close those that nobody uses."""
        await asyncio.gather(*(connection.end() for connection in self._idle))


class Sender:
    """One process's share of a run.

    Args:
        scenario: Of what.
        share: Which part.
        questions: Where requests come from.
        pool: By what they go.
        begin: When the run begins, by `time.perf_counter`, which all processes of a machine share.
    """

    def __init__(self, scenario: Scenario, share: Share, questions: Questions, pool: Pool, begin: float) -> None:
        self._samples = Samples()
        self._scenario = scenario
        self._share = share
        self._questions = questions
        self._pool = pool
        self._begin = begin
        self._stopped = False
        self._draw = random.Random(share.number)  # noqa: S311 - spreads retries, guards nothing

    def stop(self) -> None:
        """Send no more; what is on its way is waited for."""
        self._stopped = True

    def take(self) -> Samples:
        """What was measured since the last time."""
        taken, self._samples = self._samples, Samples()
        return taken

    async def run(self) -> None:
        """Send all, and wait for their answers, so long as the patience lasts."""
        on_their_way: set[asyncio.Task[object]] = set()
        for due in schedule(self._scenario, self._share):
            await self._until(due.moment)
            if self._stopped:
                break
            late = self._now() - due.moment
            probes = self._scenario.streams[due.stream].ask is Ask.PROBE
            task = asyncio.create_task(self._probe(due, late) if probes else self._deliver(due, late))
            on_their_way.add(task)
            task.add_done_callback(on_their_way.discard)
        if on_their_way:
            await asyncio.wait(on_their_way, timeout=PATIENCE)
        for task in on_their_way:
            task.cancel()
        await asyncio.gather(*on_their_way, return_exceptions=True)
        await self._pool.end()

    def _now(self) -> float:
        return time.perf_counter() - self._begin

    async def _until(self, moment: float) -> None:
        """Wait for a moment, or for the end. Answers have their turn even when the moment has passed."""
        wait = moment - self._now()
        await asyncio.sleep(min(max(wait, 0), _STEP_SECONDS))
        while not self._stopped and (wait := moment - self._now()) > 0:  # noqa: ASYNC110 - a clock gives no signal
            await asyncio.sleep(min(wait, _STEP_SECONDS))

    async def _deliver(self, due: Due, late: float, question: Question | None = None) -> Answer | None:
        """Send a request until it is answered for good; gives the answer where it is as it must be."""
        stream = self._scenario.streams[due.stream]
        status, answered, pause = UNANSWERED, False, _PAUSE

        def form() -> Request:
            nonlocal question
            question = question or self._questions.form(stream)
            return question.request

        try:
            while True:
                answer = await self._pool.exchange(form)
                status = answer.status
                if question is not None and status == question.request.expect:
                    answered = self._judge(question, answer)
                    return answer if answered else None
                self._samples.refusals.append(Refusal(self._now(), due.moment, due.stream, status))
                if not stream.patient or status not in RETRIED or self._now() - due.moment > PATIENCE:
                    return None
                # Those that were refused together do not come back together.
                await asyncio.sleep((answer.retry_after or pause) * self._draw.uniform(1, 1.25))
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._samples.add(Sample(due.stream, due.moment, late, self._now() - due.moment, status, answered))

    def _judge(self, question: Question, answer: Answer) -> bool:
        try:
            flaw = question.judge(answer.body)
        except _NOT_READ:
            flaw = UNREADABLE
        if flaw is not None:
            self._samples.flaw(question.request.kind, flaw)
        return flaw is None

    async def _probe(self, due: Due, late: float) -> None:
        """Store an event with a word of its own, and search for it until it is in the index."""
        word = f"probe{secrets.token_hex(8)}"
        stored, search = self._questions.probe(self._scenario.streams[due.stream], word)
        acknowledgement = await self._deliver(due, late, stored)
        if acknowledgement is None:
            return
        try:
            freshness = await self._look_for(orjson.loads(acknowledgement.body)["seq"], search)
        except _NOT_READ:
            self._samples.flaw(search.kind, UNREADABLE)
        else:
            # What was measured is taken away now and then: only now is it known where this belongs.
            self._samples.freshness.append(freshness)

    async def _look_for(self, seq: int, search: Request) -> Freshness:
        """Search for an event that was just acknowledged until it is in the index, or for long enough."""
        begin = self._now()
        found = indexed = None
        missed = False
        while indexed is None and not self._stopped:
            answer = await self._pool.exchange(lambda: search)
            passed = self._now() - begin
            if answer.status == search.expect:
                page = orjson.loads(answer.body)
                missed = missed or (page["complete"] and not page["items"])
                found = passed if page["items"] and found is None else found
                indexed = passed if page["indexed_through"] >= seq else None
            if passed > _FRESH_SECONDS:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return Freshness(begin, found, indexed, missed)
