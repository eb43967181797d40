"""Log files of bounded size, under the hands of the processes that write them.

A child writes to its log file itself, at the file's end (`O_APPEND`): a supervisor that is killed or slow breaks no
child's output. So a file that has grown is not moved but copied aside and emptied. What is written between the two is
lost, and counted.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LARGEST_PART = 10 * 1024 * 1024
"""Most bytes in one part. A file is emptied well before it has them: it grows on until somebody looks again."""

OLD_PARTS = 3

_FULL = LARGEST_PART * 4 // 5
_CHUNK = 1024 * 1024
_INTERVAL = 0.5


@dataclass(frozen=True, slots=True)
class Dropped:
    """Log output that was given up.

    Attributes:
        size: How much, in bytes.
        reason: Why.
    """

    size: int
    reason: str


async def keep_bounded(folder: Path, report: Callable[[str], None], interval: float = _INTERVAL) -> None:
    """Look after the log files (`*.log`) of a folder for ever.

    Args:
        folder: Where they lie.
        report: Told what was dropped, and of what cannot be looked after: once until it goes well again.
        interval: Seconds between two looks.
    """
    failing: set[Path] = set()
    while True:
        for file in await asyncio.to_thread(lambda: sorted(folder.glob("*.log"))):
            try:
                dropped = await asyncio.to_thread(rotate, file)
            except OSError as error:
                if file not in failing:
                    report(f"{file} cannot be kept small: {error.strerror}")
                failing.add(file)
                continue
            failing.discard(file)
            if dropped is not None:
                report(f"{dropped.size} bytes of {file.name} dropped: {dropped.reason}")
        await asyncio.sleep(interval)


def rotate(file: Path) -> Dropped | None:
    """Empty a log file that has grown; its newest bytes become the first of the older parts.

    It is emptied even where they cannot be kept, on a full disk above all.

    Returns:
        What was not kept, if anything.

    Raises:
        OSError: The file cannot be emptied.
    """
    try:
        source = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(source).st_size
        if size < _FULL:
            return None
        reason = "more was written than is kept"
        try:
            kept = _keep(source, max(0, size - LARGEST_PART), file)
        except OSError as error:
            kept, reason = 0, error.strerror or str(error)
        lost = os.fstat(source).st_size - kept
        os.ftruncate(source, 0)
    finally:
        os.close(source)
    return Dropped(lost, reason) if lost else None


def _keep(source: int, start: int, file: Path) -> int:
    """Copy from an offset on to the first older part; returns how many bytes."""
    for age in range(OLD_PARTS, 1, -1):
        younger = _part(file, age - 1)
        if younger.exists():
            younger.replace(_part(file, age))
    first = _part(file, 1)
    copied = 0
    try:
        target = os.open(first, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(target, "wb", buffering=0) as opened:  # noqa: PTH123 - a descriptor
            while copied < LARGEST_PART and (
                chunk := os.pread(source, min(_CHUNK, LARGEST_PART - copied), start + copied)
            ):
                written = opened.write(chunk)
                copied += written
    except OSError:
        first.unlink(missing_ok=True)
        raise
    return copied


def _part(file: Path, age: int) -> Path:
    return file.with_name(f"{file.name}.{age}")
