"""What a transaction did, and whether it was committed where its connection was lost."""

from dataclasses import dataclass, field

from tallystick.database.outage import as_lost_connection
from tallystick.database.pools import OwnConnection
from tallystick.log.lanes import Append
from tallystick.log.plan import Result


@dataclass(frozen=True, slots=True)
class Probe:
    """One new event of a batch, to ask by whether the batch was committed."""

    log_id: int
    seq: int
    received_ms: int
    leaf_hash: bytes


@dataclass(slots=True)
class Appended:
    """What a transaction did.

    Attributes:
        results: By request; what is not here was set aside.
        set_aside: Requests whose log another process holds: to be tried in a transaction of their own.
        sizes: Of the logs that grew, by id.
        probe: None when nothing new was stored.
    """

    results: dict[Append, Result] = field(default_factory=dict[Append, Result])
    set_aside: list[Append] = field(default_factory=list[Append])
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    probe: Probe | None = None


class CommitLostError(Exception):
    """The connection was lost while it committed: whether the batch is stored is not known yet.

    Attributes:
        appended: What it did if it was committed.
    """

    def __init__(self, appended: Appended) -> None:
        super().__init__("the connection was lost while it committed")
        self.appended = appended


async def was_committed(connection: OwnConnection, probe: Probe) -> bool:
    """Ask by one of its events whether a batch was committed; waits for the lost transaction to end."""
    with as_lost_connection():
        return await connection.fetchval(
            "select tallystick.was_appended($1, $2, to_timestamp($3::numeric / 1000), $4)",
            probe.log_id,
            probe.seq,
            probe.received_ms,
            probe.leaf_hash,
        )
