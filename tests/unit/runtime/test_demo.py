from datetime import UTC, datetime, timedelta
from typing import Any

from tallystick.log.model import Clock, validate_event
from tallystick.runtime.demo.company import COMPANIES
from tallystick.runtime.demo.filling import STRUCK, story_of
from tallystick.runtime.demo.incident import victim_of
from tallystick.settings import EventSettings

ANCHOR = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def _all() -> list[dict[str, Any]]:
    return [event for company in COMPANIES for event in story_of(company, ANCHOR)]


def test_the_same_end_gives_the_same_story() -> None:
    assert _all() == _all()


def test_ids_are_unique_within_a_tenant_and_differ_between_stories() -> None:
    events = _all()
    assert len({(event["tenant_id"], event["event_id"]) for event in events}) == len(events) > 2000
    later = story_of(STRUCK, ANCHOR + timedelta(days=2))
    assert not {event["event_id"] for event in later} & {event["event_id"] for event in story_of(STRUCK, ANCHOR)}


def test_every_event_is_one_that_the_api_accepts() -> None:
    limits = EventSettings()
    now = int(ANCHOR.timestamp()) * 1_000_000
    for event in _all():
        validate_event(event, limits, Clock(now, limits.max_past * 1_000_000, limits.max_future * 1_000_000))


def test_the_incident_can_be_followed() -> None:
    events = story_of(STRUCK, ANCHOR)
    account = victim_of(STRUCK).user_id
    attempts = [event for event in events if str(event.get("ip_address")).startswith("203.0.113.")]
    taken = [event for event in attempts if event["user_id"] == account and event["action"] != "user.login_failed"]
    steps = list(dict.fromkeys(event["action"] for event in taken))
    assert steps[0] == "user.login"
    assert [step for step in steps if step in ("api_key.created", "role.changed", "export.completed")] == [
        "api_key.created",
        "role.changed",
        "export.completed",
    ]
    assert sum(event["timestamp"] < taken[0]["timestamp"] for event in attempts) > 100
    assert [event["action"] for event in events if event["resource_type"] == "incident"] == [
        "alert.raised",
        "incident.opened",
        "incident.closed",
    ]
    assert sum(event.get("severity") == "CRITICAL" for event in events) == 2
