"""An event as cells of a table: what a spreadsheet shows is what was stored, and it runs nothing of it."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.export.columns import DEFAULT_COLUMNS, Table, check_column


def cells(columns: list[str], *events: dict[str, Any]) -> list[list[str]]:
    table = Table(columns)
    text = table.header + table.rows(json.dumps(event).encode() for event in events)
    header, *rows = csv.reader(io.StringIO(text.decode(), newline=""))
    assert header == columns
    return rows


def test_values_are_written_each_in_its_way() -> None:
    event = {"message": 'a,b\n"c" ü', "metadata": {"n": -5, "x": 1.5, "t": True, "o": {"a": [1, "é"]}, "null": None}}
    columns = ["message", *(f"metadata.{name}" for name in ("n", "x", "t", "o", "o.a", "null", "none")), "before"]
    assert cells(columns, event) == [['a,b\n"c" ü', "-5", "1.5", "true", '{"a":[1,"é"]}', '[1,"é"]', "", "", ""]]


def test_a_member_whose_name_has_dots_is_found() -> None:
    event = {"metadata": {"a.b": {"c": 1}, "a": {"x": 2}, "d.e.f": 3}}
    assert cells(["metadata.a.b.c", "metadata.a.x", "metadata.d.e.f", "metadata.d"], event) == [["1", "2", "3", ""]]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        '"=1',
        "'=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
        "\x00=1",
        "\x7f=1",
        "\ufeff=1",
        "\u200b=1",
        "\u00ad=1",
        "\u2212=1",
    ],
)
def test_no_spreadsheet_runs_a_text(text: str) -> None:
    assert cells(["message", "metadata.x"], {"message": text, "metadata": {"x": text}}) == [["'" + text] * 2]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_every_text_comes_back(text: str) -> None:
    ((cell,),) = cells(["message"], {"message": text}) if text else [[""]]
    assert cell in (text, "'" + text)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_number_below_zero_stays_one() -> None:
    assert cells(["metadata.n"], {"metadata": {"n": -5}}) == [["-5"]]


@pytest.mark.parametrize("name", [*DEFAULT_COLUMNS, "salt", "metadata", "before.a.b", "after.x", "metadata.a b"])
def test_fields_and_paths_are_columns(name: str) -> None:
    assert check_column(name) == name


def test_a_path_is_no_longer_than_those_of_events() -> None:
    for name in ("metadata" + ".a" * 65, "metadata." + "a" * 1000):
        with pytest.raises(ValueError, match="more than"):
            check_column(name)


@pytest.mark.parametrize("name", ["", "what", "metadata.", "message.x", ".metadata", "seq.1"])
def test_nothing_else_is_a_column(name: str) -> None:
    with pytest.raises(ValueError, match="`"):
        check_column(name)
