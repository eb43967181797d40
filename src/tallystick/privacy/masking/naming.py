"""Secrets that a sensitive name announces within a string: `password=…`, `"token": "…"`, `--api-key …`, `<secret>…`.

Heads (a name and what follows it) are found by RE2; where the value ends depends on how it begins. Every value that is
taken is passed over, and one that is not holds no further head, so that all of it together is linear.
"""

import re
from collections.abc import Iterator
from typing import Final

from tallystick.privacy.masking.expressions import compiled
from tallystick.privacy.masking.names import TAIL, NameMatcher
from tallystick.privacy.masking.rules import is_masked

_QUOTE: Final = r"(?:\\?[\"'])?"
_QUOTE_IN_JSON: Final = r"(?:\\{0,3}[\"'])?"

_QUOTED: Final = {
    b'"': re.compile(rb'"((?:[^"\\]|\\.)*)', re.DOTALL),
    b"'": re.compile(rb"'((?:[^'\\]|\\.)*)", re.DOTALL),
    b"\\": re.compile(rb"\\[\"'](.*?)(?:\\[\"']|\Z)", re.DOTALL),
}
_BARE: Final = re.compile(rb"([^\s\"'&;]+)")
_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+=[^\r\n]*)")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]* ([^\s\"']*[0-9][^\s\"']*)")
"""Credentials after their scheme, in a header (RFC 9110 §11.4)."""

_BRACKETS: Final = re.compile(rb"[{}\[\]]|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_ELEMENT: Final = re.compile(rb"([^<]+)")
_SPACE: Final = re.compile(rb" {0,2}")
_WRITTEN: Final = re.compile(rb"[A-Za-z]?[a-z'-]*[.,:!?)]*|[A-Z]+[.,:!?)]*")
"""A word of prose, as in `Password: changed.`"""

_SAYS_NOTHING: Final = frozenset({b"true", b"false", b"null", b"none", b"nil", b"undefined", b"yes", b"no"})
_SHORTEST_AFTER_COLON: Final = 4


def in_json(spellings: str) -> str:
    """An expression that JSON matches wherever `NamedSecrets` finds something in a string of it.

    The same expression matches every member whose name is sensitive.
    """
    return rf"(?i:{spellings}){TAIL}{_QUOTE_IN_JSON} {{0,2}}[:=>]|-(?i:{spellings}) "


def in_text(spellings: str) -> str:
    """An expression for a head in a string: groups 1 and 2 are a name and its sign, or group 3 is a flag."""
    name = rf"([A-Za-z0-9_.\-\[]*(?i:{spellings}){TAIL}){_QUOTE} {{0,2}}([:=>])"
    flag = rf"(?:^|[ \"'=,\[])--?((?:[A-Za-z0-9]+-)*(?i:{spellings})) "
    return f"{name}|{flag}"


class NamedSecrets:
    """Finds them.

    Args:
        names: Tells which names are sensitive.
        spellings: Those names as an expression.
    """

    def __init__(self, names: NameMatcher, spellings: str) -> None:
        self._names = names
        self._head = compiled(in_text(spellings))

    def find(self, text: bytes) -> Iterator[tuple[int, int, str]]:
        """Give where each secret begins and ends, and the rule of its name; no rule for what is none after all."""
        position = 0
        while (head := self._head.search(text, position)) is not None:
            position = head.span()[1]
            named = 3 if head.span(1) == (-1, -1) else 1
            start, end = head.span(named)
            rule = self._names.rule_of(text[start:end].decode("ascii").strip())
            if not rule or not self._names.in_text(rule):
                yield start, end, ""
                continue
            sign = text[slice(*head.span(2))] if named == 1 else b" "
            quoted = named == 1 and text[end:position].lstrip(b"\\")[:1] in (b'"', b"'")
            span = _value_span(text, start, position, sign, rule=rule, quoted=quoted)
            if span is None or not self._is_secret(text[slice(*span)], rule):
                yield start, end, ""
                continue
            position = span[1]
            yield (*span, rule)

    def _is_secret(self, value: bytes, rule: str) -> bool:
        if value.lower() in _SAYS_NOTHING or (value.isdigit() and not self._names.masks_numbers(rule)):
            return False
        return not is_masked(value.decode())


def _value_span(
    text: bytes, start: int, position: int, sign: bytes, *, rule: str, quoted: bool
) -> tuple[int, int] | None:
    """Where the value after a head begins and ends, or None where nothing is told.

    Args:
        text: All of it.
        start: Where the name begins.
        position: Where the head ends.
        sign: What stands between name and value.
        rule: Of the name.
        quoted: Whether the name is in quotation marks, as in JSON: then a colon is as good as an equals sign.
    """
    if sign == b">":
        opened = text[:start].endswith((b"<", b":"))
        return _inside(_ELEMENT, text, position) if opened else None
    spaces = _SPACE.match(text, position)
    position = position if spaces is None else spaces.end()
    if rule == "authorization":
        return _inside(_SCHEME, text, position)
    cookies = _inside(_LINE, text, position) if rule == "cookie" else None
    return cookies or _value_alone(text, position, prose=sign == b":" and not quoted)


def _value_alone(text: bytes, position: int, *, prose: bool) -> tuple[int, int] | None:
    """Where a value begins and ends by how it begins. In prose a word is no secret."""
    begins = text[position : position + 1]
    if begins in (b"{", b"["):
        return position, _end_of_brackets(text, position)
    span = _inside(_QUOTED.get(begins, _BARE), text, position)
    if span is None or begins in _QUOTED or not prose:
        return span
    value = text[slice(*span)]
    return None if len(value) < _SHORTEST_AFTER_COLON or _WRITTEN.fullmatch(value) else span


def _inside(expression: "re.Pattern[bytes]", text: bytes, position: int) -> tuple[int, int] | None:
    """Where group 1 of a match at this position begins and ends; None where there is none, or nothing in it."""
    match = expression.match(text, position)
    return None if match is None or match.start(1) == match.end(1) else match.span(1)


def _end_of_brackets(text: bytes, position: int) -> int:
    """Where a JSON object or array that begins here ends: at the end of the text if it was cut off."""
    depth = 0
    for token in _BRACKETS.finditer(text, position):
        sign = token[0]
        depth += (sign in b"{[") - (sign in b"}]")
        if depth == 0:
            return token.end()
    return len(text)
