"""Each module can be held in the head: it says its job in its first line, and ends before the 400th."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def found(*places: str) -> list[Path]:
    return sorted(file.relative_to(ROOT) for place in places for file in (ROOT / place).rglob("*.py"))


MODULES = found("src", "packages")
TESTS = found("tests")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_says_its_job_and_stays_short(module: Path) -> None:
    text = (ROOT / module).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 400
    told = ast.get_docstring(ast.parse(text))
    assert told, "it does not say its job"
    assert told.splitlines()[0].strip(), "it does not say its job in its first line"


@pytest.mark.parametrize("module", TESTS, ids=str)
def test_a_module_of_tests_stays_short(module: Path) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) < 400
