"""JSON Pointers of problem documents, followed into what was sent."""

from typing import Any


def at_pointer(tree: Any, pointer: str) -> Any:
    """What a JSON Pointer names (RFC 6901 §4); a KeyError or IndexError where it names nothing."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        tree = tree[int(key)] if isinstance(tree, list) else tree[key]
    return tree
