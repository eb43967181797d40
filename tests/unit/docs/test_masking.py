"""The page of masking has every preset, rule and detector. Its figures are looked at with the corpus."""

from pathlib import Path

from tallystick.privacy.masking import reference

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "masking.md").read_text()


def test_it_has_the_tables_of_the_code() -> None:
    for table in (reference.preset_table(), reference.name_table(), reference.detector_table()):
        assert table in PAGE, table
    assert f": {reference.kept_names()}." in PAGE, reference.kept_names()
