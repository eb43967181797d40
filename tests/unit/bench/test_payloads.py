"""Made-up events: valid, different, and the same in every run."""

import json

from tallystick.bench.payloads import Payloads
from tallystick.bench.rows import Share, StoredEvents, day_of_rows
from tallystick.log.model import Clock, parse_json, validate_event
from tallystick.settings import EventSettings


def test_events_are_valid_and_of_a_realistic_size() -> None:
    for payload in Payloads(1).many("acme", 50):
        fields, occurred_us = validate_event(
            parse_json(json.dumps(payload).encode()), EventSettings(), Clock(0, None, 300_000_000)
        )
        assert occurred_us is None
        assert 400 < len(json.dumps(payload, separators=(",", ":"))) < 700
        assert fields.get("tenant_id") == "acme"


def test_the_same_seed_makes_the_same_events_and_another_makes_others() -> None:
    assert Payloads(1).bulk("acme", 20) == Payloads(1).bulk("acme", 20) != Payloads(2).bulk("acme", 20)


def test_stored_bodies_are_about_680_bytes() -> None:
    events = StoredEvents(1, "acme", 0, seed=1)
    sizes = [len(events.next(1_795_540_896_123)) - 74 for _ in range(100)]
    assert 650 < sum(sizes) / len(sizes) < 720


def test_days_share_out_all_events_whatever_the_rounding() -> None:
    shares = [Share(StoredEvents(log_id, "acme", 0, seed=1), count) for log_id, count in ((1, 100), (2, 7))]
    days = [len(list(day_of_rows(shares, 0, 9, day))) for day in range(9)]
    assert sum(days) == 107
    assert [share.events.size for share in shares] == [100, 7]
    assert max(days) - min(days) <= 2
