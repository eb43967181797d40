"""The one tokenizer: texts and queries become the same tokens, whatever engine compares them."""

import re
import unicodedata
from typing import Final, NamedTuple

MAX_TOKEN: Final = 48
"""Code points of a token; what is longer is cut, in texts and queries alike."""

# Scripts that set no spaces between words: their runs are cut into pairs.
_DENSE: Final = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS: Final = "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code)).startswith("M"))

_ASCII: Final = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
_RUN: Final = re.compile(rf"(?P<dense>[{_DENSE}]+)|(?:[^\W_{_DENSE}]|[{re.escape(_MARKS)}])+")


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


def _is_dense(character: str) -> bool:
    match = _RUN.fullmatch(character)
    return match is not None and match["dense"] is not None


def _cut(text: str, *, whole: bool) -> list[str]:
    """Cut a text; unless it is whole, a dense run at its end may go on in what it is looked for in."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    runs = list(_RUN.finditer(folded))
    found: list[str] = []
    for number, match in enumerate(runs, 1):
        run = match[0]
        if match["dense"] is None:
            found.append(run[:MAX_TOKEN])
            continue
        found.extend(run[start : start + 2] for start in range(len(run) - 1))
        if whole or number < len(runs) or len(run) == 1:
            found.append(run[-1])
    return found
