"""Requests that read the audit of the audit: who looked at what."""

from collections.abc import Mapping, Sequence
from typing import Final

from postman.declaring import Request, happy, unhappy, without_token

_HERE: Final = {"tenant_id": "{{tenant_id}}"}
_READINGS: Final = {**_HERE, "action": "logs.read"}
_ALL_READ: Final = {
    "Somebody read an event": "pm.expect(answer.items).to.not.be.empty",
    "Nothing else is told": "pm.expect(answer.items.map((event) => event.action))"
    '.to.satisfy((actions) => actions.every((action) => action === "logs.read"))',
}

REQUESTS: Final[Mapping[str, Sequence[Request]]] = {
    "list_access_events": (
        happy(
            "See who read single events",
            query=_READINGS,
            checks={
                **_ALL_READ,
                "It is known what was asked": "pm.expect(answer.items[0].metadata.phase)"
                '.to.be.oneOf(["intent", "outcome"])',
            },
            keeps={"access_event_id": "answer.items[0].id"},
        ),
        unhappy("a page too large", 422, "invalid", mend="?limit", query={**_HERE, "limit": "1001"}),
        without_token(query=_HERE),
    ),
    "search_access_events": (
        happy("Find readings by words", body=_READINGS, checks=_ALL_READ),
        unhappy("a member that it does not take", 422, "invalid", mend="/colour", body={**_HERE, "colour": "red"}),
        without_token(body=_HERE),
    ),
    "export_access_events": (
        happy("Export who read single events", media_type="application/x-ndjson", query=_READINGS),
        unhappy("a format that there is not", 422, "invalid", mend="?format", query={**_HERE, "format": "xml"}),
        without_token(query=_HERE),
    ),
    "read_access_event": (
        happy(
            "Read one of them",
            path={"event_id": "{{access_event_id}}"},
            query=_HERE,
            checks={"It is that one": 'pm.expect(answer.id).to.equal(pm.variables.get("access_event_id"))'},
        ),
        unhappy(
            "an event of the other log",
            404,
            "not-found",
            mend="event",
            path={"event_id": "{{event_id}}"},
            query=_HERE,
        ),
        without_token(path={"event_id": "{{access_event_id}}"}, query=_HERE),
    ),
}
"""The requests by ``operationId``."""
