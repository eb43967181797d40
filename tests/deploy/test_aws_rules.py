"""The templates pass the linters, and what is not as those want it says why."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_templates import CDK, DEPLOYMENTS, Templates
from tallystick_aws.choices import ChoiceError, Choices
from tallystick_aws.sizes import SIZES

CHOSEN = json.loads((CDK / "example.json").read_text())


def test_cfn_lint_finds_nothing(templates: Templates) -> None:
    files = [file for file in templates.files() if file.parent.name != "large"]  # it differs in numbers alone
    found = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--config-file", CDK / ".cfnlintrc.yaml", *files],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stdout + found.stderr


def test_the_rules_of_good_practice_are_asked(templates: Templates) -> None:
    """Where one is broken nothing is synthesised, so the deployments break none. This one does."""
    report = (templates.folder / "careless" / "validation-report.json").read_text()

    assert "AwsSolutions-SQS4" in report, "the queue takes what comes without TLS"


def test_no_region_or_account_is_written_down(templates: Templates) -> None:
    for file in templates.files():
        text = file.read_text().replace(CHOSEN["certificate"], "")
        assert "eu-central-1" not in text
        assert "111122223333" not in text


def test_nothing_needs_an_engine_of_containers_or_a_file_of_ours(templates: Templates) -> None:
    for deployment in DEPLOYMENTS:
        for assets in (templates.folder / deployment).glob("*.assets.json"):
            found = json.loads(assets.read_text())
            assert not found["dockerImages"]
            for each in found["files"].values():
                assert each["source"]["path"].endswith(".template.json")


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"version": None}, "-c version=0.1.0"),
        ({"certificate": "mine"}, "ARN of a certificate"),
        ({"size": "huge"}, "small, medium, large"),
        ({"network": "10.0.0.0/24"}, "/16 to /19"),
        ({"issuers": '{"a": "https://b"}'}, "-c egress=yes"),
    ],
    ids=["version", "certificate", "size", "network", "issuers"],
)
def test_a_choice_that_cannot_be_says_what_to_mend(change: dict[str, str | None], mend: str) -> None:
    with pytest.raises(ChoiceError, match=mend.replace(".", r"\.")):
        Choices.read({**CHOSEN, **change}.get)


@pytest.mark.parametrize("size", SIZES)
def test_the_pages_table_of_sizes_is_the_codes(size: str) -> None:
    page = (CDK.parents[1] / "docs" / "reference" / "sizing.md").read_text()
    lines = [line.strip("| ").split("|") for line in page.splitlines() if line.startswith("| `")]
    rows = {cells[0].split("`")[1]: [cell.strip() for cell in cells[1:]] for cells in lines if len(cells) == 4}
    stated = dict(zip(SIZES, zip(*rows.values(), strict=True), strict=True))[size]

    assert dict(zip(rows, stated, strict=True)) == written(size)


def written(size: str) -> dict[str, str]:
    """A row of the table in the code, as the page writes it."""
    values = {name: getattr(SIZES[size], name) for name in SIZES[size].__slots__}
    return {
        name: f"{value[0]} to {value[1]}"
        if isinstance(value, tuple)
        else f"{value:,}"
        if isinstance(value, int)
        else value
        for name, value in values.items()
    }
