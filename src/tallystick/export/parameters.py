"""What is asked of an export, read from its query string."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from tallystick.errors import Flaw
from tallystick.export.columns import DEFAULT_COLUMNS, MAX_COLUMNS, check_column
from tallystick.export.formats import COMPRESSIONS, FORMATS, Compression, Format
from tallystick.export.model import ExportQuery
from tallystick.log.query_string import Values, choice, first, one, refuse
from tallystick.search.parameters import LISTING, search_query, seq_or_none_yet
from tallystick.search.parameters import SEVERAL as ALTERNATIVES

_OF_PAGES: Final = ("order", "after_seq", "limit", "cursor", "highlight")

SELECTING: Final = tuple(name for name in LISTING if name not in _OF_PAGES)
"""Parameters that an export shares with a listing."""

EXPORTING: Final = (*SELECTING, "format", "columns", "through_seq", "after_id")
"""Every parameter of an export."""

STORING: Final = (*SELECTING, "format", "columns", "compression", "through_seq")
"""Every parameter of an export into the object store."""

SEVERAL: Final = (*ALTERNATIVES, "columns")
"""Those that may be repeated."""


def export_query(values: Values) -> ExportQuery:
    """Read what an export asks for.

    Raises:
        InvalidError: With a flaw for each parameter that is not valid.
    """
    flaws: list[Flaw] = []
    format_: Format = one(values, "format", partial(choice, FORMATS), "ndjson", flaws)
    through = one(values, "through_seq", seq_or_none_yet, None, flaws)
    columns = _columns(values.get("columns", ()), flaws)
    after_id = first(values, "after_id")
    if "columns" in values and format_ != "csv":
        flaws.append(Flaw("needs format=csv", parameter="columns"))
    if after_id is not None:
        if format_ == "json":
            flaws.append(
                Flaw("needs format=ndjson or csv: a JSON document cannot be gone on with", parameter="after_id")
            )
        if "through_seq" not in values:
            flaws.append(Flaw("is needed with `after_id`: the one that the export answered", parameter="through_seq"))
    refuse(flaws)
    return ExportQuery(search_query(values), format_, columns or DEFAULT_COLUMNS, through, after_id)


def compression_of(values: Values) -> Compression:
    """Read how an object is to be compressed.

    Raises:
        InvalidError: In no way that there is.
    """
    flaws: list[Flaw] = []
    compression: Compression = one(values, "compression", partial(choice, COMPRESSIONS), "none", flaws)
    refuse(flaws)
    return compression


def _columns(given: Sequence[str], flaws: list[Flaw]) -> tuple[str, ...]:
    names = tuple(name.strip() for value in given for name in value.split(","))
    if len(names) > MAX_COLUMNS:
        flaws.append(Flaw(f"names more than {MAX_COLUMNS}", parameter="columns"))
        return ()
    if len(set(names)) < len(names):
        flaws.append(Flaw("names a column twice", parameter="columns"))
    for name in names:
        try:
            check_column(name)
        except ValueError as error:
            flaws.append(Flaw(str(error), parameter="columns"))
    return names
