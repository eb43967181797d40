"""Dashboard, rules and alerts are made of metrics that there are, and each alert has a page that says what to do."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = ("recording.yml", "alerts.yml")
PROMTOOL = shutil.which("promtool")

NOT_OURS = {
    "up": {"job", "instance"},
    "process_cpu_seconds_total": set[str](),
    "process_resident_memory_bytes": set[str](),
    "node_filesystem_avail_bytes": {"fstype", "mountpoint"},
    "node_filesystem_size_bytes": {"fstype", "mountpoint"},
}
"""Metrics of Prometheus itself, of its client library, and of node_exporter, with the labels that we use."""

ADDED = {"job", "instance"}
"""Labels that Prometheus gives to what it scrapes."""

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}

_NAME = r"(?P<name>(?:tallystick|process|node)_\w+|tallystick:[\w:]+|up)"
_METRIC = re.compile(rf"\b{_NAME}\b(?!\s*\()(?:\{{(?P<labels>.*?)\}})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"(?:[^\"\\]|\\.)*\"")
_GROUPED = re.compile(r"\b(?:by|without)\s*\((.*?)\)")


def documented() -> dict[str, set[str]]:
    """Every name under which Prometheus knows one of our metrics, with its labels."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    names: dict[str, set[str]] = {}
    for name, kind, cell in re.findall(r"^\| `(tallystick_\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE):
        labels = set(re.findall(r"`(\w+)`", cell)) | ADDED
        for suffix in SUFFIXES[kind]:
            names[name + suffix] = labels | ({"le"} if suffix == "_bucket" else set[str]())
    return names


def read_yaml(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for name in RULES for group in read_yaml(name)["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def board() -> dict[str, Any]:
    return json.loads((ROOT / "deploy" / "grafana" / "tallystick.json").read_text())


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, and where it stands."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in board()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def known() -> dict[str, set[str]]:
    recorded = {rule["record"]: set[str]() for rule in rules() if "record" in rule}
    return documented() | recorded | {name: labels | ADDED for name, labels in NOT_OURS.items()}


def test_every_expression_is_made_of_metrics_and_labels_that_there_are() -> None:
    names = known()
    used: set[str] = set()
    for place, expression in expressions():
        found = list(_METRIC.finditer(expression))
        assert found, place
        labels: set[str] = set()
        for metric in found:
            name = metric["name"]
            assert name in names, f"{place}: {name}"
            matched = set(_MATCHER.findall(metric["labels"] or ""))
            assert matched <= names[name], f"{place}: {name} has no label {matched - names[name]}"
            labels |= names[name]
            used.add(name)
        grouped = {label.strip() for group in _GROUPED.findall(expression) for label in group.split(",")}
        assert grouped <= labels, f"{place}: {grouped - labels}"
    assert {rule["record"] for rule in rules() if "record" in rule} <= used | {
        f"tallystick:{what}:ratio_rate{window}"  # for a look at the objectives by hand
        for what in ("requests_failed", "searches_incomplete")
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    }


def test_what_is_counted_is_shown() -> None:
    shown = " ".join(expression for _, expression in expressions())
    unshown = {
        name
        for name in documented()
        if not name.startswith(("tallystick_probe_", "tallystick_exports_"))
        and re.sub("_(count|sum|bucket)$", "", name) not in shown
    }
    assert not unshown


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    told = alert["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url"}
    runbook = ROOT / told["runbook_url"]
    assert runbook.parent == ROOT / "docs" / "runbooks"
    assert alert["alert"] in runbook.read_text(), "its page does not name it"


def test_no_alert_has_the_name_of_another() -> None:
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)


def test_every_alert_is_seen_to_fire() -> None:
    tests = [case for test in read_yaml("alerts_test.yml")["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in tests if case["exp_alerts"]} == {alert["alert"] for alert in alerts()}


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on the PATH: install the package prometheus")
@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", *RULES],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml"],
    ],
    ids=["rules", "configuration", "alerts"],
)
def test_prometheus_takes_them(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_lie_beside_each_other_and_have_a_meaning() -> None:
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
