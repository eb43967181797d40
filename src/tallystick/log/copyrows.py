"""Rows of `tallystick.events` in PostgreSQL's binary COPY format (PostgreSQL documentation, COPY, "Binary Format")."""

import struct
from typing import Final

COLUMNS: Final = ("log_id", "seq", "received_at", "occurred_at", "leaf_hash", "body")

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"

_ROW_START: Final = struct.Struct("!hiiiqiqiqi32si")
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
