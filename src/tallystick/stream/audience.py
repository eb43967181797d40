"""Those who ask the same of one log: what they get is judged, written and framed once, and sent to all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from tallystick.auth.access import Access
from tallystick.log.turns import give_way
from tallystick.stream.metrics import StreamMetrics
from tallystick.stream.model import FAILED, TOO_SLOW, Close, Socket, events_frame, heartbeat_frame
from tallystick.stream.ring import Passage, Ring
from tallystick.stream.sieve import Candidate, Sieve

FULL: Final = 64 * 1024
"""Bytes waiting in a connection above which nothing more is written to it."""

_SLICE: Final = 50


@dataclass(slots=True, eq=False)
class Stream:
    """One client's stream: its connection, and how far it came.

    Attributes:
        socket: Where it is sent.
        access: What its principal may see.
        seq: Everything up to here was sent, or was not to be; -1 before the first.
        events: How many were sent.
        lag: The number of the passage that it gets next; None where it has all.
        sent_at: When something was last written, in monotonic seconds.
        full_since: Since when nothing could be written, or None.
        closed: How it was closed by this side, or None.
    """

    socket: Socket
    access: Access
    seq: int
    metrics: StreamMetrics
    events: int = 0
    lag: int | None = None
    sent_at: float = field(default_factory=monotonic)
    full_since: float | None = None
    closed: Close | None = None

    @property
    def full(self) -> bool:
        """Whether the connection takes no more for now."""
        return self.socket.buffered > FULL

    def pass_on(self, passage: Passage) -> None:
        """Send what a passage has for this stream."""
        if passage.frames is not None:
            self.write(passage.frames)
            self.events += passage.events
            self.metrics.sent(passage.events)
        self.seq = passage.through

    def beat(self) -> None:
        """Tell how far the stream is."""
        self.write(heartbeat_frame(self.seq))

    def write(self, frames: bytes) -> None:
        """Send frames."""
        self.socket.write(frames)
        self.sent_at = monotonic()
        self.full_since = None

    def close(self, close: Close) -> None:
        """Close the stream, unless it is closed."""
        if self.closed is None:
            self.closed = close
            self.socket.close(*close)

    def break_off(self, code: int = TOO_SLOW) -> None:
        """Close the stream and tell where to go on."""
        self.close(Close(code, str(self.seq)))


class Audience:
    """All streams of one process with one question about one log, by one narrowing.

    Args:
        sieve: Which events they get; None for all.
        tells_removed: Whether they see the whole log, and so are told what was removed from it.
        through: Up to where the log was read.
        max_bytes: What is kept for the slowest of them.
    """

    def __init__(self, sieve: Sieve | None, *, tells_removed: bool, through: int, max_bytes: int) -> None:
        self.tells_removed = tells_removed
        self.through = through
        self._sieve = sieve
        self._ring = Ring(max_bytes)
        self._ready: set[Stream] = set()
        self._lagging: set[Stream] = set()
        self._replaying: dict[Stream, int] = {}

    @property
    def empty(self) -> bool:
        """Whether nobody is left."""
        return not (self._ready or self._lagging or self._replaying)

    @property
    def lagging(self) -> bool:
        """Whether anybody waits for a connection to take more."""
        return bool(self._lagging)

    @property
    def held(self) -> int:
        """Bytes that are kept for who is behind."""
        return self._ring.bytes

    async def sift(
        self, through: int, candidates: Sequence[Candidate], removed: bytes | None, *, after: int | None = None
    ) -> Passage:
        """Judge the events of a stretch, in slices between which others get their turn.

        Args:
            through: Where it ends.
            candidates: Its events; those that the audience has are passed over.
            removed: The frame that tells what was removed within.
            after: Where it begins for whoever replays; None is where the audience is.
        """
        after = self.through if after is None else after
        items: list[bytes] = []
        for start in range(0, len(candidates), _SLICE):
            if start:
                await give_way()
            items += [each.item for each in candidates[start : start + _SLICE] if self._passes(each, after)]
        frames = removed if self.tells_removed else None
        if items:
            frames = (frames or b"") + events_frame(items, through)
        return Passage(after, through, frames, len(items))

    def _passes(self, candidate: Candidate, after: int) -> bool:
        return candidate.event.seq > after and (self._sieve is None or self._sieve(candidate))

    def take(self, passage: Passage) -> None:
        """Send the next passage to all who have everything before it, and keep it for the others."""
        number = self._ring.end
        self._ring.append(passage)
        self.through = passage.through
        if passage.frames is None:
            for stream in self._ready:
                stream.seq = passage.through
        else:
            for stream in tuple(self._ready):
                if stream.full:
                    self._ready.discard(stream)
                    self._lagging.add(stream)
                    stream.lag = number
                else:
                    stream.pass_on(passage)
        self._drop_lost()
        self._trim()

    def retry(self, now: float, patience: float) -> None:
        """Send on to those whose connections were full; who took nothing for too long is cut off."""
        for stream in tuple(self._lagging):
            while stream.lag is not None and not stream.full:
                stream.pass_on(self._ring[stream.lag])
                stream.lag = stream.lag + 1 if stream.lag + 1 < self._ring.end else None
            if stream.lag is None:
                self._lagging.discard(stream)
                self._ready.add(stream)
            elif stream.full_since is None:
                stream.full_since = now
            elif now - stream.full_since > patience:
                self._cut_off(stream)
        self._trim()

    def give_up_slowest(self) -> None:
        """Let go of the oldest passage, and so of those who still wait for it."""
        self._ring.drop_first()
        self._drop_lost()
        self._trim()

    def fail(self, through: int) -> None:
        """End all streams, after a fault of ours."""
        self.end(Close(FAILED, "an unexpected failure: try again"))
        self.through = through

    def end(self, close: Close) -> None:
        """Close all streams."""
        for stream in [*self._ready, *self._lagging, *self._replaying]:
            stream.close(close)

    def pin(self, stream: Stream) -> int:
        """Keep what comes from now on for a stream that replays; returns the seq through which it has to."""
        self._replaying[stream] = self._ring.end
        return self.through

    def keeps(self, stream: Stream) -> bool:
        """Whether all that came since `pin` is still there."""
        return self._replaying[stream] >= self._ring.first

    def join(self, stream: Stream) -> None:
        """Let a stream in that replayed all before what was pinned."""
        number = self._replaying.pop(stream)
        if number < self._ring.end:
            stream.lag = number
            self._lagging.add(stream)
        else:
            self._ready.add(stream)

    def leave(self, stream: Stream) -> None:
        """Forget a stream."""
        if stream in self._ready:
            self._ready.discard(stream)
            return
        self._lagging.discard(stream)
        self._replaying.pop(stream, None)
        self._trim()

    def _drop_lost(self) -> None:
        for stream in [each for each in self._lagging if each.lag is not None and each.lag < self._ring.first]:
            self._cut_off(stream)

    def _cut_off(self, stream: Stream) -> None:
        self._lagging.discard(stream)
        stream.break_off()

    def _trim(self) -> None:
        owed = [each.lag for each in self._lagging if each.lag is not None]
        self._ring.forget(min([*owed, *self._replaying.values()], default=self._ring.end))
