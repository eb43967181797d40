"""What is asked of an export."""

from dataclasses import dataclass

from tallystick.export.formats import Format
from tallystick.search.model import SearchQuery


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What an export asks for.

    Attributes:
        search: Which events; its order, page size and cursor are not looked at.
        format: How they are written.
        columns: Of CSV.
        through: The seq that it is complete through, as an export that is gone on with answered; None for the newest.
        after_id: The id of the event after which to go on, or None.
    """

    search: SearchQuery
    format: Format
    columns: tuple[str, ...]
    through: int | None = None
    after_id: str | None = None
