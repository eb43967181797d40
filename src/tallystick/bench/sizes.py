"""What an event takes: in the hot store, in the search index, and as JSON."""

from pathlib import Path
from typing import Final

import asyncpg

from tallystick.bench.instance import Instance
from tallystick.bench.report import Figure

_STORE: Final = """
select (select sum(size) from tallystick.logs)::bigint as events,
       (select sum(pg_table_size(relid)) from pg_partition_tree('tallystick.events'))::bigint as rows,
       (select sum(pg_indexes_size(relid)) from pg_partition_tree('tallystick.events') where isleaf)::bigint as indexes,
       (select avg(octet_length(body)) from tallystick.events tablesample system (1))::float8 as body"""

ENGINES: Final = {"tantivy": "Tantivy", "opensearch": "OpenSearch"}
"""How the search engines are called, by what `up --search` takes."""

_FOLDERS: Final = {"tantivy": "search", "opensearch": "opensearch/data"}
"""Where the index of each lies in a state directory."""


async def bytes_per_event(instance: Instance, engine: str) -> Figure:
    """Measure where the events lie. The search index must hold them all."""
    connection = await asyncpg.connect(instance.postgres().url)
    try:
        row = await connection.fetchrow(_STORE, timeout=600)
    finally:
        await connection.close()
    if row is None or not row["events"]:
        raise ValueError("there are no events")
    events = row["events"]
    facts = {
        "events": events,
        "json": row["body"],
        "hot_store": (row["rows"] + row["indexes"]) / events,
        "of_it_indexes": row["indexes"] / events,
        engine: _folder_bytes(instance.home / _FOLDERS[engine]) / events,
    }
    return Figure("bytes an event", 0, 0, facts=facts)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
