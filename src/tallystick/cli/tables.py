"""Tables of a command, whose cells are never cut: in a narrow terminal lines wrap, and what is copied is whole."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH: Final = 1_000


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table.

    Args:
        columns: Their names; one that begins with ``#`` holds numbers.
        rows: Their cells.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        name = column.removeprefix("#")
        table.add_column(name, justify="left" if name == column else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=_WIDTH).print(table)
