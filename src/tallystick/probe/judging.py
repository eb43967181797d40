"""Whether an answer gives away what is another tenant's."""

import base64
import json
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final, cast

from tallystick.probe.model import Answer, Ask

REFUSED: Final = frozenset({401, 403, 404, 4401, 4403, 4404})
"""How somebody else's tenant is refused, streams included."""

_LAST_OF_4XX: Final = 499


def shown(answer: Answer, asked: Ask, markers: Collection[str]) -> list[str]:
    """The markers of a tenant that an answer holds though its request did not: what was asked may be echoed."""
    sent = asked.sent
    return [marker for marker in sorted(markers) if marker not in sent and holds(answer.raw, marker)]


def holds(raw: bytes, marker: str) -> bool:
    """Whether bytes hold a marker, also encoded as in a cursor or a digest."""
    return any(form in raw for form in _forms(marker))


@lru_cache(maxsize=4096)
def _forms(marker: str) -> tuple[bytes, ...]:
    plain = marker.encode()
    return (plain, plain.upper(), plain.hex().encode(), *_inside_base64(plain))


def _inside_base64(plain: bytes) -> Iterator[bytes]:
    """What stands in a longer text's base64 for it, at each of three offsets, without the letters others share."""
    for before in range(3):
        encoded = base64.urlsafe_b64encode(bytes(before) + plain).rstrip(b"=")
        cut = encoded[-(-before * 8 // 6) : (before + len(plain)) * 8 // 6]
        yield cut
        yield cut.replace(b"-", b"+").replace(b"_", b"/")


def is_nothing(answer: Answer) -> bool:
    """Whether an answer of success holds nothing: no body, no item, a count of nought."""
    if not answer.body.strip():
        return True
    try:
        told: object = json.loads(answer.body)
    except ValueError:
        return False
    if not isinstance(told, dict):
        return False
    members = cast("dict[str, object]", told)
    return members.get("items") == [] if "items" in members else members.get("total") == 0


def fault_of_refusal(
    answer: Answer, asked: Ask, markers: Collection[str], allowed: Collection[int] = REFUSED
) -> str | None:
    """What is wrong with how a request into somebody else's tenant was answered, or None."""
    if answer.status not in allowed:
        return f"answered {answer.status}, where it had to be refused"
    return fault_of_content(answer, asked, markers)


def fault_of_content(answer: Answer, asked: Ask, markers: Collection[str]) -> str | None:
    """What an answer gives away, or None."""
    if found := shown(answer, asked, markers):
        return f"answered {answer.status} and shows {', '.join(found)}"
    return None


def fault_of_stranger(foreign: Answer, absent: Answer, asked: Ask, other: Ask, markers: Collection[str]) -> str | None:
    """What tells somebody else's things from those that never were, asked for in one's own tenant; None if nothing.

    Args:
        foreign: The answer about what is somebody else's.
        absent: That about what never was.
        asked: The request for the first.
        other: That for the second.
        markers: Of whose it is.
    """
    if fault := fault_of_content(foreign, asked, markers):
        return fault
    if foreign.status != absent.status:
        return f"answered {foreign.status}, but {absent.status} for what never was"
    if foreign.status < 400:
        return None if is_nothing(foreign) else f"answered {foreign.status} and something"
    return None if _told(foreign, asked) == _told(absent, other) else "says else than for what never was"


def _told(answer: Answer, asked: Ask) -> object:
    """A problem without what names this very request."""
    text = answer.body.decode(errors="replace")
    for part in sorted({*asked.path.split("/"), *(value for _, value in asked.query)}, key=len, reverse=True):
        if len(part) > 8:  # a word or an id, never a word of the API
            text = text.replace(part, "…")
    try:
        told: object = json.loads(text)
    except ValueError:
        return text
    if not isinstance(told, dict):
        return told
    members = cast("dict[str, object]", told)
    return {name: value for name, value in members.items() if name != "instance"}


def is_refusal(status: int) -> bool:
    """Whether a request was refused for what it is."""
    return 400 <= status <= _LAST_OF_4XX
