"""The processes that send: each its share, all by one clock. They tell what they measured as they go."""

import asyncio
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any, Final

import uvloop

from tallystick.bench.scenarios.asking import Questions
from tallystick.bench.scenarios.ledger import Ledger
from tallystick.bench.scenarios.model import Scenario, Share
from tallystick.bench.scenarios.samples import Samples
from tallystick.bench.scenarios.sending import Pool, Sender
from tallystick.bench.scenarios.target import Ground, Target
from tallystick.errors import ConfigurationError

_TELL_SECONDS: Final = 0.25
_LEAD_SECONDS: Final = 0.2
_END_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Order:
    """What one process is to do.

    Attributes:
        target: Where to send.
        scenario: What.
        share: Which part of it.
        ground: What the run starts from.
        ledger: Where it notes its events.
        connections: Most at once.
    """

    target: Target
    scenario: Scenario
    share: Share
    ground: Ground
    ledger: Ledger
    connections: int


@dataclass(frozen=True, slots=True)
class End:
    """What a process tells last.

    Attributes:
        ledger: Every event that it sent.
        cpu: Cores that it used on average.
    """

    ledger: Ledger
    cpu: float


@dataclass(slots=True)
class Outcome:
    """What a run brought.

    Attributes:
        samples: Of all processes.
        ends: What each of them told last, in their order.
        interrupted_at: Seconds from the beginning, where a person ended it.
    """

    samples: Samples = field(default_factory=Samples)
    ends: list[End] = field(default_factory=list[End])
    interrupted_at: float | None = None


Watch = Callable[[float, Samples], None]
"""Is told how many seconds have passed, and what was measured since the last time."""


def orders(
    target: Target, scenario: Scenario, ground: Ground, run: str, *, processes: int, connections: int
) -> list[Order]:
    """Divide a scenario among processes, and give one more those streams that are to be sent apart.

    Args:
        target: Where to send.
        scenario: What.
        ground: What the run starts from.
        run: Its name, which its events carry.
        processes: How many share what is not sent apart.
        connections: Most of all these at once, and as many for what is.
    """
    shares = [Share(number, processes) for number in range(processes)]
    each = max(connections // processes, 1)
    if any(stream.apart for stream in scenario.streams):
        shares.append(Share(0, 1, apart=True))
    return [
        Order(target, scenario, share, ground, Ledger(run, number), connections if share.apart else each)
        for number, share in enumerate(shares)
    ]


def generate(wanted: Sequence[Order], watch: Watch) -> Outcome:
    """Send a scenario. An interrupt (Ctrl-C) ends it early, and what was measured until then is the outcome.

    Args:
        wanted: As `orders` divides it.
        watch: Told what is going on, a few times a second.

    Raises:
        ConfigurationError: A process died.
    """
    outcome = Outcome()
    ends: dict[Pipe[Any, Any], End] = {}
    with _started(wanted) as pipes, _interruptible() as interrupted:
        for pipe in pipes:
            _receive(pipe)
        begin = time.perf_counter() + _LEAD_SECONDS
        for pipe in pipes:
            pipe.send(begin)
        while open_pipes := [pipe for pipe in pipes if pipe not in ends]:
            fresh = Samples()
            ready = wait(open_pipes, _TELL_SECONDS)
            for pipe in (pipe for pipe in open_pipes if pipe in ready):
                told = _receive(pipe)
                if isinstance(told, End):
                    ends[pipe] = told
                else:
                    fresh.merge(told)
            outcome.samples.merge(fresh)
            passed = time.perf_counter() - begin
            watch(passed, fresh)
            if interrupted.is_set() and outcome.interrupted_at is None:
                outcome.interrupted_at = passed
                for pipe in open_pipes:
                    pipe.send(None)
        outcome.ends = [ends[pipe] for pipe in pipes]
    return outcome


@contextmanager
def _interruptible() -> Generator[threading.Event]:
    """Turn the first interrupt into a wish: nothing that was measured is lost by it. The next one is as usual."""
    wished = threading.Event()

    def wish(_signal: int, _frame: object) -> None:
        wished.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, wish)
    try:
        yield wished
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _started(wanted: Sequence[Order]) -> Generator[list["Pipe[Any, Any]"]]:
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe[Any, Any]] = []
    processes: list[Any] = []
    try:
        for order in wanted:
            ours, theirs = context.Pipe()
            process = context.Process(target=_run, args=(theirs, order), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
        for process in processes:
            process.join(_END_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _receive(pipe: "Pipe[Any, Any]") -> Any:  # noqa: ANN401 - whatever it carries
    try:
        return pipe.recv()
    except (EOFError, ConnectionError):
        raise ConfigurationError("a process that sends died: these figures are worth nothing") from None


def _run(pipe: "Pipe[Any, Any]", order: Order) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all of us; ours is told by its parent
    questions = Questions(
        order.target, order.scenario, order.ledger, deque(order.ground.seeds), seed=100 + order.ledger.name
    )
    questions.start_sync(order.ground.starts)
    pipe.send(None)
    begin: float = pipe.recv()
    used, since = time.process_time(), time.perf_counter()
    uvloop.run(_send(pipe, order, questions, begin))
    cpu = (time.process_time() - used) / (time.perf_counter() - since)
    pipe.send(End(order.ledger, cpu))


async def _send(pipe: "Pipe[Any, Any]", order: Order, questions: Questions, begin: float) -> None:
    sender = Sender(order.scenario, order.share, questions, Pool(order.target, order.connections), begin)

    async def tell() -> None:
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            pipe.send(sender.take())
            if pipe.poll():
                sender.stop()

    telling = asyncio.create_task(tell())
    await sender.run()
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    pipe.send(sender.take())
