"""Rows of events and retry keys in PostgreSQL's binary COPY format (its documentation, COPY, "Binary Format")."""

import struct
from typing import Final

COLUMNS: Final = ("log_id", "seq", "received_at", "occurred_at", "leaf_hash", "body")

RETRY_KEY_COLUMNS: Final = ("day", "scope", "log_id", "key", "digest", "key_id", "answer")

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"

_ROW_START: Final = struct.Struct("!hiiiqiqiqi32si")
_LENGTH: Final = struct.Struct("!i")
_RETRY_KEY_START: Final = struct.Struct("!hii")
_POSTGRES_EPOCH_DAY: Final = 10_957
"""2000-01-01 in days since 1970: the zero of a binary date."""

_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in Unix microseconds: the zero of a binary timestamptz."""


def event_row(log_id: int, seq: int, received_us: int, occurred_us: int, leaf_hash: bytes, body: bytes) -> bytes:
    """Encode one event.

    Args:
        log_id: The log.
        seq: Position in the log.
        received_us: Arrival in Unix microseconds.
        occurred_us: Occurrence in Unix microseconds.
        leaf_hash: 32 bytes.
        body: UTF-8.
    """
    return (
        _ROW_START.pack(
            6,
            4,
            log_id,
            8,
            seq,
            8,
            received_us - _POSTGRES_EPOCH_US,
            8,
            occurred_us - _POSTGRES_EPOCH_US,
            32,
            leaf_hash,
            len(body),
        )
        + body
    )


def retry_key_row(day: int, scope: str, log_id: int, key: str, digest: bytes, key_id: str, answer: bytes) -> bytes:
    """Encode one retry key.

    Args:
        day: Days since 1970-01-01.
        scope: ``event`` or ``request``.
        log_id: The log.
        key: What it is looked up by.
        digest: Of what it came with.
        key_id: Of the digest's key.
        answer: UTF-8.
    """
    return b"".join(
        (
            _RETRY_KEY_START.pack(len(RETRY_KEY_COLUMNS), 4, day - _POSTGRES_EPOCH_DAY),
            _field(scope.encode()),
            _field(log_id.to_bytes(4, "big", signed=True)),
            _field(key.encode()),
            _field(digest),
            _field(key_id.encode()),
            _field(answer),
        )
    )


def _field(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value
