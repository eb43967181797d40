"""Events as documents: every value as tokens, and what is looked up whole as terms."""

import hashlib
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias, cast

from tallystick.query.ast import Path
from tallystick.query.facets import facets_of
from tallystick.query.filters import NAMED_FIELDS
from tallystick.query.sealed import compact_of
from tallystick.query.terms import GAP, Document
from tallystick.query.tokens import tokens

TEXT_FIELDS: Final = (
    "action",
    "resource_type",
    "resource_id",
    "user_id",
    "session_id",
    "request_id",
    "event_id",
    "ip_address",
    "user_agent",
    "message",
    "severity",
)
"""Top-level fields whose text is searched."""

TREES: Final = ("metadata", "before", "after")
"""Top-level fields whose values are searched at any depth."""

_NAMED: Final = frozenset(NAMED_FIELDS)
_BETWEEN: Final = f" {GAP} "

_MAX_PATH: Final = 100
_MAX_EXACT: Final = 150

# What Rust or Java takes for space, and the sign that escapes it.
_SPACE: Final = re.compile(r"[\s\x1c-\x1f\x85\u180e\\]")

_BINARY64: Final = struct.Struct(">d")
_BITS: Final = struct.Struct(">Q")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_NUMBER_BYTES: Final = 8
_WIDEST: Final = 8 * (_NUMBER_BYTES - 1)
_REMEMBERED_PATHS: Final = 1 << 14
_REMEMBERED_VALUES: Final = 1 << 13
_SHORT: Final = 160

_RARELY_TWICE: Final = frozenset(("resource_id", "session_id", "request_id", "event_id", "message"))
"""To look for a value among those remembered, in vain, costs more than to cut it into tokens."""

_Leaf: TypeAlias = tuple[str, str, str]
"""What a value gives to a document: its tokens, the same with their path, and terms that are looked up whole."""


def analyse(seq: int, received_us: int, occurred_us: int, body: Mapping[str, object]) -> Document:
    """Make the document of an event.

    Args:
        seq: Position in the log.
        received_us: Arrival in Unix microseconds.
        occurred_us: Occurrence in Unix microseconds.
        body: The stored body, parsed.
    """
    leaves = _Leaves()
    for field, short_leaf, leaf in _LEAVES_OF_FIELDS:
        value = body.get(field)
        if isinstance(value, str):
            text, paths, terms = (leaf if len(value) > _SHORT else short_leaf)(value)
            leaves.terms.append(terms)
            if text:
                leaves.text.append(text)
                leaves.paths.append(paths)
    for field in TREES:
        leaves.walk(body.get(field), field)
    terms = " ".join(leaves.terms)
    if leaves.repeated:
        terms = " ".join(dict.fromkeys(terms.split(" ")))
    return Document(
        seq,
        received_us,
        occurred_us,
        _BETWEEN.join(leaves.text),
        " ".join(leaves.paths),
        terms,
        *facets_of(body),
    )


class _Leaves:
    """What is found on a walk through an event."""

    __slots__ = ("_last", "paths", "repeated", "terms", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.paths: list[str] = []
        self.terms: list[str] = []
        # Only what is in a list shares its path, and so may give the same term again.
        self.repeated = False
        self._last = ""

    def walk(self, value: object, path: str) -> None:
        """Take in a value of before, after or metadata, and whatever lies below it."""
        if isinstance(value, str):
            self._take(path, (_leaf if len(value) > _SHORT else _short_leaf)(path, value))
        elif isinstance(value, dict):
            self.terms.append(f"?{path}")
            members = cast("dict[str, object]", value)
            if compact_of(members) is None:
                for key, item in members.items():
                    self.walk(item, _child(path, key))
        elif isinstance(value, list):
            self.repeated = True
            self.terms.append(f"?{path}")
            for item in cast("list[object]", value):
                self.walk(item, path)
        elif isinstance(value, bool):
            self._take(path, _short_leaf(path, number_text(value)))
        elif value is not None:  # there is nothing else in JSON
            number = cast("float", value)
            self._take(path, _leaf(path, number_text(number)))
            self.terms.append(_prefixes(f"#{path}:", sortable(number)))

    def _take(self, path: str, leaf: _Leaf) -> None:
        text, paths, terms = leaf
        self.terms.append(terms)
        if text:
            self.text.append(text)
            # Terms of two paths are never taken for one phrase; those of two values at one path must be kept apart.
            self.paths.append(f"{GAP} {paths}" if path == self._last else paths)
            self._last = path


def _leaf(path: str, value: str) -> _Leaf:
    if compact_of(value) is not None:  # of what is sealed only that it is there
        return "", "", f"?{path}"
    text = " ".join(tokens(value))
    return text, f"{path}={text.replace(' ', f' {path}=')}", f"?{path}"


def _field(field: str, value: str) -> _Leaf:
    text, paths, terms = _leaf(field, value)
    if field in _NAMED:
        terms = f"{terms} {exact_term(field, value)}"
    elif field == "ip_address":
        terms = " ".join((terms, *_address_terms(value)))
    return text, paths, terms


def _leaves_of_field(field: str) -> tuple[str, Callable[[str], _Leaf], Callable[[str], _Leaf]]:
    leaf = partial(_field, field)
    return field, leaf if field in _RARELY_TWICE else lru_cache(maxsize=_REMEMBERED_VALUES)(leaf), leaf


# Most short values come again and again: what was done, to what kind of thing, by whom, from which client.
_short_leaf = lru_cache(maxsize=_REMEMBERED_VALUES)(_leaf)
_LEAVES_OF_FIELDS: Final = tuple(map(_leaves_of_field, TEXT_FIELDS))
"""Each with what makes the leaf of a short value, and of any."""


def number_text(value: float) -> str:
    """A number or truth value as the words it is found by: a whole number without fraction, however it was sent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return str(int(value))
    return repr(value)


def sortable(value: float) -> str:
    """A number as 16 hexadecimal digits whose order is that of the numbers, compared as binary64 (IEEE 754)."""
    (bits,) = _BITS.unpack(_BINARY64.pack(value + 0.0))
    return f"{bits ^ (_ALL if bits & _SIGN else _SIGN):016x}"


def _prefixes(start: str, digits: str) -> str:
    """The terms of a number, one for each byte that it begins with."""
    return (
        f"{start}{digits[:2]} {start}{digits[:4]} {start}{digits[:6]} {start}{digits[:8]} "
        f"{start}{digits[:10]} {start}{digits[:12]} {start}{digits[:14]} {start}{digits}"
    )


def path_text(path: Path) -> str:
    """A path as it stands in terms."""
    text, *keys = path
    for key in keys:
        text = _child(text, key)
    return text


@lru_cache(maxsize=_REMEMBERED_PATHS)
def _child(path: str, key: str) -> str:
    """The path of a key below a path. Beyond a length it is a hash: no field at the top is written with a ``~``."""
    escaped = _escape(key).replace(".", "\\.").replace("=", "\\u003d").replace(":", "\\u003a")
    child = f"{path}.{escaped}"
    return child if _units(child) <= _MAX_PATH else f"~{_hash(child)}"


def exact_term(field: str, value: str) -> str:
    """The term of a top-level field that is this string, byte for byte."""
    term = f"={field}:{_escape(value)}"
    return term if _units(term) <= _MAX_EXACT else f"={field}#{_hash(value)}"


def exists_term(path: Path) -> str:
    """The term of a value at a path."""
    return f"?{path_text(path)}"


def number_terms(path: Path, low: int, high: int) -> list[str]:
    """The fewest terms that together stand for the numbers whose `sortable` lies from `low` to `high`, inclusive."""
    prefix = f"#{path_text(path)}:"
    return [prefix + digits for digits in _covering(low, high)]


def network_terms(network: str) -> list[str]:
    """The terms of which an address in this network has one."""
    parsed = ip_network(network)
    whole, rest = divmod(parsed.prefixlen, 8)
    digits = parsed.network_address.packed.hex()
    family = f"@{parsed.version}:"
    if not rest:
        return [family + digits[: 2 * whole]]
    first = parsed.network_address.packed[whole]
    last = first + (1 << (8 - rest))
    return [f"{family}{digits[: 2 * whole]}{byte:02x}" for byte in range(first, last)]


def _address_terms(text: str) -> tuple[str, ...]:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return ()
    if isinstance(address, IPv6Address) and (mapped := address.ipv4_mapped) is not None:
        address = mapped
    digits = address.packed.hex()
    return tuple(f"@{address.version}:{digits[:length]}" for length in range(0, len(digits) + 1, 2))


def _covering(low: int, high: int) -> Iterator[str]:
    """Prefixes, in bytes, of all numbers from low to high, ascending: of those that fit, the longest first."""
    shift = 0
    while low <= high:
        while shift < _WIDEST and not low & ((256 << shift) - 1) and low + (256 << shift) - 1 <= high:
            shift += 8
        while low + (1 << shift) - 1 > high:
            shift -= 8
        first, digits = low >> shift, 2 * _NUMBER_BYTES - shift // 4
        end = min((high + 1) >> shift, (first | 0xFF) + 1)
        yield from [f"{number:0{digits}x}" for number in range(first, end)]
        low = end << shift


def _escape(text: str) -> str:
    if text.isprintable() and " " not in text and "\\" not in text:  # nothing that is printable is space but one
        return text
    return _SPACE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def _units(text: str) -> int:
    """Length in UTF-16 code units, in which engines count."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
