"""The look at advisories fails where it should, and says what it does not know."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import audit

ROOT = Path(__file__).parents[3]


def dependency(*advisories: str, fixed: tuple[str, ...] = ("2.0",)) -> dict[str, Any]:
    return {"name": "x", "version": "1.0", "vulns": [{"id": each, "fix_versions": list(fixed)} for each in advisories]}


def test_a_vulnerable_dependency_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report([dependency(), dependency("PYSEC-1"), dependency("PYSEC-2", fixed=())]) == 1
    said = capsys.readouterr()
    assert "x 1.0: PYSEC-1, mended in 2.0" in said.err
    assert "x 1.0: PYSEC-2, mended in no release yet" in said.err
    assert "3 dependencies audited, 2 vulnerable" in said.out


def test_what_the_index_does_not_tell_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report([dependency(), {"name": "y", "skip_reason": "not found"}]) == 0
    assert "1 dependencies audited, 0 vulnerable; the index gave no advisories for 1" in capsys.readouterr().out


def test_where_nothing_was_audited_nothing_is_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report([{"name": "y", "skip_reason": "not found"}]) == 0
    assert capsys.readouterr().out == "the index gave no advisories: no dependency was audited\n"


def test_without_a_network_nothing_is_claimed() -> None:
    nowhere = dict.fromkeys(
        ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"
    )
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "audit.py"],
        env={**os.environ, **nowhere, "no_proxy": "", "NO_PROXY": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "the advisory database cannot be reached: no dependency was audited\n")
