import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.multiprocess import mark_process_dead  # pyright: ignore[reportUnknownVariableType] - not annotated

from tallystick.api.metrics import HttpMetrics
from tallystick.runtime.metrics import MULTIPROCESS_VARIABLE, PROCESS_VARIABLE, make_registry, render

_PROCESS = """
import sys
from tallystick.api.metrics import HttpMetrics
from tallystick.runtime.metrics import make_registry, render
registry = make_registry()
HttpMetrics(registry).observe("GET", "/x", 200, 0.01)
if sys.argv[1:]:
    sys.stdout.write(render(registry)[0].decode())
"""


def test_one_process_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MULTIPROCESS_VARIABLE, raising=False)
    registry = make_registry()
    HttpMetrics(registry).observe("POST", "/api/v1/logs", 201, 0.002)
    text, content_type = render(registry)
    assert b'tallystick_http_request_seconds_count{method="POST",route="/api/v1/logs",status="201"} 1.0' in text
    assert b"process_resident_memory_bytes" in text
    assert content_type.startswith("text/plain")


def test_any_of_several_processes_shows_all(tmp_path: Path) -> None:
    environment = {**os.environ, MULTIPROCESS_VARIABLE: str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _PROCESS], env=environment, check=True)
    shown = subprocess.run(
        [sys.executable, "-c", _PROCESS, "show"], env=environment, check=True, capture_output=True, text=True
    )
    assert 'tallystick_http_request_seconds_count{method="GET",route="/x",status="200"} 3.0' in shown.stdout


def test_one_that_is_started_again_counts_on_in_the_same_files(tmp_path: Path) -> None:
    environment = {**os.environ, MULTIPROCESS_VARIABLE: str(tmp_path), PROCESS_VARIABLE: "api-1"}
    files: list[set[str]] = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _PROCESS], env=environment, check=True)
        files.append({file.name for file in tmp_path.iterdir()})
    assert files[0] == files[1]
    shown = subprocess.run(
        [sys.executable, "-c", _PROCESS, "show"],
        env={**environment, PROCESS_VARIABLE: "api-2"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert 'tallystick_http_request_seconds_count{method="GET",route="/x",status="200"} 3.0' in shown.stdout


def test_what_a_dead_process_had_in_hand_is_gone_and_what_it_counted_stays(tmp_path: Path) -> None:
    held = """
from prometheus_client import Counter, Gauge
from tallystick.runtime.metrics import make_registry
registry = make_registry()
Gauge("held", "", registry=registry, multiprocess_mode="livesum").inc(7)
Counter("done", "", registry=registry).inc()
"""
    environment = {**os.environ, MULTIPROCESS_VARIABLE: str(tmp_path), PROCESS_VARIABLE: "worker"}
    for times in (1, 2):
        subprocess.run([sys.executable, "-c", held], env=environment, check=True)
        shown = subprocess.run(
            [sys.executable, "-c", _PROCESS, "show"],
            env={**environment, PROCESS_VARIABLE: "api-1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "held 7.0" in shown
        assert f"done_total {times}.0" in shown
        mark_process_dead("worker", str(tmp_path))
