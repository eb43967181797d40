"""Writes operations in bulk: chunks of a bounded size, patience with a cluster that is busy, no tolerance for less."""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
from opensearchpy import AsyncOpenSearch, TransportError

from tallystick.adapters.opensearch.connection import BusyError, seconds_after
from tallystick.errors import SearchDownError

_CHUNK_BYTES: Final = 4 * 1024 * 1024
_CHUNK_OPERATIONS: Final = 2_000
_TIMEOUT_SECONDS: Final = 60
_FIRST_PAUSE, _PAUSES = 0.1, 6
_LONGEST_PAUSE: Final = 10.0

_CONFLICT, _TOO_LARGE, _TOO_MANY_REQUESTS = 409, 413, 429
_NOT_OURS: Final = frozenset({"strict_dynamic_mapping_exception", "cluster_block_exception", "index_closed_exception"})
"""Refusals with a 4xx that no document is to blame for."""


class RefusedDocumentError(Exception):
    """OpenSearch will never take a document.

    Attributes:
        seq: Of its event.
    """

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(f"OpenSearch refuses the document of seq {seq}: {reason}")
        self.seq = seq


class Operation(NamedTuple):
    """A document to be written, whatever was there before.

    Attributes:
        seq: Of its event.
        lines: The action and the document, each ending its line.
    """

    seq: int
    lines: bytes


def operation(seq: int, document_id: str, source: bytes, *, version: int | None = None) -> Operation:
    """Make an operation.

    Args:
        seq: Of the event.
        document_id: Where the document goes.
        source: The document as JSON.
        version: The document takes the place of those with a lower version only.
    """
    action: dict[str, object] = {"_id": document_id}
    if version is not None:
        action |= {"version": version, "version_type": "external"}
    return Operation(seq, b'{"index":%b}\n%b\n' % (orjson.dumps(action), source))


@dataclass(frozen=True, slots=True)
class Bulk:
    """Writes to one index.

    Attributes:
        client: How.
        index: Where to.
        routing: Of all documents.
    """

    client: AsyncOpenSearch
    index: str
    routing: str

    async def write(self, operations: Iterable[Operation], *, refresh: bool = False) -> None:
        """Write operations in their order. On return all are durable, and visible if they were to be refreshed.

        Raises:
            RefusedDocumentError: One of them never will be; others may be.
            SearchDownError: The cluster stayed busy.
            TransportError: The cluster does not answer.
        """
        for chunk in _chunks(operations):
            await self._write_chunk(chunk, refresh=refresh)

    async def _write_chunk(self, chunk: Sequence[Operation], *, refresh: bool) -> None:
        waiting = chunk
        for pause in _pauses():
            try:
                waiting = await self._send(waiting, refresh=refresh)
            except BusyError as error:
                if error.retry_after is not None and error.retry_after > _LONGEST_PAUSE:
                    raise
                pause = max(pause, error.retry_after or 0)  # noqa: PLW2901  # what it asks for
            if not waiting:
                return
            await asyncio.sleep(pause)
        raise SearchDownError("OpenSearch has too much to do", retry_after=seconds_after(BusyError(0, "", None)))

    async def _send(self, chunk: Sequence[Operation], *, refresh: bool) -> Sequence[Operation]:
        """Write operations; returns those that are to be tried again."""
        try:
            answer: dict[str, Any] = await self.client.bulk(
                body=b"".join(each.lines for each in chunk),
                index=self.index,
                params={
                    "routing": self.routing,
                    "refresh": "true" if refresh else "false",
                    "filter_path": "errors,items.index.status,items.index.error.type",
                    "request_timeout": _TIMEOUT_SECONDS,
                },
            )
        except TransportError as error:
            if error.status_code != _TOO_LARGE:
                raise
            if len(chunk) == 1:  # what stands between us and the cluster takes no more
                raise RefusedDocumentError(chunk[0].seq, "it is too large") from error
            middle = len(chunk) // 2
            return [
                *await self._send(chunk[:middle], refresh=refresh),
                *await self._send(chunk[middle:], refresh=refresh),
            ]
        if not answer["errors"]:
            return ()
        results = (item["index"] for item in answer["items"])
        return [each for each, result in zip(chunk, results, strict=True) if _is_to_be_tried_again(each, result)]


def _is_to_be_tried_again(tried: Operation, result: dict[str, Any]) -> bool:
    status: int = result["status"]
    if status < 300 or status == _CONFLICT:  # of a later version
        return False
    if status == _TOO_MANY_REQUESTS:
        return True
    reason: str = result["error"]["type"]
    if status >= 500 or status == 404 or reason in _NOT_OURS:
        raise SearchDownError(f"OpenSearch does not take documents now: {reason}", retry_after=5)
    raise RefusedDocumentError(tried.seq, reason)


def _chunks(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    chunk: list[Operation] = []
    size = 0
    for each in operations:
        if chunk and (size + len(each.lines) > _CHUNK_BYTES or len(chunk) == _CHUNK_OPERATIONS):
            yield chunk
            chunk, size = [], 0
        chunk.append(each)
        size += len(each.lines)
    if chunk:
        yield chunk


def _pauses() -> Iterator[float]:
    for attempt in range(_PAUSES):
        # Others who were told to wait do not all come back at once.
        yield _FIRST_PAUSE * 2**attempt * random.uniform(1, 1.5)  # noqa: S311  # nothing secret
