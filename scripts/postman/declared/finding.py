"""Requests that find the events again: listed, searched, exported, correlated, and as a history."""

from collections.abc import Mapping, Sequence
from typing import Final

from postman.declaring import Example, Request, happy, unhappy, without_token

_HERE: Final = {"tenant_id": "{{tenant_id}}"}
_NOWHERE: Final = {"tenant_id": "no-such-tenant"}
_OLD: Final = {**_HERE, "before": "2020-01-01T00:00:00Z", "reason": "an example"}
_IDS: Final = "answer.items.map((event) => event.id)"
_FOUND: Final = {"The event is there": f'pm.expect({_IDS}).to.include(pm.variables.get("event_id"))'}

REQUESTS: Final[Mapping[str, Sequence[Request]]] = {
    "list_events": (
        happy(
            "List what happened to the invoice",
            query={**_HERE, "resource_type": "invoice", "resource_id": "{{invoice}}"},
            checks={
                **_FOUND,
                "Nothing else is": "pm.expect(answer.items.map((event) => event.resource_id))"
                '.to.satisfy((ids) => ids.every((id) => id === pm.variables.get("invoice")))',
            },
        ),
        happy(
            "Find it by what is in it",
            query={**_HERE, "q": 'metadata.approval.rule:"four eyes" AND "{{invoice}}"', "highlight": "true"},
            checks={
                **_FOUND,
                "It says where the words stand": "pm.expect(answer.highlights.flat().map((value) => value.pointer))"
                '.to.include("/metadata/approval/rule")',
                "It says what it rests on": "pm.expect(answer).to.include.all.keys('indexed_through', 'complete')",
            },
        ),
        happy(
            "List the newest, page by page",
            query={**_HERE, "limit": "2"},
            checks={
                "Two are on the page": "pm.expect(answer.items).to.have.lengthOf(2)",
                "Link leads to the next": 'pm.expect(pm.response.headers.get("Link")).to.include(\'rel="next"\')',
            },
            keeps={"next_events": "answer.next", "page_of_events": f"JSON.stringify({_IDS})"},
        ),
        happy(
            "List the next page",
            query={**_HERE, "limit": "2", "cursor": "{{next_events}}"},
            checks={
                "No event comes twice": f"pm.expect({_IDS})"
                '.to.satisfy((ids) => ids.every((id) => !pm.variables.get("page_of_events").includes(id)))',
            },
        ),
        happy(
            "Follow the log from the event on",
            query={**_HERE, "order": "seq", "after_seq": "{{seq}}", "limit": "1"},
            checks={
                "The next one has the next seq": "pm.expect(answer.items[0].seq)"
                '.to.equal(Number(pm.variables.get("seq")) + 1)',
                "It says where to go on": "pm.expect(answer.after_seq).to.equal(answer.items[0].seq)",
            },
        ),
        unhappy("a page too large", 422, "invalid", mend="?limit", query={**_HERE, "limit": "1001"}),
        unhappy("a parenthesis is not closed", 422, "invalid", mend="?q", query={**_HERE, "q": "(role OR alert"}),
        unhappy("a tenant that nobody made", 404, "not-found", mend="tenant", query=_NOWHERE),
        without_token(query=_HERE),
    ),
    "search_events": (
        happy(
            "Find it by paths and ranges",
            body=Example(
                "fields",
                {**_HERE, "q": 'metadata.approval.level:[2 TO 3] AND NOT after.status:open AND "{{invoice}}"'},
            ),
            checks=_FOUND,
        ),
        happy(
            "Ask where words stand",
            body=Example("words", _HERE),
            checks={
                "It says so for each event": "pm.expect(answer.highlights).to.have.lengthOf(answer.items.length)",
            },
        ),
        unhappy("a parenthesis is not closed", 422, "invalid", mend="/q", body={**_HERE, "q": "(role OR alert"}),
        unhappy("a member that it does not take", 422, "invalid", mend="/colour", body={**_HERE, "colour": "red"}),
        without_token(body=_HERE),
    ),
    "export_events": (
        happy(
            "Export the events of the request, one a line",
            media_type="application/x-ndjson",
            query={**_HERE, "request_id": "{{trace}}"},
            checks={
                "All three are there": "pm.expect(answer).to.have.lengthOf(3)",
                "The oldest comes first": 'pm.expect(answer[0].id).to.equal(pm.variables.get("event_id"))',
                "It says how far it goes": 'pm.expect(Number(pm.response.headers.get("Tallystick-Through-Seq")))'
                '.to.be.at.least(Number(pm.variables.get("seq")) + 2)',
            },
        ),
        happy(
            "Export them as one JSON document",
            query={**_HERE, "request_id": "{{trace}}", "format": "json"},
            checks={"All three are there": "pm.expect(answer.items).to.have.lengthOf(3)"},
        ),
        happy(
            "Export them as a table",
            media_type="text/csv",
            query={
                **_HERE,
                "request_id": "{{trace}}",
                "format": "csv",
                "columns": "action,resource_id,after.status",
            },
            checks={
                "The header names the columns": r'pm.expect(answer.split("\r\n")[0])'
                '.to.equal("action,resource_id,after.status")',
                "The event is a line": 'pm.expect(answer).to.include(`invoice.approve,${pm.variables.get("invoice")},'
                "approved`)",
            },
        ),
        unhappy("a format that there is not", 422, "invalid", mend="?format", query={**_HERE, "format": "xml"}),
        unhappy("a tenant that nobody made", 404, "not-found", mend="tenant", query=_NOWHERE),
        without_token(query=_HERE),
    ),
    "read_stats": (
        happy(
            "Count the events of the request",
            query={**_HERE, "request_id": "{{trace}}", "by": "action", "interval": "day"},
            checks={
                "All three count": "pm.expect(answer.total).to.equal(3)",
                "Days and actions add up to them": "pm.expect([answer.buckets, answer.action].map((list) =>"
                " list.reduce((sum, each) => sum + each.events, 0))).to.eql([3, 3])",
                "The search index counted": "pm.expect(answer.source).to.equal('index')",
            },
        ),
        happy(
            "Count what was done this month and the one before",
            query={**_HERE, "compare": "previous"},
            checks={
                "Rollups counted": "pm.expect(answer.source).to.equal('rollups')",
                "The period before ends where this one begins": "pm.expect(answer.previous.to).to.equal(answer.from)",
                "Every list is exact": "pm.expect(answer.approximate).to.be.empty",
            },
        ),
        unhappy(
            "a time zone that there is not", 422, "invalid", mend="?time_zone", query={**_HERE, "time_zone": "Mars"}
        ),
        unhappy("a tenant that nobody made", 404, "not-found", mend="tenant", query=_NOWHERE),
        without_token(query=_HERE),
    ),
    "correlate_events": (
        happy(
            "List what belongs to the request",
            path={"correlation_id": "{{trace}}"},
            query=_HERE,
            checks={**_FOUND, "All three are there": "pm.expect(answer.items).to.have.lengthOf(3)"},
        ),
        happy(
            "List what belongs to no request",
            path={"correlation_id": "no-such-request"},
            query=_HERE,
            checks={"There is nothing": "pm.expect(answer.items).to.be.empty"},
        ),
        unhappy(
            "an order that it does not have",
            422,
            "invalid",
            mend="?order",
            path={"correlation_id": "{{trace}}"},
            query={**_HERE, "order": "seq"},
        ),
        without_token(path={"correlation_id": "{{trace}}"}, query=_HERE),
    ),
    "read_history": (
        happy(
            "Read the history of the invoice",
            path={"resource_type": "invoice", "resource_id": "{{invoice}}"},
            query=_HERE,
            checks={
                **_FOUND,
                "It says what the event changed": "pm.expect(answer.changes[0])"
                '.to.eql([{ op: "replace", path: "/status", value: "approved" }])',
                "There is a change for each event": "pm.expect(answer.changes).to.have.lengthOf(answer.items.length)",
            },
        ),
        unhappy(
            "a filter that the path has already",
            422,
            "invalid",
            mend="?resource_type",
            path={"resource_type": "invoice", "resource_id": "{{invoice}}"},
            query={**_HERE, "resource_type": "invoice"},
        ),
        without_token(path={"resource_type": "invoice", "resource_id": "{{invoice}}"}, query=_HERE),
    ),
    "clean_up": (
        happy(
            "See what a cleanup would remove",
            query={**_OLD, "dry_run": "true"},
            checks={
                "Nothing is as old": "pm.expect(answer.events).to.equal(0)",
                "It says what stays in any case": "pm.expect(answer.protected_from).to.be.a('string')",
            },
        ),
        unhappy("a moment that is none", 422, "invalid", mend="?before", query={**_OLD, "before": "long ago"}),
        unhappy("a tenant that nobody made", 404, "not-found", mend="tenant", query={**_OLD, **_NOWHERE}),
        without_token(query=_OLD),
    ),
}
"""The requests by ``operationId``."""
