from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from tallystick.errors import ConfigurationError
from tallystick.probe.model import Finding, Kind, Report, Verdict
from tallystick.probe.report import as_json, show, write_metrics

LEAK = Finding(Kind.LEAK, "read_event", "answered 200", "user of b", "a", "GET /api/v1/logs/1")
VOID = Finding(Kind.VOID, "read_job", "the owner was answered 500", "the owner", "a", "GET /api/v1/jobs/1")
NEW = Finding(Kind.UNPROBED, "reveal", "no recipe")


def report(*findings: Finding) -> Report:
    return Report("http://x", ["a", "b"], 1.5, {"read_event": 4, "read_job": 2}, {"read_event": 2}, findings)


@pytest.mark.parametrize(
    ("findings", "verdict", "code"),
    [
        ((), Verdict.CLEAN, 0),
        ((VOID,), Verdict.UNDECIDED, 2),
        ((NEW,), Verdict.UNDECIDED, 2),
        ((VOID, LEAK, NEW), Verdict.LEAK, 1),
    ],
)
def test_a_leak_counts_more_than_what_could_not_be_told(
    findings: tuple[Finding, ...], verdict: Verdict, code: int
) -> None:
    assert report(*findings).verdict is verdict
    assert verdict.exit_code == code


def test_the_document_has_every_operation_and_finding() -> None:
    told = as_json(report(LEAK, VOID, NEW))
    assert (told["verdict"], told["attempts"], told["controls"]) == ("leak", 6, 2)
    assert told["operations"]["read_event"] == {"attempts": 4, "controls": 2, "leaks": 1, "void": 0}
    assert told["operations"]["reveal"] == {"attempts": 0, "controls": 0, "leaks": 0, "void": 0}
    assert [each["kind"] for each in told["findings"]] == ["leak", "void", "unprobed"]


def test_people_are_told_what_to_do() -> None:
    console = Console(record=True, width=60)
    show(report(LEAK, NEW), console)
    text = console.export_text()
    assert "read_event · user of b · a · GET /api/v1/logs/1" in text
    assert "answered 200" in text
    assert "docs/runbooks/isolation-leak.md" in text


def test_a_collector_reads_what_was_found(tmp_path: Path) -> None:
    file = tmp_path / "probe.prom"
    write_metrics(report(LEAK, VOID, NEW), file)
    values = {each.name: each.samples[0].value for each in text_string_to_metric_families(file.read_text())}
    assert values.pop("tallystick_probe_timestamp_seconds") > 1.7e9
    assert values == {
        "tallystick_probe_leaks": 1,
        "tallystick_probe_void": 1,
        "tallystick_probe_unprobed": 1,
        "tallystick_probe_attempts": 6,
        "tallystick_probe_seconds": 1.5,
    }
    with pytest.raises(ConfigurationError, match="metrics"):
        write_metrics(report(), tmp_path / "nowhere" / "x.prom")
