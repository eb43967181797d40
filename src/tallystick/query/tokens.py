"""The one tokenizer: texts and queries become the same tokens, whatever engine compares them."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_TOKEN: Final = 48
"""Code points of a token; what is longer is cut, in texts and queries alike."""

# Scripts that set no spaces between words: their runs are cut into pairs.
_DENSE: Final = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS: Final = "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code)).startswith("M"))

_ASCII: Final = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
_RUN: Final = re.compile(rf"(?P<dense>[{_DENSE}]+)|(?:[^\W_{_DENSE}]|[{re.escape(_MARKS)}])+")
_CLUSTER: Final = re.compile(rf".[{re.escape(_MARKS)}]*", re.DOTALL)


class QueryTokens(NamedTuple):
    """What a text of a query asks for.

    Attributes:
        tokens: To be found one after the other.
        prefix: The last need only begin so.
    """

    tokens: tuple[str, ...]
    prefix: bool


def tokens(text: str) -> list[str]:
    """Cut a text into its tokens.

    A token is a run of letters, marks and digits after compatibility composition and case folding (NFKC_Casefold,
    Unicode §3.13). A run of Chinese or Japanese characters becomes its pairs, and its last character alone.
    """
    if text.isascii():
        words = text.translate(_ASCII).split()
        return words if len(text) <= MAX_TOKEN else [word[:MAX_TOKEN] for word in words]
    return _cut(text, whole=True)


def query_tokens(text: str) -> QueryTokens:
    """Cut a text of a query, so that what it asks for is found in longer runs as well."""
    if text.isascii():
        return QueryTokens(tuple(tokens(text)), prefix=False)
    found = _cut(text, whole=False)
    return QueryTokens(tuple(found), prefix=bool(found) and len(found[-1]) == 1 and _is_dense(found[-1]))


class Token(NamedTuple):
    """A token and where it stands in its text, in code points."""

    text: str
    begin: int
    end: int


def placed_tokens(text: str) -> list[Token]:
    """Cut a text into its tokens as `tokens` does, and tell where each stands.

    Where a letter and what composes with it stand apart (some Hangul written in parts), a token may be missed.
    """
    folded: list[str] = []
    places: list[tuple[int, int]] = []
    for match in _CLUSTER.finditer(text):
        fold = _folded(match[0])
        folded.append(fold)
        places += [match.span()] * len(fold)
    return [
        Token(token, places[begin][0], places[end - 1][1]) for token, begin, end in _runs("".join(folded), whole=True)
    ]


def _is_dense(character: str) -> bool:
    match = _RUN.fullmatch(character)
    return match is not None and match["dense"] is not None


def _cut(text: str, *, whole: bool) -> list[str]:
    return [token for token, _, _ in _runs(_folded(text), whole=whole)]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _runs(folded: str, *, whole: bool) -> Iterator[tuple[str, int, int]]:
    """Cut a text into tokens and their places; unless whole, a dense run at its end may go on where it is found."""
    runs = list(_RUN.finditer(folded))
    for number, match in enumerate(runs, 1):
        run, (begin, end) = match[0], match.span()
        if match["dense"] is None:
            yield run[:MAX_TOKEN], begin, end
            continue
        for start in range(len(run) - 1):
            yield run[start : start + 2], begin + start, begin + start + 2
        if whole or number < len(runs) or len(run) == 1:
            yield run[-1], end - 1, end
