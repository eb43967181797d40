"""The words in which the collection is declared: requests, and what their answers must show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Texts = Mapping[str, str]

JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Example:
    """A body that the OpenAPI document has as an example.

    Attributes:
        name: The example's; the only one when None.
        changes: Members that are sent otherwise. For an array: the changes of each of its items, in their order.
        media_type: Of the body.
    """

    name: str | None = None
    changes: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(default_factory=dict[str, Any])
    media_type: str = JSON


@dataclass(frozen=True)
class Request:
    """A request and what its answer must show. Made by `happy` and `unhappy`.

    Texts may hold variables of Postman, as in ``{{tenant_id}}``.

    Attributes:
        name: What a person reads in the list.
        status: That of the answer.
        media_type: That of the answer; None where it has no body.
        path: Values of the path's parameters.
        query: Query parameters; those that are not named are there and switched off.
        headers: Further headers.
        body: An example of the document, or the JSON value itself.
        token: Whether it is sent with the token.
        method: Another method than the operation's.
        operation: Whose request it is, where it is another operation's than that it is declared with.
        lets: Variables that are set before it is sent, by name.
        before: JavaScript that runs before it is sent.
        checks: What else is looked at, by name: a JavaScript expression each, which throws where it is not so.
            In it ``answer`` is the body: parsed JSON, parsed lines of NDJSON, or text.
        keeps: Variables that are set from the answer: a JavaScript expression each.
        problem: The slug of the problem that the answer is; None for an answer that is none.
    """

    name: str
    status: int
    media_type: str | None = JSON
    path: Texts = field(default_factory=dict[str, str])
    query: Texts = field(default_factory=dict[str, str])
    headers: Texts = field(default_factory=dict[str, str])
    body: Any = None
    token: bool = True
    method: str | None = None
    operation: str | None = None
    lets: Texts = field(default_factory=dict[str, str])
    before: str = ""
    checks: Texts = field(default_factory=dict[str, str])
    keeps: Texts = field(default_factory=dict[str, str])
    problem: str | None = None


_WAIT = """
// Wait until a worker has ended it, half a minute at most.
const look = (left) => pm.sendRequest({
    url: pm.variables.replaceIn("{{base_url}}/api/v1PLACE?tenant_id={{tenant_id}}"),
    header: { Authorization: pm.variables.replaceIn("Bearer {{token}}") },
}, (error, answer) => {
    const open = !error && ["queued", "running"].includes(answer.json().state);
    if (open && left > 0) setTimeout(() => look(left - 1), 100);
});
look(300);
"""


def waiting(path: str) -> str:
    """JavaScript that waits until a worker has ended what lies at a path of the API."""
    return _WAIT.replace("PLACE", path)


def happy(name: str, status: int = 200, **rest: Any) -> Request:  # noqa: ANN401 - as `Request` takes it
    """A request that does what it asks for."""
    return Request(name, status, **rest)


def unhappy(name: str, status: int, problem: str, *, mend: str, **rest: Any) -> Request:  # noqa: ANN401
    """A request that is refused.

    Args:
        name: Why; the status comes before it.
        status: That of the answer.
        problem: The slug of the problem.
        mend: What the answer names to be mended: a JSON Pointer, ``?name`` for a parameter, else words of `detail`.
        rest: As `Request` takes it.
    """
    if mend.startswith("/"):
        check = f'pm.expect(answer.errors.map((flaw) => flaw.pointer)).to.include("{mend}")'
    elif mend.startswith("?"):
        check = f'pm.expect(answer.errors.map((flaw) => flaw.parameter)).to.include("{mend[1:]}")'
    else:
        check = f'pm.expect(answer.detail).to.include("{mend}")'
    checks = {"It says what to mend": check, **rest.pop("checks", {})}
    return Request(f"{status}: {name}", status, PROBLEM, checks=checks, problem=problem, **rest)


def without_token(**rest: Any) -> Request:  # noqa: ANN401 - as `Request` takes it
    """The request of somebody who does not say who they are."""
    challenge = 'pm.expect(pm.response.headers.get("WWW-Authenticate")).to.match(/^Bearer/)'
    return unhappy(
        "without a token",
        401,
        "unauthenticated",
        mend="Authorization",
        token=False,
        checks={"It asks for a token": challenge},
        **rest,
    )
