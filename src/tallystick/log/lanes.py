"""The bounded queue before the writer: two lanes, and fair shares between the logs in each."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

from tallystick.errors import OverloadedError
from tallystick.log.model import PreparedEvent
from tallystick.log.retries import RequestKey
from tallystick.settings import WriterSettings

Lane = Literal["events", "access"]

_QUANTUM: Final = 100
"""Events that a log may put into a batch per round while others wait (deficit round robin)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where an event lies, as its 201 says.

    Attributes:
        known: Whether it was there before: the answer to a retry.
    """

    id: str
    seq: int
    leaf_hash: str
    received_at: str
    known: bool = False

    def answer(self) -> bytes:
        """The 201's body: what a retry is answered again."""
        fields = {"id": self.id, "seq": self.seq, "leaf_hash": self.leaf_hash, "received_at": self.received_at}
        return orjson.dumps(fields)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        stored: As long as the request's events; None where one contradicts an earlier event of its `event_id`.
        answer: The response body: rendered now, or as it was when the same request first came.
    """

    stored: Sequence[Stored | None]
    answer: bytes


@dataclass(eq=False, slots=True)
class Append:
    """One request to the writer.

    Attributes:
        log_id: The log.
        events: In the order of their seqs-to-be.
        render: Makes the answer of what was stored; called inside the transaction, so it must be quick.
        key: The request's own retry key.
        lane: Which share of the queue it uses.
        bulk: Whether a flaw of it names the event by its index.
        skip_conflicts: Store the rest when an `event_id` came with other content; else the whole request fails.
        size: Bytes of the bodies.
        set_aside: Its log was held by another process; it goes on in a transaction that may wait for it.
        waiting: Whether it is in the queue.
        answered: Whether the writer is done with it.
        cause: The request that it comes of, as far as that is traced.
    """

    log_id: int
    events: Sequence[PreparedEvent]
    render: Callable[[Sequence[Stored | None]], bytes]
    key: RequestKey | None = None
    lane: Lane = "events"
    bulk: bool = False
    skip_conflicts: bool = False
    done: "asyncio.Future[Outcome]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    size: int = field(init=False)
    set_aside: bool = False
    waiting: bool = False
    answered: bool = False
    cause: str | None = None

    def __post_init__(self) -> None:
        self.size = sum(len(event.rest) for event in self.events)

    @property
    def has_keys(self) -> bool:
        """Whether a retry key is to be looked up."""
        return self.key is not None or any(event.event_id is not None for event in self.events)


@dataclass(slots=True)
class _Log:
    """The requests of one log that wait, and its credit in the round robin."""

    waiting: deque[Append] = field(default_factory=deque[Append])
    events: int = 0
    credit: int = 0


class Lanes:
    """Requests that wait, by lane and log. Knows nothing of tasks or the database.

    A log whose batch is being stored is *busy*: its further requests gather and go together. A request is *patient*
    when it may take long: a body of many events, or one whose log another process holds. Not thread-safe.
    """

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._lanes: dict[Lane, dict[int, _Log]] = {"access": {}, "events": {}}
        self._rooms = {lane: self._room(lane) for lane in self._lanes}
        self._busy: set[int] = set()
        self._held_events: dict[Lane, int] = {"access": 0, "events": 0}
        self._held_bytes: dict[Lane, int] = {"access": 0, "events": 0}

    @property
    def held_events(self) -> int:
        """Events accepted and not yet answered: waiting or being stored."""
        return sum(self._held_events.values())

    @property
    def held_bytes(self) -> int:
        """Bytes of their bodies."""
        return sum(self._held_bytes.values())

    def is_busy(self, append: Append) -> bool:
        """Tell whether a batch of the request's log is being stored."""
        return append.log_id in self._busy

    def is_patient(self, append: Append) -> bool:
        """Tell whether the request may take long."""
        return append.set_aside or len(append.events) > self._settings.large_events

    def offer(self, append: Append) -> None:
        """Let a request wait.

        Raises:
            OverloadedError: No room, or its log already has its share; nothing was taken.
        """
        count = len(append.events)
        room, room_bytes = self._rooms[append.lane]
        logs = self._lanes[append.lane]
        log = logs.get(append.log_id)
        if (
            self._held_events[append.lane] + count > room
            or self._held_bytes[append.lane] + append.size > room_bytes
            or self.held_events + count > self._settings.queue_events
            or self.held_bytes + append.size > self._settings.queue_bytes
        ):
            raise OverloadedError("too many events wait to be stored; none of this request was: send it again")
        # Half of the room is for whoever comes next, however much one log sends.
        share = max(room // 2 // max(len(logs), 1), _QUANTUM)
        if log is not None and log.events + count > share:
            raise OverloadedError("this log has as many events waiting as its fair share; send this request again")
        if log is None:
            log = logs[append.log_id] = _Log()
        log.waiting.append(append)
        log.events += count
        append.waiting = True
        self._held_events[append.lane] += count
        self._held_bytes[append.lane] += append.size

    def _room(self, lane: Lane) -> tuple[int, int]:
        """Events and bytes that a lane may hold: of the whole queue, events leave access logs their share."""
        settings = self._settings
        if lane == "access":
            return settings.queue_events, settings.queue_bytes
        share = settings.access_share
        return (
            settings.queue_events - int(settings.queue_events * share),
            settings.queue_bytes - int(settings.queue_bytes * share),
        )

    def take_all(self) -> list[Append]:
        """Take every request that waits, of all logs."""
        taken: list[Append] = []
        for logs in self._lanes.values():
            while logs:
                taken.append(self._pop(logs, next(iter(logs))))
        return taken

    def put_back(self, appends: Iterable[Append]) -> None:
        """Return requests that were taken, in order and before all others of their logs, as patient ones."""
        for append in reversed(list(appends)):
            append.set_aside = append.waiting = True
            log = self._lanes[append.lane].setdefault(append.log_id, _Log())
            log.waiting.appendleft(append)
            log.events += len(append.events)

    def take(self, *, patient: bool) -> list[Append]:
        """Take the next batch and mark its logs busy; empty when nothing is ready.

        Args:
            patient: Take patient requests of one log, else as many others as fit, each log its share.
        """
        settings = self._settings
        batch: list[Append] = []
        if patient:
            for logs in self._lanes.values():
                batch = batch or self._take_patient(logs)
        else:
            reserved = _Room(int(settings.batch_events * settings.access_share), settings.batch_bytes)
            batch.extend(self._take_shares(self._lanes["access"], reserved))
            batch.extend(self._take_shares(self._lanes["events"], _Room(settings.batch_events, settings.batch_bytes)))
        self._busy.update(append.log_id for append in batch)
        return batch

    def release(self, batch: Iterable[Append]) -> None:
        """The batch's logs are no longer busy."""
        self._busy.difference_update(append.log_id for append in batch)

    def forget(self, append: Append) -> None:
        """The request was answered: its room is free."""
        self._held_events[append.lane] -= len(append.events)
        self._held_bytes[append.lane] -= append.size

    def _ready(self, logs: dict[int, _Log], *, patient: bool) -> list[int]:
        return [
            log_id
            for log_id, log in logs.items()
            if log_id not in self._busy and self.is_patient(log.waiting[0]) == patient
        ]

    def _take_patient(self, logs: dict[int, _Log]) -> list[Append]:
        """Take a large request, or all that were set aside, of one log."""
        for log_id in self._ready(logs, patient=True):
            room = _Room(self._settings.batch_events, self._settings.batch_bytes)
            batch: list[Append] = []
            while (log := logs.get(log_id)) and room and self.is_patient(log.waiting[0]):
                room.use(log.waiting[0])
                batch.append(self._pop(logs, log_id))
            return batch
        return []

    def _take_shares(self, logs: dict[int, _Log], room: "_Room") -> Iterator[Append]:
        """Take rounds of a quantum a log until the batch is full or nothing waits."""
        ready = self._ready(logs, patient=False)
        while ready and room:
            for log_id in ready:
                if not room:  # no credit for a turn that is not had: saved up, it would fill whole batches later
                    return
                logs[log_id].credit += _QUANTUM
                while (log := logs.get(log_id)) and self._fits(log, room):
                    log.credit -= len(log.waiting[0].events)
                    room.use(log.waiting[0])
                    yield self._pop(logs, log_id)
            ready = [log_id for log_id in ready if log_id in logs and not self.is_patient(logs[log_id].waiting[0])]

    def _fits(self, log: _Log, room: "_Room") -> bool:
        head = log.waiting[0]
        return bool(room) and not self.is_patient(head) and len(head.events) <= log.credit

    def _pop(self, logs: dict[int, _Log], log_id: int) -> Append:
        """Take a log's first request; the log goes to the end of its lane, or away when nothing of it waits."""
        log = logs.pop(log_id)
        append = log.waiting.popleft()
        append.waiting = False
        log.events -= len(append.events)
        if log.waiting:
            logs[log_id] = log
        return append


@dataclass(slots=True)
class _Room:
    """What still fits into a batch; a first request always does."""

    events: int
    bytes: int

    def __bool__(self) -> bool:
        return self.events > 0 and self.bytes > 0

    def use(self, append: Append) -> None:
        self.events -= len(append.events)
        self.bytes -= append.size
