"""Requests that append events, and read one back."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from postman.declaring import Example, Request, happy, unhappy, without_token


def _change(**changes: Any) -> Example:  # noqa: ANN401 - any member of an event
    """The documented event with what was before and after, of an invoice that no other run has."""
    return Example(
        "change",
        {
            "tenant_id": "{{tenant_id}}",
            "event_id": "{{invoice}}-approved",
            "resource_id": "{{invoice}}",
            "request_id": "{{trace}}",
            **changes,
        },
    )


_ALL = {"tenant_id": "{{tenant_id}}", "request_id": "{{trace}}"}
_BAD = [
    {"tenant_id": "{{tenant_id}}", "action": "invoice.view", "resource_type": "invoice", "resource_id": "{{invoice}}"},
    {"tenant_id": "{{tenant_id}}", "resource_type": "invoice"},
]

REQUESTS: Final[Mapping[str, Sequence[Request]]] = {
    "append_event": (
        happy(
            "Append an event",
            201,
            lets={"invoice": "inv-{{$guid}}", "trace": "req-{{$guid}}"},
            body=_change(),
            checks={
                "It has a place in the log": "pm.expect(answer.seq).to.be.at.least(0)",
                "It has a hash": "pm.expect(answer.leaf_hash).to.match(/^[0-9a-f]{64}$/)",
                "Location leads to it": 'pm.expect(pm.response.headers.get("Location")).to.include(answer.id)',
            },
            keeps={"event_id": "answer.id", "seq": "answer.seq", "leaf_hash": "answer.leaf_hash"},
        ),
        happy(
            "Append it again, as after a broken connection",
            201,
            body=_change(),
            checks={
                "It is the same event": 'pm.expect(answer.id).to.equal(pm.variables.get("event_id"))',
                "It has the same place": 'pm.expect(answer.seq).to.equal(Number(pm.variables.get("seq")))',
            },
        ),
        unhappy("the same event_id with other content", 409, "conflict", mend="event_id", body=_change(user_id="bob")),
        unhappy(
            "no action, and a field that no event has",
            422,
            "invalid",
            mend="/action",
            body={"tenant_id": "{{tenant_id}}", "resource_type": "invoice", "colour": "red"},
            checks={
                "It names the other fault, too": "pm.expect(answer.errors.map((flaw) => flaw.pointer))"
                '.to.include("/colour")',
            },
        ),
        unhappy(
            "a body that is no JSON",
            415,
            "unsupported-media-type",
            mend="application/json",
            headers={"Content-Type": "text/plain"},
            body="approved",
        ),
        without_token(body=_change()),
    ),
    "append_events": (
        happy(
            "Append many as a JSON array",
            201,
            body=Example(changes=[_ALL, {**_ALL, "event_id": "{{invoice}}-again", "resource_id": "{{invoice}}"}]),
            checks={
                "Both are stored": "pm.expect(answer.stored).to.equal(2)",
                "Each has an id": "pm.expect(answer.ids.filter((id) => typeof id === 'string')).to.have.lengthOf(2)",
                "None is rejected": "pm.expect(answer.rejected).to.be.empty",
            },
        ),
        happy(
            "Append many, one a line",
            201,
            headers={"Idempotency-Key": "{{$guid}}"},
            body=Example(media_type="application/x-ndjson"),
            checks={"Both are stored": "pm.expect(answer.stored).to.equal(2)"},
        ),
        happy(
            "Append the good ones of them",
            201,
            query={"on_error": "skip"},
            body=_BAD,
            checks={
                "The good one is stored": "pm.expect(answer.stored).to.equal(1)",
                "The bad one has no id": "pm.expect(answer.ids[1]).to.be.null",
                "It says what is wrong": 'pm.expect(answer.rejected[0]).to.include({ index: 1, pointer: "/action" })',
            },
        ),
        unhappy(
            "one is bad, so none is stored",
            422,
            "invalid",
            mend="/action",
            body=_BAD,
            checks={"It says which": "pm.expect(answer.errors[0].index).to.equal(1)"},
        ),
        unhappy("a choice that there is not", 422, "invalid", mend="?on_error", query={"on_error": "ask"}, body=[]),
        without_token(body=Example()),
    ),
    "preview_masking": (
        happy(
            "See what masking would do",
            body=Example("as set"),
            checks={
                "The password is gone": 'pm.expect(answer.event.after.new_password).to.equal("[redacted:password]")',
                "The time of its change stays": "pm.expect(answer.event.after.password_changed_at).to.be.a('string')",
                "It says why": "pm.expect(answer.masked.map((place) => place.pointer))"
                '.to.include("/after/new_password")',
            },
        ),
        happy(
            "Try other settings",
            body=Example("to try"),
            checks={
                "The password leaves no trace": "pm.expect(answer.event.after).not.to.have.property('new_password')"
            },
        ),
        unhappy(
            "a preset that there is not",
            422,
            "invalid",
            mend="/masking/preset",
            body=Example("as set", {"masking": {"preset": "strict"}}),
        ),
        without_token(body=Example("as set")),
    ),
    "read_event": (
        happy(
            "Read the event back",
            path={"event_id": "{{event_id}}"},
            query={"tenant_id": "{{tenant_id}}"},
            checks={
                "It is that event": 'pm.expect(answer.resource_id).to.equal(pm.variables.get("invoice"))',
                "It has what was before": 'pm.expect(answer.before).to.eql({ status: "open", total: 129.95 })',
                "It says whose token wrote it": "pm.expect(answer.written_by).to.have.all.keys('issuer', 'subject')",
                "Its tag is its hash": 'pm.expect(pm.response.headers.get("ETag"))'
                '.to.equal(`"${pm.variables.get("leaf_hash")}"`)',
            },
        ),
        happy(
            "Ask whether it has changed",
            304,
            media_type=None,
            path={"event_id": "{{event_id}}"},
            query={"tenant_id": "{{tenant_id}}"},
            headers={"If-None-Match": '"{{leaf_hash}}"'},
        ),
        unhappy(
            "an id that no event has",
            404,
            "not-found",
            mend="event",
            path={"event_id": "01a20e93-c97b-7000-8000-12d2d0a3f4b5"},
            query={"tenant_id": "{{tenant_id}}"},
        ),
        unhappy(
            "a parameter that it does not take",
            422,
            "invalid",
            mend="?colour",
            path={"event_id": "{{event_id}}"},
            query={"colour": "red"},
        ),
        without_token(path={"event_id": "{{event_id}}"}),
    ),
    "reveal_event": (
        happy(
            "Append an event with the number of a card, to the tenant that encrypts them",
            201,
            operation="append_event",
            body={
                "tenant_id": "{{new_tenant}}",
                "action": "order.pay",
                "resource_type": "order",
                "metadata": {"card": "4111 1111 1111 1111", "shop": "Lyon"},
            },
            keeps={"sealed_event_id": "answer.id"},
        ),
        happy(
            "Read what is stored of it",
            operation="read_event",
            path={"event_id": "{{sealed_event_id}}"},
            query={"tenant_id": "{{new_tenant}}"},
            checks={
                "The number is sealed": "pm.expect(answer.metadata.card).to.have.all.keys('$sealed')",
                "The rest is not": 'pm.expect(answer.metadata.shop).to.equal("Lyon")',
            },
        ),
        happy(
            "Reveal the number",
            path={"event_id": "{{sealed_event_id}}"},
            query={"tenant_id": "{{new_tenant}}"},
            body=Example(),
            checks={
                "It is what was sent": 'pm.expect(answer.fields["/metadata/card"]).to.equal("4111 1111 1111 1111")',
                "Nothing else is told": 'pm.expect(Object.keys(answer.fields)).to.eql(["/metadata/card"])',
            },
        ),
        unhappy(
            "a field that is not sealed",
            422,
            "invalid",
            mend="/fields/0",
            path={"event_id": "{{sealed_event_id}}"},
            query={"tenant_id": "{{new_tenant}}"},
            body={"reason": "Chargeback 4711", "fields": ["/metadata/shop"]},
        ),
        without_token(path={"event_id": "{{sealed_event_id}}"}, body=Example()),
    ),
}
"""The requests by ``operationId``."""
