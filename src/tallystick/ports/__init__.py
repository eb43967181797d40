"""What has two real implementations: index, queue, ring of master keys, counters of rates. `bootstrap` chooses."""

from tallystick.ports.index import (
    CorruptIndexError,
    CountRequest,
    Counts,
    EventCounter,
    EventForgetter,
    EventIndex,
    ForgettingIndex,
    Hit,
    Hits,
    IndexBehindError,
    IndexState,
    SearchIndex,
    SearchOrder,
    SearchRequest,
    endless_phrase,
)
from tallystick.ports.keys import KeyRing, MasterKeyLostError, Wrapped
from tallystick.ports.queue import Depth, Message, Queue, QueueKind
from tallystick.ports.rates import Charge, RateCounters, Window

__all__ = (
    "Charge",
    "CorruptIndexError",
    "CountRequest",
    "Counts",
    "Depth",
    "EventCounter",
    "EventForgetter",
    "EventIndex",
    "ForgettingIndex",
    "Hit",
    "Hits",
    "IndexBehindError",
    "IndexState",
    "KeyRing",
    "MasterKeyLostError",
    "Message",
    "Queue",
    "QueueKind",
    "RateCounters",
    "SearchIndex",
    "SearchOrder",
    "SearchRequest",
    "Window",
    "Wrapped",
    "endless_phrase",
)
