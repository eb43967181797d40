"""JSON Pointers of problem documents, followed into what was sent."""

from typing import Any


def at_pointer(tree: Any, pointer: str) -> Any:
    """What a JSON Pointer names (RFC 6901 §4); a KeyError or IndexError where it names nothing."""
    place = tree
    for step in pointer.split("/")[1:]:
        numbered = type(place).__name__ == "list"
        place = place[int(step) if numbered else step.replace("~1", "/").replace("~0", "~")]
    return place
