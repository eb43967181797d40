"""Stored events made without the server: real ids, bodies and leaf hashes, as its writer would have stored them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from tallystick.bench.payloads import Payloads
from tallystick.log.copyrows import event_row
from tallystick.log.identity import RANDOM_BITS, make_id
from tallystick.log.model import Author, EventFields, form_event, form_head
from tallystick.query.timestamps import format_milliseconds
from tallystick_tlog.leaf import leaf_hash

VACUUMED: Final = "with (autovacuum_vacuum_scale_factor = 0.05)"
"""What partitions have that the product makes (see ``migrations``, 0020)."""

AUTHOR: Final = Author(issuer="tallystick", subject="benchmark")
_LATEST_ARRIVAL_MS: Final = 30_000


@dataclass(slots=True)
class StoredEvents:
    """Forms the rows of one log, seq after seq.

    Attributes:
        log_id: The log.
        tenant_id: Its tenant.
        size: The next seq.
        seed: The same seed gives the same events, but for the salts.
    """

    log_id: int
    tenant_id: str
    size: int
    seed: int
    _payloads: Payloads = field(init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - made-up events, not secrets
        self._payloads = Payloads(self.seed)

    def next(self, received_ms: int) -> bytes:
        """Form the next event's row in PostgreSQL's binary COPY format.

        Args:
            received_ms: Its arrival in Unix milliseconds, not before that of the event before it.
        """
        seq = self.size
        self.size += 1
        draw = self._random
        occurred_ms = received_ms - int(draw.random() ** 4 * _LATEST_ARRIVAL_MS)
        event_id = make_id(received_ms, seq, draw.getrandbits(RANDOM_BITS))
        head = form_head(event_id, format_milliseconds(received_ms), with_timestamp=False)
        timestamp = format_milliseconds(occurred_ms).encode()
        fields = cast("EventFields", self._payloads.one(self.tenant_id))
        rest = form_event(fields, None, tenant_id=self.tenant_id, author=AUTHOR).rest
        body = b'%s,"timestamp":"%s"%s' % (head, timestamp, rest)
        return event_row(self.log_id, seq, received_ms * 1000, occurred_ms * 1000, leaf_hash(body), body)


@dataclass(frozen=True, slots=True)
class Share:
    """One log's part of a load.

    Attributes:
        events: The log's source of rows.
        count: How many it gets in all.
    """

    events: StoredEvents
    count: int


def day_of_rows(shares: Sequence[Share], start_ms: int, days: int, day: int) -> Iterator[bytes]:
    """Form one day of a load: arrivals even over the day, the logs mixed at random by their shares.

    Args:
        shares: The logs.
        start_ms: Midnight at which the first day begins, in Unix milliseconds.
        days: Over how many days the load is spread.
        day: Which of them, from 0.
    """
    order = [
        share.events for share in shares for _ in range(share.count * (day + 1) // days - share.count * day // days)
    ]
    random.Random(day).shuffle(order)  # noqa: S311 - an order of made-up events, not a secret
    begin = start_ms + day * 86_400_000
    for number, events in enumerate(order):
        yield events.next(begin + number * 86_400_000 // len(order))
