"""Checks of what only looks like a secret: checksums, and what a secret decodes to."""

import base64
import binascii
from typing import Final

_DOUBLED: Final = bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9))
_ALNUM: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS: Final = frozenset(b"0123456789")
_CAPITALS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOOKED_AT: Final = 256
_SOME: Final = 2
_MANY: Final = 20
_LONGEST_HEADER: Final = 4096
_IBAN_LENGTHS: Final = range(15, 35)
_LONGEST_LOCAL: Final = 64


def is_card_number(found: bytes, after: bytes) -> bool:
    """Whether digits, perhaps parted, end where the number ends and have a right check digit (ISO/IEC 7812-1)."""
    if after and after[0] in _ALNUM:
        return False
    parting = {found[i] for i in range(len(found)) if found[i] not in _DIGITS}
    digits = bytes(byte - 48 for byte in found if byte in _DIGITS)
    return len(parting) <= 1 and len(set(digits)) > 1 and _luhn(digits)


def _luhn(digits: bytes) -> bool:
    total = sum(digits[-1::-2]) + sum(_DOUBLED[digit] for digit in digits[-2::-2])
    return total % 10 == 0


def is_jwt(found: bytes, _after: bytes) -> bool:
    """Whether the first part is the header of a JSON Web Signature or Encryption (RFC 7515 §4.1.1)."""
    header = found.partition(b".")[0]
    if len(header) > _LONGEST_HEADER:
        return True
    try:
        decoded = base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4))
    except binascii.Error:
        return False
    return b'"alg"' in decoded or b'"typ"' in decoded or b'"enc"' in decoded


def is_random(found: bytes) -> bool:
    """Whether text looks drawn by lot rather than written: digits among letters, or very many capitals."""
    found = found[:_LOOKED_AT]
    digits = sum(byte in _DIGITS for byte in found)
    capitals = sum(byte in _CAPITALS for byte in found)
    letters = sum(byte in _ALNUM for byte in found) - digits
    if digits >= _SOME:
        return letters >= _SOME
    return letters >= _MANY and letters / 4 < capitals < letters * 3 / 4


def is_user_and_password(found: bytes) -> bool:
    """Whether it is the credentials of HTTP's Basic scheme (RFC 7617 §2): base64 of `user:password`."""
    try:
        text = base64.b64decode(found + b"=" * (-len(found) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return ":" in text and text.isprintable()


def is_email_address(found: bytes, _after: bytes) -> bool:
    """Whether an address keeps to the lengths and dots of RFC 5321."""
    local, _, domain = found.rpartition(b"@")
    return len(local) <= _LONGEST_LOCAL and len(domain) <= 255 and b".." not in found and not local.startswith(b".")


def is_iban(found: bytes, after: bytes) -> bool:
    """Whether the check digits are right (ISO 7064, MOD 97-10)."""
    if after and after[0] in _ALNUM:
        return False
    compact = found.replace(b" ", b"")
    if len(compact) not in _IBAN_LENGTHS:
        return False
    turned = (compact[4:] + compact[:4]).decode("ascii")
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def is_social_security_number(found: bytes, after: bytes) -> bool:
    """Whether the number was ever given out: no group is zero, the area is not 666."""
    area, group, serial = found.split(b"-")
    ends = not after or (after[0] not in _ALNUM and after != b"-")
    return ends and area not in (b"000", b"666") and group != b"00" and serial != b"0000"
