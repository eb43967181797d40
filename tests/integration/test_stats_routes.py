"""Statistics over HTTP: what they look like, who sees what, and what is refused."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from appending import append
from doors import Door, open_door
from factories import event
from tallystick.settings import Settings
from working import hurried, working

STATS = "/api/v1/logs/stats"
NOW = datetime.now(UTC)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


def at(days: float) -> str:
    """So many days before the end of today, as the wire has it."""
    return (TODAY + timedelta(days=1 - days)).isoformat()


async def ask(door: Door, token: dict[str, str] | None = None, /, **params: Any) -> httpx.Response:
    return await door.client.get(STATS, params=params, headers=token or door.bearer())


async def count(door: Door, token: dict[str, str] | None = None, /, **params: Any) -> dict[str, Any]:
    answer = await ask(door, token, **params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def rolled_up(door: Door, through: int, **params: Any) -> dict[str, Any]:
    """The answer of rollups once they are so far."""
    async with asyncio.timeout(20):
        while (found := await count(door, **params))["through_seq"] < through:  # noqa: ASYNC110  # told by nobody
            await asyncio.sleep(0.05)
    assert found["source"] == "rollups"
    return found


SOME = (
    event(action="login", resource_type="session", resource_id="s-1", user_id="ada", timestamp=at(1.5)),
    event(
        action="login", resource_type="session", resource_id="s-1", user_id="bob", severity="ERROR", timestamp=at(1.5)
    ),
    event(action="approve", resource_type="invoice", resource_id="i-1", user_id="ada", timestamp=at(2.5)),
    event(action="approve", resource_type="invoice", resource_id="i-1", user_id="ada", timestamp=at(3.5)),
    event(action="approve", resource_type="invoice", resource_id="i-2", user_id="eve", timestamp=at(5.5)),
)

EVERYTHING = {"by": ["action", "resource_type", "severity", "user_id", "resource"], "interval": "day"}


async def test_what_was_counted_is_told_by_every_measure(settings: Settings) -> None:
    async with open_door(settings) as door, working(hurried(settings)):
        await door.make_tenant("acme")
        await append(door, *SOME)
        period = {"from": at(4), "to": at(1)}
        by_rollups = await rolled_up(door, 4, **period, **EVERYTHING, compare="previous")
        by_index = await count(door, **period, **EVERYTHING, q="login OR approve")
    assert by_rollups["total"] == 4
    assert [bucket["events"] for bucket in by_rollups["buckets"]] == [1, 1, 2]
    assert [bucket["from"] for bucket in by_rollups["buckets"]] == [at(4 - n).replace("+00:00", "Z") for n in range(3)]
    assert by_rollups["action"] == [{"action": "approve", "events": 2}, {"action": "login", "events": 2}]
    assert by_rollups["resource_type"] == [
        {"resource_type": "invoice", "events": 2},
        {"resource_type": "session", "events": 2},
    ]
    assert by_rollups["severity"] == [{"severity": "INFO", "events": 3}, {"severity": "ERROR", "events": 1}]
    assert by_rollups["user_id"] == [{"user_id": "ada", "events": 3}, {"user_id": "bob", "events": 1}]
    assert by_rollups["resource"] == [
        {"resource_type": "invoice", "resource_id": "i-1", "events": 2},
        {"resource_type": "session", "resource_id": "s-1", "events": 2},
    ]
    assert by_rollups["approximate"] == []
    assert (by_rollups["time_zone"], by_rollups["through_seq"]) == ("UTC", 4)
    before = by_rollups.pop("previous")
    assert (before["from"], before["to"], before["total"]) == (
        at(7).replace("+00:00", "Z"),
        at(4).replace("+00:00", "Z"),
        1,
    )
    assert [bucket["events"] for bucket in before["buckets"]] == [0, 1, 0]
    assert before["user_id"] == [{"user_id": "eve", "events": 1}]
    assert by_index == {**by_rollups, "source": "index"}


async def test_an_event_counts_as_soon_as_it_is_stored_where_the_index_is_asked(door: Door) -> None:
    await append(door, *SOME)
    found = await count(door, user_id="ada", **{"from": at(4)})
    assert (found["source"], found["total"], found["through_seq"]) == ("index", 3, 4)
    assert (await count(door))["source"] == "rollups"


async def test_without_more_the_last_thirty_days_are_told(door: Door) -> None:
    found = await count(door)
    begin, end = datetime.fromisoformat(found["from"]), datetime.fromisoformat(found["to"])
    assert end - begin == timedelta(days=30)
    assert timedelta(0) <= end - datetime.now(UTC) <= timedelta(minutes=15)
    assert found.keys() == {
        *("from", "to", "through_seq", "total", "action", "resource_type", "severity", "approximate"),
        *("time_zone", "source"),
    }


async def test_days_are_those_of_the_time_zone(door: Door) -> None:
    found = await count(door, interval="day", time_zone="Asia/Kolkata", **{"from": at(2), "to": at(1)})
    midnight = (TODAY - timedelta(hours=5, minutes=30)).astimezone(ZoneInfo("Asia/Kolkata"))
    assert [bucket["from"] for bucket in found["buckets"]] == [found["from"], midnight.isoformat()]
    assert found["from"].endswith("+05:30")
    assert found["buckets"][-1]["to"] == found["to"]


async def test_offsets_that_rfc_3339_cannot_write_are_told_in_utc(door: Door) -> None:
    period = {"from": "1920-01-01T00:00:00Z", "to": "1920-01-03T00:00:00Z"}
    found = await count(door, interval="day", time_zone="Europe/Amsterdam", **period)
    assert [bucket["from"] for bucket in found["buckets"]][:2] == ["1920-01-01T00:00:00Z", "1920-01-01T23:40:28Z"]


async def test_a_user_counts_only_own_events(door: Door) -> None:
    await append(door, *SOME)
    own = await count(door, door.bearer("user", subject="ada"), by="user_id", **{"from": at(7)})
    assert (own["source"], own["total"], own["user_id"]) == ("index", 3, [{"user_id": "ada", "events": 3}])


async def test_another_tenant_is_not_counted(settings: Settings) -> None:
    async with open_door(settings) as door, working(hurried(settings)):
        await door.make_tenant("acme")
        await door.make_tenant("other")
        await append(door, *SOME)
        await rolled_up(door, 4)
        for query in ({}, {"q": "login"}):
            theirs = await count(door, door.bearer("admin", "other"), **query, **{"from": at(9)}, **EVERYTHING)
            assert (theirs["total"], theirs["through_seq"], theirs["user_id"]) == (0, -1, [])
        assert (await ask(door, door.bearer("admin", "other"), tenant_id="acme")).status_code == 403


@pytest.mark.parametrize(
    ("params", "parameter", "says"),
    [
        ({"interval": "minute"}, "interval", "hour, day, week, month"),
        ({"interval": "hour", "from": "2020-01-01T00:00:00Z"}, "interval", "more than 1000 buckets"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "IANA"),
        ({"time_zone": "../../etc/passwd"}, "time_zone", "IANA"),
        ({"time_zone": "Europe"}, "time_zone", "IANA"),
        ({"time_zone": "right/Europe/Berlin"}, "time_zone", "IANA"),
        ({"time_zone": "localtime"}, "time_zone", "IANA"),
        ({"by": ["action", "nothing"]}, "by", "must be one of"),
        ({"top": 0}, "top", "from 1 to 100"),
        ({"top": 101}, "top", "from 1 to 100"),
        ({"compare": "next"}, "compare", "previous"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to", "lies before"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "from", "must lie before"),
        ({"from": "2300-01-02T00:00:00Z"}, "from", "must lie before"),
        ({"from": "1900-01-02T00:00:00Z", "compare": "previous"}, "compare", "begins too early"),
        ({"severity": "LOUD"}, "severity", "INFO"),
        ({"q": "a AND"}, "q", ""),
        ({"order": "newest"}, "order", "is not a parameter"),
        ({"limit": 5}, "limit", "is not a parameter"),
    ],
)
async def test_what_cannot_be_counted_is_refused_and_says_why(
    door: Door, params: dict[str, Any], parameter: str, says: str
) -> None:
    answer = await ask(door, **params)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (flaw,) = answer.json()["errors"]
    assert flaw["parameter"] == parameter
    assert says in flaw["detail"]


async def test_the_far_ends_of_time_can_be_asked_for(door: Door) -> None:
    await append(door, *SOME)
    found = await count(door, q="login", **{"from": "1900-01-01T00:00:00Z", "to": "9999-12-31T23:59:59.999999Z"})
    assert found["total"] == 2


async def test_rollups_answer_while_the_index_is_down(settings: Settings, tmp_path: Path) -> None:
    async with open_door(settings) as door, working(hurried(settings)):
        await door.make_tenant("acme")
        await append(door, *SOME)
        await rolled_up(door, 4)
    blocked = tmp_path / "search"
    shutil.rmtree(blocked)
    blocked.write_text("no folder")
    async with open_door(settings) as door:
        assert (await count(door, **{"from": at(7)}))["total"] == 5
        refused = await ask(door, q="login")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
