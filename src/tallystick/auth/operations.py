"""The registry of operations: what a route or stream does, the permission it needs, and how the access log tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from tallystick.auth.permissions import Permission


class Realm(StrEnum):
    """Where an operation takes place."""

    PUBLIC = "public"
    TENANT = "tenant"
    PLATFORM = "platform"


LogName = Literal["events", "access"]
"""A log of a tenant by name."""


class Recorded(StrEnum):
    """How an operation is recorded in the access log."""

    READ = "read"
    """An intent, durable before the answer leaves; the reading goes on meanwhile."""

    PAIR = "pair"
    """Likewise, and an outcome after the answer: how many events it held, and whether it came to its end."""

    ACT = "act"
    """An intent that is durable before anything is done, and an outcome that says what was done."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What the access log says of an operation. The words are stable: people search for them.

    Attributes:
        action: The `action` of its events.
        resource_type: The `resource_type` of its events.
        how: What is recorded, and when.
        named_by: The path parameter that is the `resource_id`, or None.
        platform_too: What a platform admin does by it in a tenant is recorded in the platform's access log as well.
    """

    action: str
    resource_type: str
    how: Recorded
    named_by: str | None = None
    platform_too: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked of the API.

    Attributes:
        name: The OpenAPI ``operationId``.
        permission: What it needs; None for public ones alone.
        realm: Public, within one tenant, or over all of them.
        recording: What the access log says of it; None for public ones, and for appends, whose events say who wrote
            them. An answer to anything else never leaves unrecorded.
        on_suspended: A platform admin may do it to a suspended tenant; nobody else may do anything there.
        on_removed: Likewise to one that was removed, of which little is left.
        log: Which log of the tenant it is about.
    """

    name: str
    permission: Permission | None
    realm: Realm
    recording: Recording | None
    on_suspended: bool = False
    on_removed: bool = False
    log: LogName = "events"


PUBLIC: Final = Operation("public", None, Realm.PUBLIC, None)
"""What needs no token: health, metrics, the OpenAPI document and its pages."""

APPEND_EVENT: Final = Operation("append_event", Permission.LOGS_WRITE, Realm.TENANT, None)
APPEND_EVENTS: Final = Operation("append_events", Permission.LOGS_WRITE, Realm.TENANT, None)
PREVIEW_MASKING: Final = Operation(
    "preview_masking", Permission.LOGS_WRITE, Realm.TENANT, Recording("masking.preview", "log", Recorded.READ)
)
LIST_EVENTS: Final = Operation(
    "list_events", Permission.LOGS_READ, Realm.TENANT, Recording("logs.list", "log", Recorded.PAIR)
)
SEARCH_EVENTS: Final = Operation(
    "search_events", Permission.LOGS_READ, Realm.TENANT, Recording("logs.search", "log", Recorded.PAIR)
)
READ_EVENT: Final = Operation(
    "read_event", Permission.LOGS_READ, Realm.TENANT, Recording("logs.read", "event", Recorded.READ, "event_id")
)
EXPORT_EVENTS: Final = Operation(
    "export_events", Permission.LOGS_READ, Realm.TENANT, Recording("logs.export", "log", Recorded.PAIR)
)
READ_STATS: Final = Operation(
    "read_stats", Permission.LOGS_READ, Realm.TENANT, Recording("logs.stats", "log", Recorded.READ)
)
START_EXPORT: Final = Operation(
    "start_export", Permission.LOGS_READ, Realm.TENANT, Recording("exports.start", "export", Recorded.ACT)
)
LIST_EXPORTS: Final = Operation(
    "list_exports",
    Permission.LOGS_READ,
    Realm.TENANT,
    Recording("exports.list", "export", Recorded.READ),
    on_suspended=True,
)
READ_EXPORT: Final = Operation(
    "read_export",
    Permission.LOGS_READ,
    Realm.TENANT,
    Recording("exports.read", "export", Recorded.READ, "export_id"),
    on_suspended=True,
)
FETCH_EXPORT: Final = Operation(
    "fetch_export",
    Permission.LOGS_READ,
    Realm.TENANT,
    Recording("exports.fetch", "export", Recorded.PAIR, "export_id"),
    on_suspended=True,
)
DELETE_EXPORT: Final = Operation(
    "delete_export",
    Permission.LOGS_READ,
    Realm.TENANT,
    Recording("exports.delete", "export", Recorded.ACT, "export_id"),
)
STREAM_EVENTS: Final = Operation(
    "stream_events", Permission.LOGS_READ, Realm.TENANT, Recording("logs.stream", "log", Recorded.PAIR)
)
CORRELATE_EVENTS: Final = Operation(
    "correlate_events",
    Permission.LOGS_READ,
    Realm.TENANT,
    Recording("logs.correlate", "correlation", Recorded.PAIR, "correlation_id"),
)
READ_HISTORY: Final = Operation(
    "read_history",
    Permission.LOGS_READ,
    Realm.TENANT,
    Recording("logs.history", "resource", Recorded.PAIR, "resource_id"),
)
CLEAN_UP: Final = Operation(
    "clean_up", Permission.LOGS_DELETE, Realm.TENANT, Recording("logs.clean_up", "log", Recorded.ACT)
)
LIST_ACCESS_EVENTS: Final = Operation(
    "list_access_events",
    Permission.ACCESS_READ,
    Realm.TENANT,
    Recording("access_logs.list", "log", Recorded.READ),
    log="access",
)
SEARCH_ACCESS_EVENTS: Final = Operation(
    "search_access_events",
    Permission.ACCESS_READ,
    Realm.TENANT,
    Recording("access_logs.search", "log", Recorded.READ),
    log="access",
)
READ_ACCESS_EVENT: Final = Operation(
    "read_access_event",
    Permission.ACCESS_READ,
    Realm.TENANT,
    Recording("access_logs.read", "event", Recorded.READ, "event_id"),
    log="access",
)
EXPORT_ACCESS_EVENTS: Final = Operation(
    "export_access_events",
    Permission.ACCESS_READ,
    Realm.TENANT,
    Recording("access_logs.export", "log", Recorded.PAIR),
    log="access",
)
STREAM_ACCESS_EVENTS: Final = Operation(
    "stream_access_events",
    Permission.ACCESS_READ,
    Realm.TENANT,
    Recording("access_logs.stream", "log", Recorded.PAIR),
    log="access",
)
REVEAL_EVENT: Final = Operation(
    "reveal_event",
    Permission.LOGS_REVEAL,
    Realm.TENANT,
    Recording("logs.reveal", "event", Recorded.ACT, "event_id", platform_too=True),
)
LIST_TENANTS: Final = Operation(
    "list_tenants", Permission.TENANTS_LIST, Realm.PLATFORM, Recording("tenants.list", "tenant", Recorded.READ)
)
CREATE_TENANT: Final = Operation(
    "create_tenant", Permission.TENANTS_CREATE, Realm.PLATFORM, Recording("tenants.create", "tenant", Recorded.ACT)
)
READ_TENANT: Final = Operation(
    "read_tenant",
    Permission.TENANTS_READ,
    Realm.TENANT,
    Recording("tenants.read", "tenant", Recorded.READ, "tenant_id"),
    on_suspended=True,
)
UPDATE_TENANT: Final = Operation(
    "update_tenant",
    Permission.TENANTS_UPDATE,
    Realm.TENANT,
    Recording("tenants.update", "tenant", Recorded.ACT, "tenant_id", platform_too=True),
    on_suspended=True,
)
REMOVE_TENANT: Final = Operation(
    "remove_tenant",
    Permission.TENANTS_REMOVE,
    Realm.TENANT,
    Recording("tenants.remove", "tenant", Recorded.ACT, "tenant_id", platform_too=True),
    on_suspended=True,
)
RESTORE_TENANT: Final = Operation(
    "restore_tenant",
    Permission.TENANTS_REMOVE,
    Realm.TENANT,
    Recording("tenants.restore", "tenant", Recorded.ACT, "tenant_id", platform_too=True),
    on_suspended=True,
)
LIST_JOBS: Final = Operation(
    "list_jobs",
    Permission.JOBS_READ,
    Realm.TENANT,
    Recording("jobs.list", "job", Recorded.READ),
    on_suspended=True,
    on_removed=True,
)
RUN_JOB: Final = Operation("run_job", Permission.JOBS_RUN, Realm.TENANT, Recording("jobs.run", "job", Recorded.ACT))
READ_JOB: Final = Operation(
    "read_job",
    Permission.JOBS_READ,
    Realm.TENANT,
    Recording("jobs.read", "job", Recorded.READ, "job_id"),
    on_suspended=True,
    on_removed=True,
)
CANCEL_JOB: Final = Operation(
    "cancel_job", Permission.JOBS_RUN, Realm.TENANT, Recording("jobs.cancel", "job", Recorded.ACT, "job_id")
)

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            APPEND_EVENT,
            APPEND_EVENTS,
            PREVIEW_MASKING,
            LIST_EVENTS,
            SEARCH_EVENTS,
            READ_EVENT,
            EXPORT_EVENTS,
            READ_STATS,
            START_EXPORT,
            LIST_EXPORTS,
            READ_EXPORT,
            FETCH_EXPORT,
            DELETE_EXPORT,
            STREAM_EVENTS,
            CORRELATE_EVENTS,
            READ_HISTORY,
            CLEAN_UP,
            LIST_ACCESS_EVENTS,
            SEARCH_ACCESS_EVENTS,
            READ_ACCESS_EVENT,
            EXPORT_ACCESS_EVENTS,
            STREAM_ACCESS_EVENTS,
            REVEAL_EVENT,
            LIST_TENANTS,
            CREATE_TENANT,
            READ_TENANT,
            UPDATE_TENANT,
            REMOVE_TENANT,
            RESTORE_TENANT,
            LIST_JOBS,
            RUN_JOB,
            READ_JOB,
            CANCEL_JOB,
        )
    }
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The operations that read one of a tenant's logs, and the path below which its routes lie.

    Attributes:
        path: `/logs` or `/access-logs`.
        tag: Under which OpenAPI lists them.
    """

    path: str
    tag: str
    list: Operation
    search: Operation
    read: Operation
    export: Operation
    stream: Operation


EVENTS: Final = Reading("/logs", "logs", LIST_EVENTS, SEARCH_EVENTS, READ_EVENT, EXPORT_EVENTS, STREAM_EVENTS)
ACCESS_EVENTS: Final = Reading(
    "/access-logs",
    "access logs",
    LIST_ACCESS_EVENTS,
    SEARCH_ACCESS_EVENTS,
    READ_ACCESS_EVENT,
    EXPORT_ACCESS_EVENTS,
    STREAM_ACCESS_EVENTS,
)
READINGS: Final[Mapping[LogName, Reading]] = MappingProxyType({"events": EVENTS, "access": ACCESS_EVENTS})
