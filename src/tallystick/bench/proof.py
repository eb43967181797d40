"""What must hold after a run for its figures to count: what was acknowledged is stored, without a gap."""

from dataclasses import dataclass

import asyncpg

from tallystick.bench.report import Check


@dataclass(frozen=True, slots=True)
class Size:
    """How many events a tenant's log holds, by its head."""

    log_id: int
    size: int


async def log_size(url: str, tenant_id: str) -> Size:
    """Read the head of a tenant's log of events.

    Args:
        url: As the schema's owner.
        tenant_id: A tenant that exists.
    """
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(
            "select id, size from tallystick.logs where tenant_id = $1 and name = 'events'", tenant_id
        )
    finally:
        await connection.close()
    if row is None:
        raise ValueError(f"no tenant {tenant_id}")
    return Size(row["id"], row["size"])


async def check_log(url: str, tenant_id: str, before: Size, acknowledged: int) -> Check:
    """Check that a log has no gap and holds at least what was acknowledged since ``before``.

    It may hold more: at the end of a run the generator leaves without the answers to its last requests.
    """
    connection = await asyncpg.connect(url)
    try:
        # One snapshot: nothing else writes to the log, yet the last requests may still be on their way.
        row = await connection.fetchrow(
            """select log.size, count(event.seq) as events, coalesce(max(event.seq) + 1, 0) as next_seq
                 from tallystick.logs as log left join tallystick.events as event on event.log_id = log.id
                where log.id = $1 group by log.size""",
            before.log_id,
            timeout=600,
        )
    finally:
        await connection.close()
    if row is None:
        raise ValueError(f"no tenant {tenant_id}")
    size, events, next_seq = row["size"], row["events"], row["next_seq"]
    gained = size - before.size
    return Check(
        f"{tenant_id}: count = largest seq + 1 = size, and nothing acknowledged is missing",
        size == events == next_seq and gained >= acknowledged,
        f"count {events:,}, largest seq + 1 {next_seq:,}, size {size:,}; "
        f"acknowledged {acknowledged:,}, stored since {gained:,}",
    )
