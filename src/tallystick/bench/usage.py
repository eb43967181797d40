"""What the measured processes use: CPU time by group, and memory over time."""

import contextlib
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

Groups = Mapping[str, Sequence[int]]
"""Process ids by the name of their group."""


def family(pid: int) -> list[int]:
    """A process and everything it started."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return []


def _seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


@dataclass(slots=True)
class Meter:
    """CPU used by groups of processes between `start` and `stop`. A process that ends in between is not counted."""

    groups: Groups
    _started: float = 0.0
    _before: dict[int, float] = field(default_factory=dict[int, float])

    def start(self) -> None:
        """Begin."""
        self._before = {pid: _seconds(pid) for pids in self.groups.values() for pid in pids}
        self._started = time.monotonic()

    def stop(self) -> dict[str, float]:
        """End: cores in use on average, by group."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        return {
            group: sum(max(_seconds(pid) - self._before[pid], 0.0) for pid in pids) / elapsed
            for group, pids in self.groups.items()
        }


@dataclass(slots=True)
class MemorySamples:
    """Resident memory of one process while it works.

    Attributes:
        bytes_at: (seconds since the start, resident bytes).
    """

    bytes_at: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def growth(self) -> float:
        """Bytes a second by which memory grows, least squares over the last two thirds: the first third is warm-up.

        Raises:
            ValueError: Fewer than three samples there.
        """
        kept = self.bytes_at[len(self.bytes_at) // 3 :]
        if len(kept) < 3:
            raise ValueError("too few samples to tell a trend")
        mean_time = sum(at for at, _ in kept) / len(kept)
        mean_bytes = sum(size for _, size in kept) / len(kept)
        above = sum((at - mean_time) * (size - mean_bytes) for at, size in kept)
        return above / sum((at - mean_time) ** 2 for at, _ in kept)

    @property
    def largest(self) -> int:
        """The most there was, in bytes."""
        return max(size for _, size in self.bytes_at)


@contextlib.contextmanager
def sampled_memory(pid: int, every: float = 1.0) -> Generator[MemorySamples]:
    """Sample a process's resident memory in a thread while the block runs."""
    samples = MemorySamples()
    ended = threading.Event()

    def sample() -> None:
        begin = time.monotonic()
        process = psutil.Process(pid)
        while not ended.is_set():
            try:
                samples.bytes_at.append((time.monotonic() - begin, process.memory_info().rss))
            except psutil.Error:
                return
            ended.wait(every)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
