"""What the probe asks, what it plants, who asks, and what it found: plain data."""

import json
import secrets
import string
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

WORD_LETTERS: Final = 20
"""Letters of a marker: 94 bits. Letters alone, so that nothing takes it for a key, a number or a token and masks it."""

TEXTS: Final = ("action", "resource_type", "resource_id", "session_id", "request_id", "user_agent", "message")
TREES: Final = ("before", "after", "metadata")
FIELDS: Final = (*TEXTS, *TREES, "sealed", "user_id", "tenant", "question")
"""What carries a marker of its own: every text of an event, the tenant's name, and what its owner once searched for."""

SEALED: Final = "probe_sealed"
"""The name, in `metadata`, of a value that canary tenants have encrypted where a deployment can."""


def new_word() -> str:
    """A marker that nobody can guess and no text holds by chance."""
    return "canary" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(WORD_LETTERS))


def new_words() -> Mapping[str, str]:
    """A marker for each of `FIELDS`."""
    return MappingProxyType({name: new_word() for name in FIELDS})


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        path: From the root, identifiers in it as they are.
        query: Names and values, a name as often as wanted.
        body: As JSON; None for none.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def sent(self) -> str:
        """Everything that the caller says, and so knows already."""
        told = [self.path, *(value for _, value in self.query), *self.headers.values()]
        return "\n".join([*told, json.dumps(self.body)])

    @property
    def line(self) -> str:
        """The request as a report names it."""
        query = "&".join(f"{name}={value}" for name, value in self.query)
        return f"{self.method} {self.path}{'?' if query else ''}{query}"


def ask(
    method: str,
    path: str,
    body: Any = None,  # noqa: ANN401 - JSON
    headers: Mapping[str, str] | None = None,
    /,
    **query: str,
) -> Ask:
    """Make an `Ask`; what is named is its query."""
    return Ask(method, path, tuple(query.items()), body, headers or {})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: Of HTTP; of a stream the status of its upgrade or the code with which it was closed.
        raw: Every byte of it: names and values of headers, and the body.
    """

    status: int
    raw: bytes
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Canary:
    """What is planted in one tenant, to be looked for elsewhere.

    Attributes:
        subject: Whom the owner's token is for. Those who attack carry the same, which gives them the most.
        words: The marker of each of `FIELDS`.
        decoys: The same for what others store in their own tenants under this one's keys: not to be mistaken for it.
        key: `Idempotency-Key` and `event_id` of the first event; those of the others follow from it.
        since: RFC 3339: nothing of it is older.
        event_ids: The server's ids, in the order of their seqs.
        first_seq: Seq of the first.
        leaves: Leaf hashes.
        export_id: An export that is ready.
        spare_id: Another, for the owner to delete at the end.
        job_id: A job.
        access_id: What the access log has of the question; nothing where the deployment keeps none.
        cursors: By what they go on with: ``events``, ``jobs``, ``exports``, ``access``.
    """

    tenant_id: str
    subject: str
    words: Mapping[str, str] = field(default_factory=new_words)
    decoys: Mapping[str, str] = field(default_factory=new_words)
    key: str = field(default_factory=new_word)
    event_ids: Sequence[str] = field(default_factory=lambda: [str(uuid.uuid4()) for _ in range(3)])
    first_seq: int = 0
    since: str = ""
    leaves: Sequence[str] = ()
    export_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    spare_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    access_id: str = ""
    cursors: Mapping[str, str] = field(default_factory=dict[str, str])

    def absent(self) -> "Canary":
        """The same where nothing was ever planted: other markers and ids of the same form."""
        *ids, access_id = [known[:-6] + secrets.token_hex(3) for known in (*self.event_ids, self.access_id)]
        absent = Canary(self.tenant_id, self.subject, event_ids=ids, since=self.since)
        return replace(absent, access_id=access_id, cursors=self.cursors)

    def events(self, tenant_id: str) -> list[dict[str, Any]]:
        """Three events as they are sent: in its own tenant with its markers, in others under its keys alone.

        The last is somebody else's than the owner's.
        """
        words = self.words if tenant_id == self.tenant_id else self.decoys
        told = {name: words[name] for name in TEXTS} | {name: {"note": words[name]} for name in TREES}
        told["metadata"] = {"note": words["metadata"], SEALED: words["sealed"]}
        told |= {"tenant_id": tenant_id, "message": f"the canary {words['message']} sings"}
        users = (self.subject, self.subject, words["user_id"])
        return [{**told, "event_id": f"{self.key}-{number}", "user_id": user} for number, user in enumerate(users)]

    @property
    def markers(self) -> frozenset[str]:
        """What tells that something of this tenant was seen."""
        made = (*self.event_ids, *self.leaves, self.export_id, self.spare_id, self.job_id, self.access_id)
        return frozenset(filter(None, (self.tenant_id, *self.words.values(), *made)))


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks.

    Attributes:
        tenant_id: Where they belong.
        role: What they are there, for the report.
        token: None for somebody without.
        watches: Whether they would see an event of the owner's subject on a stream of their tenant.
    """

    tenant_id: str
    role: str
    token: str | None = field(repr=False)
    watches: bool = True

    @property
    def name(self) -> str:
        """As a report names it."""
        return f"{self.role} of {self.tenant_id}" if self.tenant_id else self.role


class Kind(StrEnum):
    """What a finding says."""

    LEAK = "leak"
    VOID = "void"
    UNPROBED = "unprobed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: A leak; a probe that proves nothing (its positive control failed, or there was no answer); or an
            operation that no recipe knows.
        caller: Who asked, as ``role of tenant``.
        victim: Whose it was.
        request: What was asked.
        reason: What came back.
    """

    kind: Kind
    operation: str
    reason: str
    caller: str = ""
    victim: str = ""
    request: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a run has come to so far.

    Attributes:
        attempts: How often each operation was tried, by its name.
        controls: How often its positive control held.
        findings: As they came.
    """

    attempts: Counter[str] = field(default_factory=Counter[str])
    controls: Counter[str] = field(default_factory=Counter[str])
    findings: list[Finding] = field(default_factory=list[Finding])


class Verdict(StrEnum):
    """What a run came to."""

    CLEAN = "clean"
    LEAK = "leak"
    UNDECIDED = "undecided"

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return {"clean": 0, "leak": 1, "undecided": 2}[self.value]


@dataclass(frozen=True, slots=True)
class Report:
    """A run of the probe.

    Attributes:
        attempts: See `Ledger`, as the next.
        findings: Leaks first.
    """

    url: str
    tenants: Sequence[str]
    seconds: float
    attempts: Mapping[str, int]
    controls: Mapping[str, int]
    findings: Sequence[Finding]

    def of(self, kind: Kind, operation: str | None = None) -> list[Finding]:
        """The findings of a kind, of one operation or of all."""
        return [each for each in self.findings if each.kind is kind and operation in (None, each.operation)]

    @property
    def verdict(self) -> Verdict:
        """A leak counts more than what could not be told."""
        if self.of(Kind.LEAK):
            return Verdict.LEAK
        return Verdict.UNDECIDED if self.findings else Verdict.CLEAN
