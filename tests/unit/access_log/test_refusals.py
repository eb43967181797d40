"""Refusals are collapsed: the first is told at once, the rest of a minute together, and memory has an end."""

from math import inf

import orjson
import pytest

from tallystick.access_log.model import Actor, Place
from tallystick.access_log.refusals import Refusal, Refusals
from tallystick.log.model import PreparedEvent

PLATFORM = Place("_platform", 1)
HOME = Place("acme", 2)


class Told:
    """What was told, as (tenant of the log, subject, target, count)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, str, int]] = []

    def put(self, place: Place, event: PreparedEvent) -> None:
        body = orjson.loads(b"{" + event.rest[1:])
        told = (place.tenant_id, body["user_id"], body.get("resource_id", ""), body["metadata"]["count"])
        self.all.append(told)

    def since(self) -> list[tuple[str, str, str, int]]:
        told, self.all = self.all, []
        return told


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def refusals(told: Told) -> Refusals:
    return Refusals(told.put)


def refusal(subject: str = "mallory", target: str = "other", *places: Place) -> Refusal:
    actor = Actor(issuer="tallystick", subject=subject)
    return Refusal(actor, target, "list_events", "forbidden", places or (PLATFORM,))


def test_the_first_is_told_at_once_and_the_rest_of_the_minute_together(refusals: Refusals, told: Told) -> None:
    for second in range(60):
        refusals.add(refusal(), float(second))
        refusals.sweep(float(second))
    assert told.since() == [("_platform", "mallory", "other", 1)]
    refusals.sweep(60.0)
    assert told.since() == [("_platform", "mallory", "other", 59)]
    refusals.add(refusal(), 61.0)
    assert told.since() == []
    refusals.sweep(120.0)
    assert told.since() == [("_platform", "mallory", "other", 1)]


def test_a_quiet_minute_ends_it(refusals: Refusals, told: Told) -> None:
    refusals.add(refusal(), 0.0)
    refusals.sweep(60.0)
    refusals.add(refusal(), 61.0)
    assert told.since() == [("_platform", "mallory", "other", 1)] * 2


def test_principals_and_targets_are_told_apart(refusals: Refusals, told: Told) -> None:
    for subject in ("mallory", "trudy"):
        for target in ("one", "two"):
            refusals.add(refusal(subject, target), 0.0)
    assert {each[1:3] for each in told.since()} == {(s, t) for s in ("mallory", "trudy") for t in ("one", "two")}


def test_each_of_its_logs_is_told_and_a_log_once(refusals: Refusals, told: Told) -> None:
    refusals.add(refusal("mallory", "other", HOME, PLATFORM, PLATFORM), 0.0)
    assert [each[0] for each in told.since()] == ["acme", "_platform"]


def test_who_tries_everywhere_writes_no_more_than_some_lines(refusals: Refusals, told: Told) -> None:
    for number in range(500):
        refusals.add(refusal("mallory", f"tenant-{number}"), 0.0)
    first = told.since()
    assert len(first) == 17
    assert first[-1][2] == "tenant-16"
    refusals.sweep(60.0)
    assert [each[3] for each in told.since()] == [483]


def test_many_who_try_are_told_to_the_platform_alone_as_one(refusals: Refusals, told: Told) -> None:
    for number in range(4_096):
        refusals.add(refusal(f"mallory-{number}", "other", HOME, PLATFORM), 0.0)
    told.since()
    for number in range(5_000):
        refusals.add(refusal(f"trudy-{number}", "other", HOME, PLATFORM), 1.0)
    assert told.since() == [("_platform", "anonymous", "…", 1)]
    refusals.sweep(61.0)
    assert told.since() == [("_platform", "anonymous", "…", 4_999)]
    refusals.sweep(inf)
    refusals.add(refusal("trudy-1", "other", HOME, PLATFORM), 200.0)
    assert told.since() == [("acme", "trudy-1", "other", 1), ("_platform", "trudy-1", "other", 1)]
