"""What was acknowledged against what is stored: every way in which they can differ is seen."""

import pickle

from tallystick.bench.scenarios.ledger import Comparison, Findings, Ledger
from tallystick.log.identity import make_id


def an_id(seq: int) -> str:
    return make_id(1_764_000_000_000 + seq, seq, seq)


def ledgers() -> list[Ledger]:
    """Two of a run, each with three events, of which the first two are acknowledged."""
    made = [Ledger("run", name) for name in range(2)]
    for ledger in made:
        first = ledger.issue(3)
        for number in range(first, first + 2):
            ledger.acknowledge(number, an_id(10 * ledger.name + number))
    return made


def compared(*seen: tuple[str | None, str], of: list[Ledger] | None = None) -> Findings:
    comparison = Comparison(of or ledgers())
    for event_id, event in seen:
        comparison.see(event_id, event)
    return comparison.findings()


ALL = (("run-0-0", an_id(0)), ("run-0-1", an_id(1)), ("run-1-0", an_id(10)), ("run-1-1", an_id(11)))


def test_all_is_there_once() -> None:
    assert compared(*ALL) == Findings(acknowledged=4)
    assert compared(*ALL).hold


def test_numbers_go_on_from_one_request_to_the_next() -> None:
    ledger = Ledger("run", 7)
    assert [ledger.issue(2), ledger.issue(1), ledger.issue(3)] == [0, 2, 3]
    assert ledger.event_id(3) == "run-7-3"


def test_an_acknowledged_event_that_is_not_stored_is_missing() -> None:
    found = compared(*ALL[1:])
    assert found.missing == 1
    assert not found.hold


def test_an_event_that_is_stored_twice_is_doubled() -> None:
    found = compared(*ALL, ("run-1-0", an_id(55)))
    assert found.doubled == 1
    assert not found.hold


def test_an_event_that_is_stored_twice_without_an_answer_is_doubled_too() -> None:
    found = compared(*ALL, ("run-0-2", an_id(60)), ("run-0-2", an_id(61)))
    assert found.doubled == 1
    assert not found.hold


def test_an_event_under_another_id_than_was_told_is_seen() -> None:
    found = compared(*ALL[1:], ("run-0-0", an_id(99)))
    assert found.renamed == 1
    assert not found.hold


def test_an_event_whose_answer_was_lost_is_no_fault() -> None:
    found = compared(*ALL, ("run-0-2", an_id(60)))
    assert found.unanswered == 1
    assert found.hold


def test_events_of_others_do_not_count() -> None:
    assert compared(*ALL, (None, an_id(70)), ("another-0-0", an_id(71)), ("start-run", an_id(72))) == compared(*ALL)


def test_a_ledger_travels_between_processes() -> None:
    sent = pickle.loads(pickle.dumps(ledgers()))  # noqa: S301 - as multiprocessing does it
    assert compared(*ALL, of=sent).hold
