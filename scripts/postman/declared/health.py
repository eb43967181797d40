"""Requests of those who watch a process."""

from collections.abc import Mapping, Sequence
from typing import Final

from postman.declaring import Request, happy, unhappy


def _refused() -> Request:
    allow = 'pm.expect(pm.response.headers.get("Allow")).to.include("GET")'
    return unhappy(
        "another method",
        405,
        "method-not-allowed",
        mend="GET",
        method="DELETE",
        token=False,
        checks={"It says what is allowed": allow},
    )


REQUESTS: Final[Mapping[str, Sequence[Request]]] = {
    "healthz": (
        happy(
            "Is the process alive?",
            token=False,
            checks={"It is": 'pm.expect(answer.status).to.equal("alive")'},
        ),
        _refused(),
    ),
    "readyz": (
        happy(
            "May it be sent requests?",
            token=False,
            checks={
                "It is ready": 'pm.expect(answer.status).to.equal("ready")',
                "Every check says so": "pm.expect(answer.checks.filter((check) => !check.ok)).to.be.empty",
            },
        ),
        _refused(),
    ),
    "metrics": (
        happy(
            "What has it done?",
            media_type="text/plain",
            token=False,
            checks={
                "It counts the events it stored": "pm.expect(answer).to.match(/^tallystick_appended_events_total /m)",
            },
        ),
        _refused(),
    ),
}
"""The requests by ``operationId``."""
