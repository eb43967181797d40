"""A pattern for the header `Content-Length`: the firewall compares lengths of texts, and this one says a number."""

from collections.abc import Iterator


def longer_than(limit: int) -> str:
    """A regular expression of the decimal numbers above a limit, whatever zeros stand before them.

    Args:
        limit: Above 0.
    """
    return f"^0*(?:{'|'.join(_larger(str(limit)))})$"


def _larger(limit: str) -> Iterator[str]:
    """Numbers with more digits, then those that agree with the limit up to a digit that is larger."""
    yield f"[1-9][0-9]{{{len(limit)},}}"
    for place, digit in enumerate(limit):
        if digit != "9":
            first = f"{int(digit) + 1}"
            larger = "9" if first == "9" else f"[{first}-9]"
            rest = len(limit) - place - 1
            yield f"{limit[:place]}{larger}" + (f"[0-9]{{{rest}}}" if rest else "")
