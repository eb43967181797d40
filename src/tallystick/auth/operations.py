"""The registry of operations: whatever a route or stream does is declared here, with the permission it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tallystick.auth.permissions import Permission


class Realm(StrEnum):
    """Where an operation takes place."""

    PUBLIC = "public"
    TENANT = "tenant"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked of the API.

    Attributes:
        name: The OpenAPI ``operationId``.
        permission: What it needs; None for public ones alone.
        realm: Public, within one tenant, or over all of them.
        on_suspended: A platform admin may do it to a suspended tenant; nobody else may do anything there.
    """

    name: str
    permission: Permission | None
    realm: Realm
    on_suspended: bool = False


PUBLIC: Final = Operation("public", None, Realm.PUBLIC)
"""What needs no token: health, metrics, the OpenAPI document and its pages."""

APPEND_EVENT: Final = Operation("append_event", Permission.LOGS_WRITE, Realm.TENANT)
APPEND_EVENTS: Final = Operation("append_events", Permission.LOGS_WRITE, Realm.TENANT)
LIST_EVENTS: Final = Operation("list_events", Permission.LOGS_READ, Realm.TENANT)
SEARCH_EVENTS: Final = Operation("search_events", Permission.LOGS_READ, Realm.TENANT)
READ_EVENT: Final = Operation("read_event", Permission.LOGS_READ, Realm.TENANT)
EXPORT_EVENTS: Final = Operation("export_events", Permission.LOGS_READ, Realm.TENANT)
CORRELATE_EVENTS: Final = Operation("correlate_events", Permission.LOGS_READ, Realm.TENANT)
READ_HISTORY: Final = Operation("read_history", Permission.LOGS_READ, Realm.TENANT)
LIST_TENANTS: Final = Operation("list_tenants", Permission.TENANTS_LIST, Realm.PLATFORM)
CREATE_TENANT: Final = Operation("create_tenant", Permission.TENANTS_CREATE, Realm.PLATFORM)
READ_TENANT: Final = Operation("read_tenant", Permission.TENANTS_READ, Realm.TENANT, on_suspended=True)
UPDATE_TENANT: Final = Operation("update_tenant", Permission.TENANTS_UPDATE, Realm.TENANT, on_suspended=True)
LIST_JOBS: Final = Operation("list_jobs", Permission.JOBS_READ, Realm.TENANT)
RUN_JOB: Final = Operation("run_job", Permission.JOBS_RUN, Realm.TENANT)
READ_JOB: Final = Operation("read_job", Permission.JOBS_READ, Realm.TENANT)
CANCEL_JOB: Final = Operation("cancel_job", Permission.JOBS_RUN, Realm.TENANT)

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            APPEND_EVENT,
            APPEND_EVENTS,
            LIST_EVENTS,
            SEARCH_EVENTS,
            READ_EVENT,
            EXPORT_EVENTS,
            CORRELATE_EVENTS,
            READ_HISTORY,
            LIST_TENANTS,
            CREATE_TENANT,
            READ_TENANT,
            UPDATE_TENANT,
            LIST_JOBS,
            RUN_JOB,
            READ_JOB,
            CANCEL_JOB,
        )
    }
)
