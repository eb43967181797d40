"""SQL of search. It reads no events: that is the log's business."""

from tallystick.database.pools import Connection


async def tenant_of(connection: Connection, log_id: int) -> str:
    """Whose log it is."""
    tenant_id: str = await connection.fetchval("select tenant_id from tallystick.logs where id = $1", log_id)
    return tenant_id


async def removed_of(connection: Connection, log_id: int) -> list[tuple[int, int]]:
    """First and last seq of each range that was removed of a log, ascending."""
    records = await connection.fetch(
        "select lower(part), upper(part) - 1"
        "  from (select unnest(range_agg(each)) as part from tallystick.removed cross join lateral unnest(seqs) as each"
        "         where log_id = $1) as joined order by 1",
        log_id,
    )
    return [(record[0], record[1]) for record in records]
