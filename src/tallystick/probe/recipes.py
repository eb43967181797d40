"""The recipes: for each operation of the API, how its owner asks for what is planted, and how one's own tenant answers.

From one recipe follow all attempts of an operation: the same request by every role of every other tenant, naming the
owner's tenant, naming both tenants, and naming one's own. To probe a new operation, add an entry to `RECIPES`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final

from tallystick.probe.model import SEALED, Ask, Canary, ask

PREFIX: Final = "/api/v1"
LOGS: Final = f"{PREFIX}/logs"
ACCESS_LOGS: Final = f"{PREFIX}/access-logs"
EXPORTS: Final = f"{PREFIX}/exports"
JOBS: Final = f"{PREFIX}/jobs"
TENANTS: Final = f"{PREFIX}/tenants"


class Inside(Enum):
    """How one's own tenant answers when it is asked for what is somebody else's."""

    ABSENT = auto()
    """As for what never was: the same refusal, or nothing."""
    REFUSED = auto()
    """By any refusal."""
    AFRESH = auto()
    """As ever: the thing is made, or one's own is shown, and nothing of the other's."""
    UNASKED = auto()
    """Not at all: what is asked for belongs to no tenant."""


class Owner(Enum):
    """By whose token the positive control is made."""

    TENANT = auto()
    PLATFORM = auto()
    NOBODY = auto()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an operation is probed.

    Attributes:
        ask: The request for what a canary holds, in a tenant that may be its own or another.
        shows: What the owner's answer must hold; None where its status says it all.
        inside: See `Inside`.
        statuses: Of the owner's answer.
        owner: See `Owner`.
        undo: How to take back what was made, from its id.
        content: What an answer leads to, to be read as well, from its id: whether it is ready, and where it is.
        seeks: The markers that count, where others may be there by right; all of them when None.
        alone: One at a time, since the server has few places for it.
    """

    ask: Callable[[str, Canary], Ask]
    shows: Callable[[Canary], str] | None
    inside: Inside = Inside.ABSENT
    statuses: Sequence[int] = (200,)
    owner: Owner = Owner.TENANT
    undo: Callable[[str, str], Ask] | None = None
    content: Callable[[str, str], tuple[Ask, Ask]] | None = None
    seeks: Callable[[Canary], Collection[str]] | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Streamed:
    """How a stream is probed.

    Attributes:
        path: Of its upgrade.
        grow: The request by which a tenant's owner makes its log grow by something that shows a word.
        seeks: As of a `Recipe`; the word counts in any case.
    """

    path: str
    grow: Callable[[str, Canary, str], Ask]
    seeks: Callable[[Canary], Collection[str]] | None = None


def message_of(canary: Canary) -> str:
    """The marker that every event of a canary shows and no request names."""
    return canary.words["message"]


def append(tenant_id: str, canary: Canary) -> Ask:
    """The request that stores the first event of a canary; sent again, it is answered the same."""
    return ask("POST", LOGS, canary.events(tenant_id)[0], {"Idempotency-Key": canary.key})


def append_many(tenant_id: str, canary: Canary) -> Ask:
    """The request that stores the others."""
    return ask("POST", f"{LOGS}/bulk", canary.events(tenant_id)[1:], {"Idempotency-Key": f"{canary.key}-bulk"})


def start_export(tenant_id: str, canary: Canary) -> Ask:
    """The request for an export of all that is as new as a canary."""
    return ask("POST", EXPORTS, {"tenant_id": tenant_id, "from": canary.since, "compression": "none"})


def start_job(tenant_id: str, _: Canary) -> Ask:
    """The request for a job of a tenant's events."""
    return ask("POST", JOBS, {"kind": "rebuild_index", "log": "events"}, tenant_id=tenant_id)


def first_page(path: str, tenant_id: str, **query: str) -> Ask:
    """The request whose answer has a cursor that goes on."""
    return ask("GET", path, tenant_id=tenant_id, limit="1", **query)


def prepare(tenant_id: str, canary: Canary, *, sealing: bool) -> Ask:
    """The request that gives a tenant a name with a marker, and on demand has one value of its events encrypted."""
    change: dict[str, Any] = {"name": f"Canary {canary.words['tenant']}"}
    if sealing:
        change["settings"] = {"masking": {"names": {SEALED: "encrypt"}}}
    return ask("PATCH", f"{TENANTS}/{tenant_id}", change)


def reveal(tenant_id: str, canary: Canary) -> Ask:
    """The request that shows what is encrypted in the first event."""
    told = {"reason": "the isolation probe", "fields": [f"/metadata/{SEALED}"]}
    return ask("POST", f"{LOGS}/{canary.event_ids[0]}/reveal", told, tenant_id=tenant_id)


def delete_export(tenant_id: str, export_id: str) -> Ask:
    """The request that takes an export back."""
    return ask("DELETE", f"{EXPORTS}/{export_id}", tenant_id=tenant_id)


def export_content(tenant_id: str, export_id: str) -> tuple[Ask, Ask]:
    """How to see whether an export is ready, and to fetch it."""
    path = f"{EXPORTS}/{export_id}"
    return ask("GET", path, tenant_id=tenant_id), ask("GET", f"{path}/content", tenant_id=tenant_id)


def _going_on(path: str, cursor: str, **query: str) -> Callable[[str, Canary], Ask]:
    """The second page of what `first_page` began, by the cursor that was planted."""
    return lambda tenant, canary: ask("GET", path, tenant_id=tenant, limit="1", cursor=canary.cursors[cursor], **query)


def _filtered(path: str, field: str, **query: str) -> Callable[[str, Canary], Ask]:
    return lambda tenant, canary: ask("GET", path, tenant_id=tenant, **{field: canary.words[field]}, **query)


def _since(tenant: str, canary: Canary) -> Ask:
    return ask("GET", LOGS, tenant_id=tenant, order="oldest", limit="1000", **{"from": canary.since})


def _search(tenant: str, canary: Canary) -> dict[str, Any]:
    return {"tenant_id": tenant, "q": canary.words["metadata"], "highlight": True}


def question_of(canary: Canary) -> str:
    """The marker that the owner alone ever asked for, and that its access log shows therefore."""
    return canary.words["question"]


def _question(canary: Canary) -> Collection[str]:
    """What counts in an access log: everything else the attackers sent themselves, so it is in their own by right."""
    return (question_of(canary),)


def ask_question(tenant_id: str, canary: Canary, word: str) -> Ask:
    """The request for events that there are none of: in the access log it stands with what was asked for."""
    del canary
    return ask("GET", LOGS, tenant_id=tenant_id, action=word)


def _accessed(path: str, **query: str) -> Recipe:
    """How what an access log answers with is probed; filtered by nothing of the canary's."""
    return Recipe(
        lambda tenant, canary: ask("GET", path, tenant_id=tenant, **{"from": canary.since}, **query),
        question_of,
        Inside.AFRESH,
        seeks=_question,
        alone="export" in path,
    )


def _export_id(canary: Canary) -> str:
    return canary.export_id


def _name_of(canary: Canary) -> str:
    return canary.words["tenant"]


def _job_id(canary: Canary) -> str:
    return canary.job_id


def _public(path: str) -> Recipe:
    return Recipe(lambda _, __: ask("GET", path), None, Inside.UNASKED, owner=Owner.NOBODY)


RECIPES: Final[Mapping[str, Sequence[Recipe | Streamed]]] = MappingProxyType(
    {
        "append_event": [Recipe(append, lambda canary: canary.event_ids[0], Inside.AFRESH, (201,))],
        "append_events": [Recipe(append_many, lambda canary: canary.event_ids[1], Inside.AFRESH, (201,))],
        "list_events": [
            *(Recipe(_filtered(LOGS, field), message_of) for field in ("action", "session_id", "user_agent")),
            Recipe(_filtered(LOGS, "resource_id", order="seq"), message_of),
            Recipe(lambda tenant, canary: ask("GET", LOGS, tenant_id=tenant, q=canary.words["before"]), message_of),
            Recipe(_going_on(LOGS, "events"), message_of, Inside.REFUSED),
            Recipe(_since, message_of, Inside.AFRESH),
        ],
        "search_events": [
            Recipe(lambda tenant, canary: ask("POST", f"{LOGS}/search", _search(tenant, canary)), message_of),
            Recipe(
                lambda tenant, canary: ask(
                    "POST", f"{LOGS}/search", {"tenant_id": tenant, "limit": 1, "cursor": canary.cursors["events"]}
                ),
                message_of,
                Inside.REFUSED,
            ),
        ],
        "read_event": [
            Recipe(lambda tenant, canary: ask("GET", f"{LOGS}/{canary.event_ids[0]}", tenant_id=tenant), message_of)
        ],
        "reveal_event": [Recipe(reveal, lambda canary: canary.words["sealed"])],
        # What the caller sends comes back; what the tenant's own settings made of it must not be another's.
        "preview_masking": [
            Recipe(
                lambda tenant, canary: ask("POST", f"{LOGS}/mask", {"event": canary.events(tenant)[0]}),
                lambda _: SEALED,
                Inside.AFRESH,
            )
        ],
        # It counts and shows, and removes nothing: canaries are too young for that anyway.
        "clean_up": [
            Recipe(
                lambda tenant, _: ask(
                    "DELETE",
                    f"{LOGS}/cleanup",
                    tenant_id=tenant,
                    before="2020-01-01T00:00:00Z",
                    reason="the isolation probe",
                    dry_run="true",
                ),
                lambda _: '"events"',
                Inside.AFRESH,
            )
        ],
        "export_events": [Recipe(_filtered(f"{LOGS}/export", "action", format="ndjson"), message_of, alone=True)],
        "read_stats": [
            Recipe(_filtered(f"{LOGS}/stats", "session_id", by="action"), lambda canary: canary.words["action"])
        ],
        "stream_events": [
            Streamed(
                f"{LOGS}/stream",
                lambda tenant, canary, word: ask(
                    "POST", LOGS, {**canary.events(tenant)[0], "event_id": word, "message": word}
                ),
            )
        ],
        "correlate_events": [
            Recipe(
                lambda tenant, canary: ask("GET", f"{LOGS}/correlated/{canary.words['request_id']}", tenant_id=tenant),
                message_of,
            )
        ],
        "read_history": [
            Recipe(
                lambda tenant, canary: ask(
                    "GET",
                    f"{PREFIX}/resources/{canary.words['resource_type']}/{canary.words['resource_id']}/history",
                    tenant_id=tenant,
                ),
                message_of,
            )
        ],
        # Nobody but the owner may ever ask for the question: whoever does has it in their own access log by right.
        "list_access_events": [
            _accessed(ACCESS_LOGS, order="oldest", limit="1000"),
            Recipe(_going_on(ACCESS_LOGS, "access"), None, Inside.REFUSED, seeks=_question),
        ],
        "search_access_events": [
            Recipe(
                lambda tenant, canary: ask(
                    "POST", f"{ACCESS_LOGS}/search", {"tenant_id": tenant, "from": canary.since, "order": "oldest"}
                ),
                question_of,
                Inside.AFRESH,
                seeks=_question,
            )
        ],
        "read_access_event": [
            Recipe(
                lambda tenant, canary: ask("GET", f"{ACCESS_LOGS}/{canary.access_id}", tenant_id=tenant),
                question_of,
                seeks=_question,
            )
        ],
        "export_access_events": [_accessed(f"{ACCESS_LOGS}/export", format="ndjson")],
        "stream_access_events": [Streamed(f"{ACCESS_LOGS}/stream", ask_question, _question)],
        "start_export": [
            Recipe(start_export, message_of, Inside.AFRESH, (202,), undo=delete_export, content=export_content)
        ],
        "list_exports": [
            Recipe(lambda tenant, _: ask("GET", EXPORTS, tenant_id=tenant), _export_id, Inside.AFRESH),
            Recipe(_going_on(EXPORTS, "exports"), None, Inside.REFUSED),
        ],
        "read_export": [Recipe(lambda tenant, canary: export_content(tenant, canary.export_id)[0], _export_id)],
        "fetch_export": [Recipe(lambda tenant, canary: export_content(tenant, canary.export_id)[1], message_of)],
        "delete_export": [Recipe(lambda tenant, canary: delete_export(tenant, canary.spare_id), None, statuses=(204,))],
        "list_jobs": [
            Recipe(lambda tenant, _: ask("GET", JOBS, tenant_id=tenant), _job_id, Inside.AFRESH),
            Recipe(_going_on(JOBS, "jobs"), None, Inside.REFUSED),
        ],
        "run_job": [Recipe(start_job, lambda _: "rebuild_index", Inside.AFRESH, (202,))],
        "read_job": [Recipe(lambda tenant, canary: ask("GET", f"{JOBS}/{canary.job_id}", tenant_id=tenant), _job_id)],
        "cancel_job": [
            Recipe(
                lambda tenant, canary: ask("POST", f"{JOBS}/{canary.job_id}/cancel", tenant_id=tenant),
                _job_id,
                statuses=(202,),
            )
        ],
        "read_tenant": [
            Recipe(lambda tenant, _: ask("GET", f"{TENANTS}/{tenant}"), _name_of, Inside.AFRESH),
        ],
        "update_tenant": [
            # It changes nothing, and is answered with all that there is.
            Recipe(lambda tenant, _: ask("PATCH", f"{TENANTS}/{tenant}", {"settings": {}}), _name_of, Inside.AFRESH),
        ],
        # It tells what would be removed, and restores what is not being removed: both change nothing.
        "remove_tenant": [
            Recipe(
                lambda tenant, _: ask("DELETE", f"{TENANTS}/{tenant}", reason="the isolation probe", dry_run="true"),
                lambda _: '"removal_at"',
                Inside.REFUSED,
                owner=Owner.PLATFORM,
            )
        ],
        "restore_tenant": [
            Recipe(
                lambda tenant, _: ask("POST", f"{TENANTS}/{tenant}/restore"),
                _name_of,
                Inside.REFUSED,
                owner=Owner.PLATFORM,
            )
        ],
        "list_tenants": [
            Recipe(lambda _, __: ask("GET", TENANTS), lambda _: '"items"', Inside.UNASKED, owner=Owner.PLATFORM)
        ],
        "create_tenant": [
            Recipe(
                lambda _, canary: ask("POST", TENANTS, {"id": canary.tenant_id, "name": "Canary"}),
                None,
                Inside.UNASKED,
                (201, 409),
                Owner.PLATFORM,
            )
        ],
        "healthz": [_public("/healthz")],
        "readyz": [_public("/readyz")],
        "metrics": [_public("/metrics")],
    }
)
"""How each operation is probed, by its ``operationId``; streams by the names that they have in `auth.operations`."""
