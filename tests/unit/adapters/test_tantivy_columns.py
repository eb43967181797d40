"""Columns that Tantivy opens at once, since their numbers do not grow."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.adapters.tantivy.schema import gathered, scattered

NUMBERS = st.integers(-(1 << 59), (1 << 59) - 1)


@given(NUMBERS)
def test_a_number_comes_back_from_a_column_of_sixty_bits(number: int) -> None:
    assert 0 <= scattered(number) < 1 << 60
    assert gathered(scattered(number)) == number


def test_neighbours_are_as_far_apart_as_any_two() -> None:
    """Else the column would be kept as lines, which are read whenever it is opened."""
    column = [scattered(number) for number in range(1_700_000_000_000_000, 1_700_000_000_000_512)]
    width = max(column) - min(column)
    off_the_line = max(
        abs(value - (column[0] + (column[-1] - column[0]) * place / (len(column) - 1)))
        for place, value in enumerate(column)
    )
    assert off_the_line > width / 4
