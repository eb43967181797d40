"""SQL of search. It reads no events: that is the log's business."""

from tallystick.database.pools import Connection


async def tenant_of(connection: Connection, log_id: int) -> str:
    """Whose log it is."""
    tenant_id: str = await connection.fetchval("select tenant_id from tallystick.logs where id = $1", log_id)
    return tenant_id
