"""Objects encrypted in chunks, so that they are written and read as streams, and from any byte on.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015) over AES-256-GCM, with a key of the object's own::

    object = header ‖ chunk 0 ‖ … ‖ chunk n
    header = "TSX1" ‖ length of the key id (1 byte) ‖ key id ‖ salt (32) ‖ nonce prefix (7)
    chunk  = ciphertext of 64 KiB of content, less in the last one ‖ tag (16)
    nonce  = nonce prefix ‖ number of the chunk (4 bytes, big endian) ‖ 1 in the last chunk, else 0 (1 byte)
    key    = HKDF-Expand(data key, label, tenant id, name of the object, header)

So a chunk opens at its own place in its own object alone, and an object that was cut does not end. Content of no bytes
is one empty chunk.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.privacy.sealing import DataKeys, expand

CHUNK_BYTES: Final = 64 * 1024
"""Content of a chunk."""

_MAGIC: Final = b"TSX1"
_OBJECT: Final = b"tallystick object 1"
_SALT_BYTES: Final = 32
_PREFIX_BYTES: Final = 7
_TAG_BYTES: Final = 16
_STORED: Final = CHUNK_BYTES + _TAG_BYTES


class DamagedObjectError(Exception):
    """An encrypted object is not what was written: cut, altered, or in another's place; or its key is not there."""


def header_bytes(key_id: str) -> int:
    """Length of the header of an object that a data key encrypts."""
    return len(_MAGIC) + 1 + len(key_id) + _SALT_BYTES + _PREFIX_BYTES


def stored_bytes(key_id: str, size: int) -> int:
    """Bytes of a whole object with content of so many bytes."""
    return header_bytes(key_id) + size + _TAG_BYTES * _chunks(size)


def _chunks(size: int) -> int:
    return max(1, -(-size // CHUNK_BYTES))


def _cipher(keys: DataKeys, key_id: str, name: str, header: bytes) -> AESGCM:
    data_key = keys.keys[key_id]
    return AESGCM(expand(data_key, _OBJECT, keys.tenant_id.encode(), name.encode(), header))


def _nonce(header: bytes, number: int, *, last: bool) -> bytes:
    return header[-_PREFIX_BYTES:] + number.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


class Encryptor:
    """Encrypts the content of one object with the active key, piece by piece.

    Args:
        keys: The tenant's.
        name: Of the object in its store, which is bound to it.
        header: Of an object that is written again; a new one is drawn when absent.
    """

    def __init__(self, keys: DataKeys, name: str, header: bytes | None = None) -> None:
        self.key_id = keys.active_id
        start = _MAGIC + len(self.key_id).to_bytes(1, "big") + self.key_id.encode()
        self._header = header or start + os.urandom(_SALT_BYTES + _PREFIX_BYTES)
        self._cipher = _cipher(keys, self.key_id, name, self._header)
        self._held = bytearray()
        self._number = 0
        self._out = [self._header]

    def take(self, content: bytes) -> bytes:
        """Encrypt what comes next; gives what of the object is ready, which may be nothing."""
        self._held += content
        # The last chunk is held back, since only the end tells that it is the last.
        whole = (len(self._held) - 1) // CHUNK_BYTES * CHUNK_BYTES if self._held else 0
        for start in range(0, whole, CHUNK_BYTES):
            self._seal(bytes(self._held[start : start + CHUNK_BYTES]), last=False)
        del self._held[:whole]
        return self._given()

    def end(self) -> bytes:
        """The rest of the object."""
        self._seal(bytes(self._held), last=True)
        self._held.clear()
        return self._given()

    def _seal(self, content: bytes, *, last: bool) -> None:
        self._out.append(self._cipher.encrypt(_nonce(self._header, self._number, last=last), content, None))
        self._number += 1

    def _given(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of an encrypted object that hold a range of its content.

    Attributes:
        begin: First byte of the object.
        end: Where they end, exclusive.
        first: Number of the first chunk.
        skip: Bytes of its content before the range.
        length: Of the range.
    """

    begin: int
    end: int
    first: int
    skip: int
    length: int


def span_of(key_id: str, size: int, start: int, end: int) -> Span:
    """Where the content from `start` to before `end` lies in an object with content of `size` bytes."""
    first = min(start // CHUNK_BYTES, _chunks(size) - 1)
    last = max(first, (end - 1) // CHUNK_BYTES)
    header = header_bytes(key_id)
    whole_end = min(header + (last + 1) * _STORED, stored_bytes(key_id, size))
    return Span(header + first * _STORED, whole_end, first, start - first * CHUNK_BYTES, end - start)


class Decryptor:
    """Decrypts a span of one object, piece by piece.

    Args:
        keys: The tenant's.
        name: Of the object in its store.
        key_id: The data key that encrypts it.
        header: Its first `header_bytes`.
        size: Of its whole content.
        span: What is read of it.

    Raises:
        DamagedObjectError: The header is another's, or the key is not there.
    """

    def __init__(self, keys: DataKeys, name: str, key_id: str, header: bytes, size: int, span: Span) -> None:
        if header[: -_SALT_BYTES - _PREFIX_BYTES] != _MAGIC + len(key_id).to_bytes(1, "big") + key_id.encode():
            raise DamagedObjectError("its header is not that of an object of this key")
        if key_id not in keys.keys:
            raise DamagedObjectError("its data key is not there any more")
        self._cipher = _cipher(keys, key_id, name, header)
        self._header = header
        self._last = _chunks(size) - 1
        self._number = span.first
        self._skip = span.skip
        self._left = span.length
        self._held = bytearray()

    def take(self, stored: bytes) -> bytes:
        """Decrypt what comes next; gives what of the range is ready, which may be nothing.

        Raises:
            DamagedObjectError: It is not what was written.
        """
        self._held += stored
        return b"".join(self._open_all(_STORED))

    def end(self) -> bytes:
        """The rest of the range.

        Raises:
            DamagedObjectError: It is not what was written, or too short.
        """
        rest = b"".join(self._open_all(1))
        if self._left:
            raise DamagedObjectError("it is shorter than what was written")
        return rest

    def _open_all(self, least: int) -> Iterator[bytes]:
        while len(self._held) >= max(least, 1):
            chunk = bytes(self._held[:_STORED])
            del self._held[:_STORED]
            try:
                nonce = _nonce(self._header, self._number, last=self._number == self._last)
                content = self._cipher.decrypt(nonce, chunk, None)
            except InvalidTag as error:
                raise DamagedObjectError(f"its chunk {self._number} is not what was written") from error
            wanted = content[self._skip : self._skip + self._left]
            self._skip = 0
            self._left -= len(wanted)
            self._number += 1
            yield wanted
