"""What CONTRIBUTING says of the workshop is what the workshop has."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_make_target_is_described_and_no_other() -> None:
    made = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help"}

    assert set(re.findall(r"^\| `make (\w+)` \|", PAGE, re.MULTILINE)) == made


def test_every_folder_of_tests_is_described() -> None:
    folders = {
        folder.name
        for folder in (ROOT / "tests").iterdir()
        if folder.is_dir() and not folder.name.startswith(("_", "."))
    }

    assert set(re.findall(r"^\| `tests/(\w+)` \|", PAGE, re.MULTILINE)) == folders


def test_the_floors_are_those_of_the_import_contract() -> None:
    contract = (ROOT / ".importlinter").read_text().split("layers =\n")[1].split("\n\n")[0]
    floors = [" ".join(re.sub("[|:]", " ", floor).split()) for floor in contract.splitlines()]

    assert " > ".join(floors) in PAGE
