"""Requests about tenants: one is made, found, renamed, suspended, and let in again."""

from collections.abc import Mapping, Sequence
from typing import Final

from postman.declaring import Example, Request, happy, unhappy, without_token

REQUESTS: Final[Mapping[str, Sequence[Request]]] = {
    "create_tenant": (
        happy(
            "Make a tenant",
            201,
            lets={"new_tenant": "postman-{{$guid}}"},
            body=Example(
                "tenant",
                {"id": "{{new_tenant}}", "settings": {"masking": {"actions": {"payment_card": "encrypt"}}}},
            ),
            checks={
                "It is the one that was asked for": 'pm.expect(answer.id).to.equal(pm.variables.get("new_tenant"))',
                "It is not suspended": "pm.expect(answer.suspended).to.be.false",
                "Location leads to it": 'pm.expect(pm.response.headers.get("Location").endsWith(answer.id)).to.be.true',
            },
        ),
        unhappy(
            "its id is taken",
            409,
            "conflict",
            mend="choose another id",
            body=Example("tenant", {"id": "{{new_tenant}}"}),
        ),
        unhappy("an id with capitals", 422, "invalid", mend="/id", body=Example("tenant", {"id": "Postman"})),
        without_token(body=Example("tenant", {"id": "nobody"})),
    ),
    "read_tenant": (
        happy(
            "Read the new tenant",
            path={"tenant_id": "{{new_tenant}}"},
            checks={"It has its name": 'pm.expect(answer.name).to.equal("Acme Ltd")'},
        ),
        unhappy("a tenant that nobody made", 404, "not-found", mend="tenant", path={"tenant_id": "no-such-tenant"}),
        without_token(path={"tenant_id": "{{new_tenant}}"}),
    ),
    "list_tenants": (
        happy(
            "List tenants",
            query={"limit": "1000"},
            checks={
                "The new one is the last, or on a later page": "pm.expect(answer.next ?? answer.items.at(-1).id)"
                '.to.be.oneOf([answer.next, pm.variables.get("new_tenant")])',
            },
        ),
        happy(
            "List them page by page",
            query={"limit": "1"},
            checks={
                "There is one on the page": "pm.expect(answer.items).to.have.lengthOf(1)",
                "There are more": "pm.expect(answer.next).to.be.a('string')",
            },
            keeps={"next_tenants": "answer.next"},
        ),
        happy(
            "List the next page",
            query={"limit": "1", "cursor": "{{next_tenants}}"},
            checks={"There is a page before": "pm.expect(answer.prev).to.be.a('string')"},
        ),
        unhappy("a page of none", 422, "invalid", mend="?limit", query={"limit": "0"}),
        without_token(),
    ),
    "update_tenant": (
        happy(
            "Rename it",
            path={"tenant_id": "{{new_tenant}}"},
            body=Example("rename"),
            checks={"It has the new name": 'pm.expect(answer.name).to.equal("Acme Holding")'},
        ),
        happy(
            "Suspend it",
            path={"tenant_id": "{{new_tenant}}"},
            body=Example("suspend"),
            checks={
                "It is suspended": "pm.expect(answer.suspended).to.be.true",
                "It keeps its name": 'pm.expect(answer.name).to.equal("Acme Holding")',
            },
        ),
        unhappy(
            "nothing is appended while it is suspended",
            403,
            "forbidden",
            mend="suspended",
            operation="append_event",
            before="""
// Every process knows of it within seconds: wait until this one does.
const knock = (left) => pm.sendRequest({
    url: pm.variables.replaceIn("{{base_url}}/api/v1/logs?limit=1&tenant_id={{new_tenant}}"),
    header: { Authorization: pm.variables.replaceIn("Bearer {{token}}") },
}, (error, answer) => {
    if (!error && answer.code === 200 && left > 0) setTimeout(() => knock(left - 1), 100);
});
knock(300);
""",
            body=Example("login", {"tenant_id": "{{new_tenant}}"}),
        ),
        happy(
            "Let it in again",
            path={"tenant_id": "{{new_tenant}}"},
            body=Example("resume"),
            checks={"It is not suspended any more": "pm.expect(answer.suspended).to.be.false"},
        ),
        happy(
            "Read what it is now",
            operation="read_tenant",
            path={"tenant_id": "{{new_tenant}}"},
            checks={
                "It has the new name": 'pm.expect(answer.name).to.equal("Acme Holding")',
                "It is not suspended": "pm.expect(answer.suspended).to.be.false",
            },
        ),
        unhappy(
            "a member that no tenant has",
            422,
            "invalid",
            mend="/colour",
            path={"tenant_id": "{{new_tenant}}"},
            body={"colour": "red"},
        ),
        unhappy(
            "a tenant that nobody made",
            404,
            "not-found",
            mend="tenant",
            path={"tenant_id": "no-such-tenant"},
            body=Example("rename"),
        ),
    ),
    "remove_tenant": (
        happy(
            "See what its removal would take",
            200,
            path={"tenant_id": "{{new_tenant}}"},
            query={"reason": "its contract ended", "dry_run": "true"},
            checks={
                "It is about that tenant": 'pm.expect(answer.tenant_id).to.equal(pm.variables.get("new_tenant"))',
                "Both of its logs would go": "pm.expect(answer.logs.map((each) => each.log))"
                '.to.have.members(["events", "access"])',
            },
        ),
        happy(
            "Order its removal",
            202,
            path={"tenant_id": "{{new_tenant}}"},
            query={"reason": "its contract ended"},
            checks={
                "A job does it": 'pm.expect(answer.kind).to.equal("offboard_tenant")',
                "Location leads to it": 'pm.expect(pm.response.headers.get("Location")).to.include(answer.id)',
            },
        ),
        happy(
            "See that it is closing",
            operation="read_tenant",
            path={"tenant_id": "{{new_tenant}}"},
            checks={
                "It is suspended": "pm.expect(answer.suspended).to.be.true",
                "It says why": 'pm.expect(answer.closing.reason).to.equal("its contract ended")',
            },
        ),
        unhappy("without a reason", 422, "invalid", mend="?reason", path={"tenant_id": "{{new_tenant}}"}),
        unhappy(
            "sooner than the installation lets anybody",
            422,
            "invalid",
            mend="?wait_days",
            path={"tenant_id": "{{new_tenant}}"},
            query={"reason": "in a hurry", "wait_days": "-1"},
        ),
        unhappy(
            "the platform's own",
            403,
            "forbidden",
            mend="_platform",
            path={"tenant_id": "_platform"},
            query={"reason": "a mistake"},
        ),
        without_token(path={"tenant_id": "{{new_tenant}}"}, query={"reason": "nobody asks"}),
    ),
    "restore_tenant": (
        happy(
            "Take that back",
            path={"tenant_id": "{{new_tenant}}"},
            checks={
                "It is not suspended any more": "pm.expect(answer.suspended).to.be.false",
                "It is not closing any more": "pm.expect(answer.closing).to.be.null",
            },
        ),
        unhappy("a tenant that nobody made", 404, "not-found", mend="tenant", path={"tenant_id": "no-such-tenant"}),
        without_token(path={"tenant_id": "{{new_tenant}}"}),
    ),
}
"""The requests by ``operationId``."""
