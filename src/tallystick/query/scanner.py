"""The text of a question, cut into tokens that know where they stand, so that errors point at the character."""

import re
from dataclasses import dataclass
from typing import Final

from tallystick.errors import Flaw, InvalidError

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<and>&&|AND(?=[\s()]|$))
      | (?P<or>\|\||OR(?=[\s()]|$))
      | (?P<not>!(?=[^\s=])|NOT(?=[\s()]|$)|-(?=[^\s-]))
      | (?P<open>\() | (?P<close>\))
      | (?P<from>[\[{]) | (?P<until>[\]}])
      | (?P<compare>[<>]=?)
      | (?P<field>(?:[^\s\\"():\[\]{}<>]|\\.|(?<=\.)"(?:[^"\\]|\\.)*")+:)
      | (?P<phrase>"(?:[^"\\]|\\.)*")
      | (?P<word>(?:[^\s\\"()\[\]{}]|\\.)+)
    """,
    re.VERBOSE | re.DOTALL,
)
_VALUE: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<open>\() | (?P<close>\))
      | (?P<from>[\[{]) | (?P<until>[\]}])
      | (?P<compare>[<>]=?)
      | (?P<phrase>"(?:[^"\\]|\\.)*")
      | (?P<word>(?:[^\s\\"()\[\]{}]|\\.)+)
    """,
    re.VERBOSE | re.DOTALL,
)


def flawed(detail: str, position: int) -> InvalidError:
    """What is wrong, and at which character, counted from 1."""
    return InvalidError("`q` is not valid", flaws=[Flaw(f"at character {position + 1}: {detail}", parameter="q")])


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text.

    Attributes:
        kind: The name of its group in the pattern.
        text: As written.
        start: Of its first character, from 0.
    """

    kind: str
    text: str
    start: int


def scan(text: str) -> list[Token]:
    """Cut the text. What follows a field or stands in a range is a value: no colon or word of it has a meaning."""
    found: list[Token] = []
    position = 0
    in_range = after_field = False
    while position < len(text):
        match = (_VALUE if in_range or after_field else _TOKEN).match(text, position)
        if match is None:
            character = text[position]
            wrong = {'"': "this quotation mark has no end", "\\": "nothing follows this backslash"}
            raise flawed(wrong.get(character, f"{character!r} is not expected here"), position)
        kind = str(match.lastgroup)
        in_range = kind == "from" or (in_range and kind != "until")
        after_field = kind in ("field", "compare")
        if kind != "space":
            found.append(Token(kind, match[0], position))
        position = match.end()
    return found
