"""Settings of what follows the log: the search index and the queue."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from tallystick.settings.group import Group, Seconds


class SearchSettings(Group):
    """The search index, made of the log by the worker."""

    engine: Literal["tantivy", "opensearch"] = Field(
        default="tantivy", description="Tantivy in the state directory, or an OpenSearch cluster."
    )
    url: str | None = Field(default=None, description="URL of the OpenSearch cluster.")
    user: str | None = Field(default=None, description="User of the OpenSearch cluster, where it asks for one.")
    password: SecretStr | None = Field(default=None, description="That user's password.")
    password_file: Path | None = Field(default=None, description="File with that user's password, in place of it.")
    ca_file: Path | None = Field(
        default=None, description="File of the certificates that vouch for the cluster; the system's when absent."
    )
    prefix: str = Field(
        default="tallystick",
        pattern="^[a-z0-9][a-z0-9_]{0,62}$",
        description="Names of our indices, aliases and template in the cluster begin so.",
    )
    connections: int = Field(default=16, ge=1, le=1_000, description="Most connections a process has to the cluster.")
    timeout: Seconds = Field(default=10, description="Seconds that a search in the cluster may take; beyond it, 503.")
    shared_logs: int = Field(
        default=100, ge=1, description="Logs whose events begin in one index of the cluster; later logs take the next."
    )
    shared_events: int = Field(
        default=2_000_000,
        ge=1,
        description="Events of a log in such an index, after which its next ones go to an index of its own.",
    )
    index_events: int = Field(
        default=20_000_000, ge=1, description="Events in an index of its own, after which a log begins another."
    )
    tail_events: int = Field(
        default=20_000,
        ge=1,
        description="Most events behind the index that a search looks at itself; beyond it, `complete` is false.",
    )
    commit_events: int = Field(
        default=2_500, ge=1, description="Events of a log after which they are committed to its index at once."
    )
    commit_seconds: Seconds = Field(default=1, description="Seconds after which fewer are committed to it, too.")
    slow_events: int = Field(
        default=100, ge=0, description="Fewer of a log that was committed a moment ago wait for `slow_seconds`."
    )
    slow_seconds: Seconds = Field(default=5, description="Seconds between two commits of a log that grows so slowly.")
    roll_events: int = Field(
        default=1_120_000, ge=1_000, description="Events after which a log's index in Tantivy begins a new roll."
    )
    open_indexes: int = Field(
        default=64, ge=1, description="Most logs whose Tantivy index a process keeps open; the least used is closed."
    )


class QueueSettings(Group):
    """How the worker learns that there is work. Messages hold ids only."""

    kind: Literal["embedded", "sqs"] = Field(
        default="embedded", description="Look into the database, or two FIFO queues of Amazon SQS."
    )
    region: str = Field(default="us-east-1", description="AWS region of the queues.")
    endpoint: str | None = Field(
        default=None, description="URL of another service that speaks SQS; that of the region when absent."
    )
    prefix: str = Field(
        default="tallystick",
        description="The queues are `<prefix>-wake-ups.fifo` and `<prefix>-jobs.fifo`, their dead-letter queues"
        " `…-dead.fifo`. Credentials are found as AWS's own tools find them.",
    )
    wake_interval: Seconds = Field(default=0.25, description="Seconds between two wake-ups of one log at least.")
    sweep_interval: Seconds = Field(
        default=30, description="Seconds between two looks at what lost messages would have said."
    )
