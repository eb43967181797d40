"""Requests about jobs: one is run to its end, another is cancelled."""

from collections.abc import Mapping, Sequence
from typing import Final

from postman.declaring import Example, Request, happy, unhappy, waiting, without_token

_HERE: Final = {"tenant_id": "{{tenant_id}}"}
_NOBODYS: Final = "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11"
_NONE: Final = unhappy("an id that no job has", 404, "not-found", mend="job", path={"job_id": _NOBODYS}, query=_HERE)
_IS_IT: Final = {"It is that job": 'pm.expect(answer.id).to.equal(pm.variables.get("job_id"))'}

REQUESTS: Final[Mapping[str, Sequence[Request]]] = {
    "run_job": (
        happy(
            "Start a job",
            202,
            query=_HERE,
            body=Example("of the access log"),
            checks={
                "It is of that kind": 'pm.expect(answer.kind).to.equal("rebuild_index")',
                "It has no end yet": 'pm.expect(answer.state).to.be.oneOf(["queued", "running"])',
                "Location leads to it": 'pm.expect(pm.response.headers.get("Location")).to.include(answer.id)',
            },
            keeps={"job_id": "answer.id"},
        ),
        unhappy("a kind that there is not", 422, "invalid", mend="/kind", query=_HERE, body={"kind": "paint"}),
        unhappy(
            "a tenant that nobody made",
            404,
            "not-found",
            mend="tenant",
            query={"tenant_id": "no-such-tenant"},
            body=Example("of the access log"),
        ),
        without_token(query=_HERE, body=Example("of the access log")),
    ),
    "read_job": (
        happy(
            "See how it ended",
            path={"job_id": "{{job_id}}"},
            query=_HERE,
            before=waiting("/jobs/{{job_id}}"),
            checks={
                **_IS_IT,
                "It succeeded": 'pm.expect(answer.state).to.equal("succeeded")',
                "All of it is done": "pm.expect(answer.progress.fraction).to.equal(1)",
                "A worker began it": "pm.expect(answer.attempts).to.be.at.least(1)",
            },
        ),
        _NONE,
        without_token(path={"job_id": "{{job_id}}"}, query=_HERE),
    ),
    "list_jobs": (
        happy(
            "List what succeeded",
            query={**_HERE, "state": "succeeded", "kind": "rebuild_index"},
            checks={
                "It is there": 'pm.expect(answer.items.map((job) => job.id)).to.include(pm.variables.get("job_id"))',
            },
        ),
        unhappy("a state that there is not", 422, "invalid", mend="?state", query={**_HERE, "state": "sleeping"}),
        without_token(query=_HERE),
    ),
    "cancel_job": (
        happy(
            "Start another",
            202,
            operation="run_job",
            query=_HERE,
            body=Example("rebuild_index"),
            keeps={"job_id": "answer.id"},
        ),
        happy(
            "Cancel it",
            202,
            path={"job_id": "{{job_id}}"},
            query=_HERE,
            checks={
                **_IS_IT,
                "It will end, or has ended": "pm.expect(answer.cancel_requested || answer.finished_at !== null)"
                ".to.be.true",
            },
        ),
        happy(
            "See how it ended",
            operation="read_job",
            path={"job_id": "{{job_id}}"},
            query=_HERE,
            before=waiting("/jobs/{{job_id}}"),
            checks={
                "It is cancelled, or was done": 'pm.expect(answer.state).to.be.oneOf(["cancelled", "succeeded"])',
                "It has an end": "pm.expect(answer.finished_at).to.be.a('string')",
            },
        ),
        _NONE,
        without_token(path={"job_id": "{{job_id}}"}, query=_HERE),
    ),
}
"""The requests by ``operationId``."""
