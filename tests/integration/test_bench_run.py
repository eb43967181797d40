"""Every subcommand of `tallystick bench`, briefly, against a running instance: the tool works, whatever the figures."""

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from benches import bench, figures, proofs
from tallystick.bench.cli import app
from tallystick.bench.instance import Instance, instance_in
from tallystick.bench.questions import KINDS
from tallystick.errors import ConfigurationError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed"),
]


@pytest.fixture(scope="module")
def instance() -> Generator[Instance]:
    with instance_in(None, {"TALLYSTICK_DATABASE__PARTITION_INTERVAL": "day"}) as running:
        yield running


def test_a_running_instance_is_found_and_left_running(instance: Instance) -> None:
    with instance_in(instance.home) as found:
        assert found == instance
    assert httpx.get(f"{instance.url}/readyz").is_success


def test_single_runs_in_turns_with_the_baseline_and_beside_bulk(instance: Instance) -> None:
    report = bench(instance, "single", "--duration", "1", "--rounds", "1", "--with-bulk")
    found = figures(report)
    assert set(found) == {
        "single POST, 32 connections",
        "baseline, 32 connections",
        "single POST beside bodies of 10,000",
    }
    assert all(figure["events_per_second"] > 0 for figure in found.values())
    assert found["single POST, 32 connections"]["cpu"]["api"] > 0
    assert report["ratios"]["single POST to the baseline"] > 0
    assert proofs(report) == [True]
    assert report["machine"]["synchronous_commit"] == "on"


def test_bulk_runs_in_turns_with_copy_and_is_stored_whole(instance: Instance) -> None:
    report = bench(instance, "bulk", "--duration", "1", "--rounds", "1")
    assert {"bulk of 500, 4 connections", "raw binary COPY"} == set(figures(report))
    assert proofs(report) == [True]


def test_masking_is_measured_in_turns_with_a_tenant_that_does_not(instance: Instance) -> None:
    report = bench(instance, "masking", "--duration", "1", "--rounds", "1")
    assert len(figures(report)) == 6
    assert report["ratios"].keys() == {
        f"{what}, {how}, to unmasked"
        for what in ("single POST", "bulk of 500")
        for how in ("masking on", "a secret in one of ten")
    }
    assert proofs(report) == [True] * 3
    with instance.client() as client:
        metrics = client.get(f"{instance.url}/metrics").text
    assert 'tallystick_masked_total{action="redact",rule="password"}' in metrics


def test_what_load_makes_is_read_at_a_constant_rate(instance: Instance) -> None:
    refused = CliRunner().invoke(app, ["reads", "--home", str(instance.home)])
    assert isinstance(refused.exception, ConfigurationError)
    assert "bench load" in str(refused.exception)
    bench(instance, "load", "--events", "5000", "--partitions", "4")
    report = bench(instance, "reads", "--duration", "2", "--rate", "40")
    found = figures(report)
    assert {found[kind]["requests"] for kind in ("newest 50", "deep page", "two-day range", "by id")} == {20}
    assert found["all reads"]["facts"]["events"] == 5000


def test_what_load_made_is_indexed_and_found_alone_and_while_events_arrive(instance: Instance) -> None:
    bench(instance, "load", "--events", "5000", "--partitions", "4")
    report = bench(instance, "search", "--seconds", "1", "--rate", "50", "--together", "10", "--baseline")
    found = figures(report)
    assert len(report["ratios"]) == len(KINDS)
    for beside in ("", " while events arrive"):
        answered = {kind: found[f"Tantivy: {kind}{beside}"]["requests"] for kind in KINDS}
        assert all(answered.values()), answered
    assert found["events that arrive"]["requests"] == 50 / 10 * 2 * len(KINDS)
    facts = found["bytes an event"]["facts"]
    assert 500 < facts["json"] < facts["hot_store"]
    assert facts["tantivy"] > 50


def test_events_of_many_tenants_are_found_at_once_and_soon_in_the_index(instance: Instance) -> None:
    report = bench(instance, "freshness", "--seconds", "2", "--rate", "200", "--tenants", "3")
    found = figures(report)
    assert found["200 events/s of 3 tenants: indexed after"]["requests"] == 8
    assert found["200 events/s of 3 tenants: found by the next search"]["requests"] > 0
    assert proofs(report) == [True] * 3


def test_many_tenants_are_made_and_written_to(instance: Instance) -> None:
    report = bench(instance, "tenants", "--duration", "1", "--rounds", "1", "--count", "3")
    assert len(report["ratios"]) == 4
    assert proofs(report) == [True]


def test_a_flood_is_measured_by_what_the_others_feel(instance: Instance) -> None:
    report = bench(instance, "noisy", "--duration", "2", "--rounds", "1")
    found = figures(report)
    assert found["the flood"]["statuses"]
    assert found["ten tenants, 200 events/s, alone"]["requests"] == 400


def test_memory_is_sampled_while_the_queue_is_full(instance: Instance) -> None:
    report = bench(instance, "memory", "--duration", "6")
    (figure,) = report["figures"]
    assert figure["facts"]["largest_mib"] > 10
    assert proofs(report) == [True]


def test_tables_are_for_people_and_the_file_is_json(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    words = ["copy", "--home", str(instance.home), "--duration", "1", "--rounds", "1", "--output", str(file)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "raw binary COPY" in result.stdout
    assert json.loads(file.read_text())["command"] == "copy"


def test_an_instance_of_its_own_is_removed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # A database that the environment names is somebody else's: the benchmark's own instance must not touch it.
    monkeypatch.setenv("TALLYSTICK_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/elsewhere")
    with instance_in(None) as own:
        assert own.home.exists()
        assert own.database_url is not None
        assert "elsewhere" not in own.database_url
    assert not own.home.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{own.url}/healthz")


def test_an_instance_that_does_not_come_up_says_why() -> None:
    with pytest.raises(ConfigurationError, match="TALLYSTICK_PORT"), instance_in(None, {"TALLYSTICK_PORT": "no port"}):
        pass


@pytest.mark.parametrize("scenario", ["filters", "everything"])
def test_streams_are_watched_by_hundreds(instance: Instance, scenario: str) -> None:
    report = bench(instance, "stream", "--seconds", "1", "--warm-up", "0.2", "--scenario", scenario)
    assert all(proofs(report))
    seen, appended = report["figures"]
    assert seen["requests"] > 0
    assert appended["requests"] > 0
    assert seen["facts"]["events_received"] == seen["requests"]
    assert seen["facts"]["p99_ms_of_the_warm_up"] > 0
