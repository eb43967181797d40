"""Every threat names a test, and every test that is named exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("threat-model.md", "isolation.md")
_NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def _text(page: str) -> str:
    return (ROOT / "docs" / "explanation" / page).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    named = set(_NAMED.findall(_text(page)))
    defined = {
        (file.name, name)
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= defined, sorted(named - defined)


def test_every_threat_and_every_risk_names_one() -> None:
    text = _text("threat-model.md").partition("## Where protection ends")[0]
    rows = [line for line in text.splitlines() if re.match(r"\| ([STRIDE](, [STRIDE])*|API\d+) \|", line)]
    assert {row.split("|")[1].strip() for row in rows} >= {*"STRIDE", *(f"API{number}" for number in range(1, 11))}
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_every_part_of_the_picture_is_walked() -> None:
    text = _text("threat-model.md")
    headings = " ".join(re.findall(r"^### (.+)$", text, re.MULTILINE)).lower()
    for part in (
        "client",
        "api",
        "issuer",
        "writer",
        "postgresql",
        "queue",
        "worker",
        "search",
        "object",
        "keys",
        "operator",
    ):
        assert part in headings
