"""The queue before the writer: nothing is lost, order is kept, room is accounted for, and shares are fair."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from factories import render
from tallystick.errors import OverloadedError
from tallystick.log.lanes import Append, Lane, Lanes
from tallystick.log.model import PreparedEvent
from tallystick.settings import WriterSettings

MEGABYTE = 1024 * 1024


def request(log_id: int, events: int = 1, lane: Lane = "events", size: int = 10) -> Append:
    """A request of so many events, each of so many bytes."""
    event = PreparedEvent(b"x" * size, None, None, None)
    return Append(log_id, [event] * events, render, lane=lane, done=None)  # type: ignore[arg-type]  # nobody waits for it


def make(**changes: Any) -> Lanes:
    return Lanes(WriterSettings(**changes))


def fill(lanes: Lanes, appends: Iterable[Append]) -> None:
    for append in appends:
        lanes.offer(append)


def logs_of(batch: Iterable[Append]) -> list[int]:
    return [append.log_id for append in batch]


def count(batch: Iterable[Append]) -> int:
    return sum(len(append.events) for append in batch)


def drain(lanes: Lanes, *, patient: bool = False) -> list[list[Append]]:
    """All batches, each stored at once."""
    batches: list[list[Append]] = []
    while batch := lanes.take(patient=patient):
        batches.append(batch)
        for append in batch:
            lanes.forget(append)
        lanes.release(batch)
    return batches


class Queue(RuleBasedStateMachine):
    """What writers do with lanes, in any order, beside the simplest account of it."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = WriterSettings(
            queue_events=1000, queue_bytes=MEGABYTE, batch_events=300, batch_bytes=2048, large_events=50
        )
        self.lanes = Lanes(self.settings)
        self.waiting: dict[tuple[Lane, int], deque[Append]] = {}
        self.stored: list[list[Append]] = []
        self.events = self.bytes = 0

    @rule(
        log_id=st.integers(1, 5),
        events=st.integers(0, 120),
        size=st.sampled_from([1, 10, 500]),
        lane=st.sampled_from(["events", "access"]),
    )
    def offer(self, log_id: int, events: int, size: int, lane: Lane) -> None:
        append = request(log_id if lane == "events" else log_id + 100, events, lane, size)
        try:
            self.lanes.offer(append)
        except OverloadedError:
            assert not append.waiting
            return
        assert append.waiting
        self.waiting.setdefault((lane, append.log_id), deque()).append(append)
        self.events += events
        self.bytes += events * size

    @rule(patient=st.booleans())
    def take(self, patient: bool) -> None:
        busy = {append.log_id for batch in self.stored for append in batch}
        ready = {
            log_id
            for (_, log_id), queue in self.waiting.items()
            if queue and log_id not in busy and self.is_patient(queue[0]) == patient
        }
        batch = self.lanes.take(patient=patient)
        assert bool(batch) == bool(ready)
        assert set(logs_of(batch)) <= ready
        if patient:
            assert len(set(logs_of(batch))) <= 1
        for append in batch:
            assert self.waiting[append.lane, append.log_id].popleft() is append
            assert self.is_patient(append) == patient
            assert not append.waiting
        for lane, most in (("events", 300), ("access", 300 if patient else 60)):
            of_lane = [append for append in batch if append.lane == lane]
            assert count(of_lane[:-1]) < most
            assert sum(append.size for append in of_lane[:-1]) < 2048
        if batch:
            self.stored.append(batch)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        batch = self.stored.pop(data.draw(st.integers(0, len(self.stored) - 1)))
        for append in batch:
            self.lanes.forget(append)
            self.events -= len(append.events)
            self.bytes -= append.size
        self.lanes.release(batch)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        batch = self.stored.pop(data.draw(st.integers(0, len(self.stored) - 1)))
        self.lanes.put_back(batch)
        for append in reversed(batch):
            self.waiting[append.lane, append.log_id].appendleft(append)
            assert append.waiting
        self.lanes.release(batch)

    def is_patient(self, append: Append) -> bool:
        return append.set_aside or len(append.events) > 50

    @invariant()
    def everything_is_accounted_for(self) -> None:
        assert (self.lanes.held_events, self.lanes.held_bytes) == (self.events, self.bytes)
        assert self.events <= 1000
        assert self.bytes <= MEGABYTE

    @invariant()
    def a_log_that_is_being_stored_is_busy(self) -> None:
        busy = {append.log_id for batch in self.stored for append in batch}
        for log_id in (*range(1, 6), *range(101, 106)):
            assert self.lanes.is_busy(request(log_id)) == (log_id in busy)

    def teardown(self) -> None:
        for batch in self.stored:
            for append in batch:
                self.lanes.forget(append)
            self.lanes.release(batch)
        rest = [append for _ in range(200) for patient in (True, False) for append in self._drain(patient)]
        waiting = [append for queue in self.waiting.values() for append in queue]
        assert len(rest) == len(waiting)
        assert set(rest) == set(waiting)
        for key, queue in self.waiting.items():
            assert [append for append in rest if (append.lane, append.log_id) == key] == list(queue)
        assert (self.lanes.held_events, self.lanes.held_bytes) == (0, 0)

    def _drain(self, patient: bool) -> list[Append]:
        batch = self.lanes.take(patient=patient)
        for append in batch:
            self.lanes.forget(append)
        self.lanes.release(batch)
        return batch


def test_whatever_is_done_nothing_is_lost_or_reordered() -> None:
    run_state_machine_as_test(Queue, settings=settings(max_examples=80, stateful_step_count=40, deadline=None))


def test_requests_of_one_log_keep_their_order() -> None:
    lanes = make(large_events=250)
    appends = [request(7, events) for events in (3, 100, 1, 250, 40)]
    for append in appends:
        lanes.offer(append)

    assert (lanes.held_events, lanes.held_bytes) == (394, 3_940)
    assert [append for batch in drain(lanes) for append in batch] == appends
    assert (lanes.held_events, lanes.held_bytes) == (0, 0)


def test_a_noisy_log_leaves_room_for_others() -> None:
    lanes = make(queue_events=10_000)
    with pytest.raises(OverloadedError, match="fair share"):
        fill(lanes, (request(1) for _ in range(10_000)))
    assert lanes.held_events == 4_000  # half of what is not reserved for access logs

    for log_id in range(2, 40):
        lanes.offer(request(log_id, 100))


def test_shares_shrink_as_more_logs_wait() -> None:
    lanes = make(queue_events=10_000)
    for log_id in range(1, 9):
        lanes.offer(request(log_id))
    with pytest.raises(OverloadedError, match="fair share"):
        fill(lanes, (request(1) for _ in range(10_000)))
    assert lanes.held_events == 500 + 7

    for _ in range(499):
        lanes.offer(request(2))


def test_a_share_is_never_less_than_a_quantum() -> None:
    lanes = make(queue_events=1_000)
    for log_id in range(1, 101):
        lanes.offer(request(log_id))
    lanes.offer(request(1, 99))
    with pytest.raises(OverloadedError, match="fair share"):
        lanes.offer(request(1))


@given(st.lists(st.integers(1, 40), min_size=30, max_size=60))
def test_a_quiet_log_waits_for_one_batch_at_most(noise: list[int]) -> None:
    lanes = make(batch_events=400, queue_events=50_000)
    for events in noise:
        lanes.offer(request(1, events))
    for log_id in (2, 3, 4):
        lanes.offer(request(log_id, 5))

    batch = lanes.take(patient=False)
    assert {1, 2, 3, 4} == set(logs_of(batch))


def test_a_full_batch_is_shared_equally() -> None:
    lanes = make(batch_events=1_000, queue_events=50_000)
    for _ in range(100):
        for log_id in (1, 2):
            lanes.offer(request(log_id, 20))
        lanes.offer(request(3, 10))
    batch = lanes.take(patient=False)

    shares = {log_id: count(append for append in batch if append.log_id == log_id) for log_id in (1, 2, 3)}
    assert sum(shares.values()) == 1_000
    assert max(shares.values()) - min(shares.values()) <= 100


def test_over_batches_nobody_is_left_behind() -> None:
    lanes = make(batch_events=200, queue_events=50_000)
    for log_id in range(1, 9):
        for _ in range(4):
            lanes.offer(request(log_id, 50))
    served = [set(logs_of(batch)) for batch in drain(lanes)]

    assert len(served) == 8
    assert {log_id for batch in served[:4] for log_id in batch} == set(range(1, 9))


def test_a_request_larger_than_a_quantum_is_stored_all_the_same() -> None:
    lanes = make(batch_events=2_000, large_events=1_000)
    lanes.offer(request(1, 900))
    lanes.offer(request(2, 900))

    assert sorted(append.log_id for batch in drain(lanes) for append in batch) == [1, 2]


def test_a_batch_is_bounded_in_bytes_but_a_first_request_always_fits() -> None:
    lanes = make(batch_bytes=1024)
    for log_id in (1, 2, 3, 4):
        lanes.offer(request(log_id, size=600))
    lanes.offer(request(5, size=5_000))

    assert list(map(logs_of, drain(lanes))) == [[1, 2], [3, 4], [5]]


def test_the_queue_is_bounded_in_events_and_bytes() -> None:
    lanes = make(queue_events=100, queue_bytes=MEGABYTE, access_share=0.5)
    lanes.offer(request(1, 50))
    with pytest.raises(OverloadedError, match="too many") as caught:
        lanes.offer(request(2))
    assert caught.value.retry_after
    lanes.offer(request(101, 50, "access"))
    with pytest.raises(OverloadedError, match="too many"):
        lanes.offer(request(102, 1, "access"))

    lanes = make(queue_bytes=MEGABYTE, access_share=0.25)
    lanes.offer(request(1, size=MEGABYTE * 3 // 4))
    with pytest.raises(OverloadedError, match="too many"):
        lanes.offer(request(2, size=1))


def test_what_is_being_stored_still_takes_room_until_it_is_answered() -> None:
    lanes = make(queue_events=100, access_share=0.5)
    append = request(1, 50)
    lanes.offer(append)
    assert lanes.take(patient=False) == [append]
    with pytest.raises(OverloadedError):
        lanes.offer(request(2))
    lanes.forget(append)
    lanes.offer(request(2, 50))


def test_events_that_fill_the_queue_leave_the_access_lane_its_reserve() -> None:
    lanes = make(queue_events=1_000, queue_bytes=MEGABYTE, access_share=0.2)
    with pytest.raises(OverloadedError, match="too many"):
        fill(lanes, (request(log_id, 100) for log_id in range(100)))
    assert lanes.held_events == 800
    lanes.offer(request(101, 200, "access"))

    lanes = make(queue_events=1_000, queue_bytes=MEGABYTE, access_share=0.2)
    with pytest.raises(OverloadedError, match="too many"):
        fill(lanes, (request(log_id, size=100_000) for log_id in range(100)))
    assert lanes.held_bytes == 800_000
    lanes.offer(request(101, size=200_000, lane="access"))


def test_large_bodies_are_bounded_like_many_events() -> None:
    lanes = make(queue_bytes=MEGABYTE, access_share=0.5)
    lanes.offer(request(101, size=MEGABYTE, lane="access"))
    with pytest.raises(OverloadedError, match="too many"):
        lanes.offer(request(1, size=1))


def test_a_full_access_lane_does_not_lift_the_bound_of_the_queue() -> None:
    lanes = make(queue_events=1_000, access_share=0.2)
    for log_id in range(10):
        lanes.offer(request(100 + log_id, 90, "access"))
    lanes.offer(request(1, 100))
    with pytest.raises(OverloadedError, match="too many"):
        lanes.offer(request(2))


def test_access_events_go_with_every_batch_within_their_share() -> None:
    lanes = make(batch_events=1_000, access_share=0.2)
    for log_id in range(1, 11):
        lanes.offer(request(log_id, 100))
        lanes.offer(request(100 + log_id, 100, "access"))
    batch = lanes.take(patient=False)

    assert count(append for append in batch if append.lane == "access") == 200
    assert count(append for append in batch if append.lane == "events") == 1_000


def test_a_large_request_is_patient_and_goes_alone() -> None:
    lanes = make(large_events=100)
    small, large, other = request(1, 100), request(2, 101), request(3, 101)
    for append in (small, large, other):
        lanes.offer(append)

    assert [lanes.is_patient(append) for append in (small, large, other)] == [False, True, True]
    assert lanes.take(patient=False) == [small]
    assert lanes.take(patient=True) == [large]
    assert lanes.take(patient=True) == [other]
    assert lanes.take(patient=True) == []


def test_a_log_that_is_busy_is_not_taken_from() -> None:
    lanes = make()
    first, second, elsewhere = request(1), request(1), request(2)
    lanes.offer(first)
    assert lanes.take(patient=False) == [first]
    lanes.offer(second)
    lanes.offer(elsewhere)

    assert lanes.is_busy(second)
    assert lanes.take(patient=False) == [elsewhere]
    lanes.release([first])
    assert lanes.take(patient=False) == [second]


def test_what_was_put_back_comes_first_in_its_log_and_is_patient() -> None:
    lanes = make()
    appends = [request(1) for _ in range(4)]
    for append in appends[:2]:
        lanes.offer(append)
    batch = lanes.take(patient=False)
    for append in appends[2:]:
        lanes.offer(append)
    lanes.put_back(batch)
    lanes.release(batch)

    assert lanes.take(patient=False) == []
    assert lanes.take(patient=True) == appends[:2]
    lanes.release(batch)
    assert lanes.take(patient=False) == appends[2:]
    assert lanes.held_events == 4
