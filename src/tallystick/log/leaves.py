"""The object that keeps the leaf hashes of removed events, so that proofs over the whole log stay possible.

::

    16 bytes   "tallystick leaf", and one byte that is the version, 1
     8 bytes   id of the log, big-endian as all numbers here
    and then runs of consecutive seqs, ascending, each
     8 bytes   seq of the first
     4 bytes   how many
    32 bytes   leaf hash (RFC 6962), for each

An object may hold leaves of events that were not removed after all: it is written first.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

MAGIC: Final = b"tallystick leaf\x01"

HASH_BYTES: Final = 32

_LOG: Final = struct.Struct(">Q")
_RUN: Final = struct.Struct(">QI")


def write_header(log_id: int) -> bytes:
    """How an object begins."""
    return MAGIC + _LOG.pack(log_id)


def write_runs(leaves: Sequence[tuple[int, bytes]]) -> bytes:
    """Write seqs and their leaf hashes, ascending. What is written of parts of a log follows each other."""
    pieces: list[bytes] = []
    for first, run in _runs(leaves):
        pieces += [_RUN.pack(first, len(run)), *run]
    return b"".join(pieces)


def _runs(leaves: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    first, run = 0, list[bytes]()
    for seq, leaf in leaves:
        if run and seq != first + len(run):
            yield first, run
            run = []
        if not run:
            first = seq
        run.append(leaf)
    if run:
        yield first, run


def read_leaves(data: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """Read an object: the id of the log, and each seq with its leaf hash.

    Raises:
        ValueError: It is no such object, of another version, or cut.
    """
    begin = len(MAGIC) + _LOG.size
    if len(data) < begin or not data.startswith(MAGIC):
        raise ValueError("not an object of leaf hashes, or of another version")
    (log_id,) = _LOG.unpack_from(data, len(MAGIC))
    leaves: list[tuple[int, bytes]] = []
    while begin < len(data):
        if len(data) < begin + _RUN.size:
            raise ValueError("the object is cut")
        first, count = _RUN.unpack_from(data, begin)
        begin += _RUN.size
        end = begin + count * HASH_BYTES
        if len(data) < end:
            raise ValueError("the object is cut")
        for number in range(count):
            at = begin + number * HASH_BYTES
            leaves.append((first + number, data[at : at + HASH_BYTES]))
        begin = end
    return log_id, leaves
