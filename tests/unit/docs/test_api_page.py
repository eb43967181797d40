"""The API's reference has all that the OpenAPI document says, and is refused when it cannot."""

import re

import pytest

from api_page import FRAME, api_page
from described import Described, document, operations
from tallystick.auth.operations import OPERATIONS

FRAME_TEXT = FRAME.read_text()
# That it is what the generator makes is looked at by `test_generated.py`.
PAGE = FRAME.with_suffix("").read_text()
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("operation", list(operations()), ids=lambda operation: operation.name)
def test_an_operation_is_told_whole(operation: Described) -> None:
    section = SECTIONS[operation.summary]
    asked, answered = section.split("\nIt answers ", 1)

    assert f"`{operation.method} {operation.path}`" in section
    permission = OPERATIONS[operation.name].permission if operation.name in OPERATIONS else None
    assert (f"needs `{permission}`" if permission else "needs no token") in section
    for parameter in operation.parameters:
        assert f"`{parameter['name']}`" in asked, parameter["name"]
    for status in operation.json["responses"]:
        assert re.search(rf"(^|- |; |\. ){status}\b", answered, re.MULTILINE), status
    assert asked.count("```bash") == 1
    assert "{{" not in section


def test_a_table_has_a_type_and_a_meaning_in_every_row() -> None:
    for row in re.findall(r"^\| `.*$", "".join(SECTIONS.values()), re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 3, row
        assert all(cells), row


def test_what_one_table_leaves_to_another_is_there() -> None:
    for anchor, names in re.findall(r"as in \[[^]]+\]\(#([\w-]+)\): (.*)\.$", PAGE, re.MULTILINE):
        [section] = [text for title, text in SECTIONS.items() if title.lower().replace(" ", "-") == anchor]
        for name in re.findall(r"`([^`]+)`", names):
            assert f"| `{name}` |" in section, f"{anchor} says nothing of {name}"


def test_an_operation_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="give each operation one line `<!-- operation NAME -->`: read_job"):
        api_page(FRAME_TEXT.replace("<!-- operation read_job -->\n", ""))


def test_an_operation_with_two_places_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one line .*: read_job"):
        api_page(FRAME_TEXT + "\n<!-- operation read_job -->\n")


def test_a_place_without_an_operation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one line .*: fly"):
        api_page(FRAME_TEXT + "\n<!-- operation fly -->\n")


def test_headings_are_not_given_twice() -> None:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)

    assert len(headings) == len(set(headings)) > len(document()["paths"])
