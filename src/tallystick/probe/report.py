"""How a run of the probe is shown: a table, one JSON document, and a file for node_exporter's textfile collector."""

import time
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tallystick.errors import ConfigurationError
from tallystick.probe.model import Finding, Kind, Report, Verdict

_SAID: Final = {
    Verdict.CLEAN: ("No tenant reaches what is another's.", "bold green"),
    Verdict.LEAK: ("Tenants are not kept apart: see docs/runbooks/isolation-leak.md.", "bold red"),
    Verdict.UNDECIDED: ("It could not be told whether tenants are kept apart.", "bold yellow"),
}


def as_json(report: Report) -> dict[str, Any]:
    """The document of a run."""
    return {
        "verdict": report.verdict.value,
        "url": report.url,
        "tenants": list(report.tenants),
        "seconds": round(report.seconds, 3),
        "attempts": sum(report.attempts.values()),
        "controls": sum(report.controls.values()),
        "operations": {
            name: {
                "attempts": report.attempts.get(name, 0),
                "controls": report.controls.get(name, 0),
                "leaks": len(report.of(Kind.LEAK, name)),
                "void": len(report.of(Kind.VOID, name)),
            }
            for name in _operations(report)
        },
        "findings": [_finding(each) for each in report.findings],
    }


def _operations(report: Report) -> list[str]:
    return sorted({*report.attempts, *report.controls, *(each.operation for each in report.findings)})


def _finding(found: Finding) -> dict[str, str]:
    return {
        "kind": found.kind.value,
        "operation": found.operation,
        "caller": found.caller,
        "victim": found.victim,
        "request": found.request,
        "reason": found.reason,
    }


def show(report: Report, console: Console) -> None:
    """Print a run for people: a line for each operation, then every finding."""
    table = Table("operation", "attempts", "controls", "leaks", "void")
    for name, row in as_json(report)["operations"].items():
        style = "red" if row["leaks"] else "yellow" if row["void"] or report.of(Kind.UNPROBED, name) else ""
        table.add_row(name, *(str(row[each]) for each in ("attempts", "controls", "leaks", "void")), style=style)
    console.print(table)
    for found in report.findings:
        told = " · ".join(part for part in (found.operation, found.caller, found.victim, found.request) if part)
        console.print(Text.assemble((f"{found.kind.value}: ", "bold"), told, "\n  ", found.reason), soft_wrap=True)
    console.print(Text(*_SAID[report.verdict]))
    attempts = sum(report.attempts.values())
    console.print(f"{attempts} attempts at {report.url} in {report.seconds:.1f} s", highlight=False)


def write_metrics(report: Report, file: Path) -> None:
    """Write a run as metrics, atomically.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    registry = CollectorRegistry()
    for name, meaning, value in (
        ("tallystick_probe_leaks", "Leaks that the last run found.", len(report.of(Kind.LEAK))),
        ("tallystick_probe_void", "Probes of the last run that prove nothing.", len(report.of(Kind.VOID))),
        ("tallystick_probe_unprobed", "Operations that no recipe knows.", len(report.of(Kind.UNPROBED))),
        ("tallystick_probe_attempts", "Attempts of the last run.", sum(report.attempts.values())),
        ("tallystick_probe_seconds", "How long the last run took.", report.seconds),
        ("tallystick_probe_timestamp_seconds", "When the last run ended, in Unix seconds.", time.time()),
    ):
        Gauge(name, meaning, registry=registry).set(value)
    try:
        write_to_textfile(str(file), registry)
    except OSError as error:
        raise ConfigurationError(f"cannot write the metrics to {file}: {error.strerror}") from error
