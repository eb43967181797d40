"""Requests about exports in the object store: one is asked for, waited for, fetched and deleted."""

from collections.abc import Mapping, Sequence
from typing import Final

from postman.declaring import Request, happy, unhappy, waiting, without_token

_HERE: Final = {"tenant_id": "{{tenant_id}}"}
_NOBODYS: Final = "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11"
_IT: Final = {"export_id": "{{export_id}}"}
_NONE: Final = unhappy(
    "an id that no export of yours has", 404, "not-found", mend="export", path={"export_id": _NOBODYS}, query=_HERE
)
_NO_TOKEN: Final = without_token(path=_IT, query=_HERE)
_SAME: Final = 'pm.expect(answer.id).to.equal(pm.variables.get("export_id"))'


REQUESTS: Final[Mapping[str, Sequence[Request]]] = {
    "start_export": (
        happy(
            "Ask for the events of the request",
            202,
            body={**_HERE, "request_id": "{{trace}}"},
            checks={
                "It is not ready yet": 'pm.expect(answer.state).to.be.oneOf(["queued", "running"])',
                "It says how far it will go": "pm.expect(answer.through_seq)"
                '.to.be.at.least(Number(pm.variables.get("seq")))',
                "Location leads to it": 'pm.expect(pm.response.headers.get("Location")).to.include(answer.id)',
            },
            keeps={"export_id": "answer.id"},
        ),
        unhappy("a format that there is not", 422, "invalid", mend="/format", body={**_HERE, "format": "xml"}),
        unhappy("a tenant that nobody made", 404, "not-found", mend="tenant", body={"tenant_id": "no-such-tenant"}),
        without_token(body=_HERE),
    ),
    "read_export": (
        happy(
            "See that it is ready",
            path=_IT,
            query=_HERE,
            before=waiting("/exports/{{export_id}}"),
            checks={
                "It is that export": _SAME,
                "It succeeded": 'pm.expect(answer.state).to.equal("succeeded")',
                "All three are in it": "pm.expect(answer.events).to.equal(3)",
                "It expires": "pm.expect(Date.parse(answer.expires_at)).to.be.above(Date.now())",
            },
            keeps={"export_sha256": "answer.sha256"},
        ),
        _NONE,
        _NO_TOKEN,
    ),
    "list_exports": (
        happy(
            "List yours",
            query=_HERE,
            checks={
                "It is there": "pm.expect(answer.items.map((each) => each.id))"
                '.to.include(pm.variables.get("export_id"))',
            },
        ),
        unhappy("a page too large", 422, "invalid", mend="?limit", query={**_HERE, "limit": "1001"}),
        without_token(query=_HERE),
    ),
    "fetch_export": (
        happy(
            "Fetch the file",
            media_type="application/x-ndjson",
            path=_IT,
            query=_HERE,
            checks={
                "All three are there": "pm.expect(answer).to.have.lengthOf(3)",
                "The oldest comes first": 'pm.expect(answer[0].id).to.equal(pm.variables.get("event_id"))',
                "It is the one that was told": 'pm.expect(pm.response.headers.get("ETag"))'
                '.to.equal(`"${pm.variables.get("export_sha256")}"`)',
            },
        ),
        _NONE,
        _NO_TOKEN,
    ),
    "delete_export": (
        happy("Delete it", 204, media_type=None, path=_IT, query=_HERE),
        unhappy("what was deleted is gone", 410, "gone", mend="", operation="fetch_export", path=_IT, query=_HERE),
        _NONE,
        _NO_TOKEN,
    ),
}
"""The requests by ``operationId``."""
