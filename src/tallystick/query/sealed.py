"""What a sealed value looks like, so that whoever reads events knows one without a key.

A value is sealed as an object of one member, a text that must stay a text as a string::

    {"$sealed": "1.<key id>.<nonce>.<ciphertext and tag>"}        "$sealed:1.<key id>.<nonce>.<ciphertext and tag>"

``1`` is the version of the form; nonce and ciphertext are base64url without padding (RFC 4648 §5).
"""

import re
from typing import Any, Final, cast

SEALED_MEMBER: Final = "$sealed"
SEALED_TEXT: Final = "$sealed:"

_COMPACT: Final = re.compile(r"1\.[0-9a-z-]{1,64}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{22,}", re.ASCII)


def compact_of(value: object) -> str | None:
    """The compact string of what looks like a sealed value or text, else None.

    A client may send what looks sealed and is not: only `privacy.sealing.DataKeys.unseal` knows.
    """
    compact: object = None
    if isinstance(value, str):
        compact = value.removeprefix(SEALED_TEXT) if value.startswith(SEALED_TEXT) else None
    elif isinstance(value, dict) and len(members := cast("dict[str, Any]", value)) == 1:
        compact = members.get(SEALED_MEMBER)
    return compact if isinstance(compact, str) and _COMPACT.fullmatch(compact) else None


def key_id_of(compact: str) -> str:
    """The id of the data key that a compact string names."""
    return compact.split(".")[1]
