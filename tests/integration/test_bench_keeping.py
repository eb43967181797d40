"""What is measured of the access log and of retention, briefly, against a running instance. Needs no wrk."""

from collections.abc import Generator

import pytest

from benches import bench, figures, proofs
from tallystick.bench.instance import Instance, instance_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def instance() -> Generator[Instance]:
    with instance_in(None) as running:
        yield running


def test_reads_are_measured_in_turns_with_some_that_nobody_records(instance: Instance) -> None:
    report = bench(instance, "access", "--seconds", "0.2", "--rounds", "1", "--events", "500", "--rate", "20")
    found = figures(report)
    for kind in ("newest 50", "by id", "search for words"):
        for how in ("1 client", "8 clients", "32 clients", "beside 20 events/s"):
            recorded, without = (found[f"{kind}, {how}: {side}"] for side in ("recorded", "not recorded"))
            assert recorded["requests"] > 0
            assert without["requests"] > 0
            added = recorded["latency"]["p50"] - without["latency"]["p50"]
            assert recorded["facts"]["added_p50_ms"] == pytest.approx(added)
    assert len(report["ratios"]) == 9
    assert proofs(report) == [True]


@pytest.mark.parametrize("passed", [True, False])
def test_writers_are_measured_while_retention_removes(instance: Instance, passed: bool) -> None:
    words = ["--passed"] if passed else []
    report = bench(instance, "retention", "--events", "900", "--seconds", "1", "--rate", "50", *words)
    found = figures(report)
    assert found["events removed in batches"]["facts"]["events"] == 100
    dropped = found["a partition dropped, its leaf hashes stored before"]["facts"]
    assert dropped["events"] == 900
    assert dropped["looks"] > 0
    assert found["writes around the drop"]["requests"] > 0
    assert all(proofs(report)), report["checks"]
    assert len(proofs(report)) == 8
