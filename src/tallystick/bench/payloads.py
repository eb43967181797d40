"""Made-up events as applications send them: seeded, so that every run of a benchmark sends the same."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

Payload = dict[str, object]

_KINDS: Final = (
    (18, "document.view", "document", "INFO", "Document opened in the browser"),
    (14, "user.login", "session", "INFO", "Signed in with a security key"),
    (12, "invoice.view", "invoice", "INFO", "Invoice opened in the browser"),
    (10, "invoice.approve", "invoice", "INFO", "Invoice approved by its second reviewer"),
    (8, "customer.update", "customer", "INFO", "Address changed at the customer's request"),
    (7, "document.share", "document", "INFO", "Shared with an external partner"),
    (6, "payment.refund", "payment", "INFO", "Refund of a duplicate charge"),
    (6, "file.upload", "file", "INFO", "Uploaded and found free of malware"),
    (5, "user.login_failed", "session", "WARNING", "Wrong password, third attempt"),
    (4, "role.grant", "role", "WARNING", "Role granted by an administrator"),
    (3, "key.create", "key", "INFO", "Key created for a service"),
    (3, "export.download", "export", "ERROR", "Download broke off before its end"),
    (2, "policy.change", "policy", "WARNING", "Password policy relaxed"),
    (1, "backup.run", "backup", "ERROR", "Backup failed, the disk is full"),
    (1, "payment.block", "payment", "CRITICAL", "Payment blocked by the sanctions list"),
)
"""Of a hundred events so many, then action, resource type, severity and how the message begins."""

_HUNDRED: Final = tuple(kind for share, *kind in _KINDS for _ in range(share))

_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) Safari/605.1.15",
    "billing-service/4.12.0 python-httpx/0.28",
)
_REGIONS: Final = ("eu-west-1", "eu-central-1", "us-east-1", "ap-southeast-2")
_RESOURCES: Final = 1_000_000

_SYLLABLES: Final = tuple(consonant + vowel for consonant in "bdfgklmn" for vowel in "aeiou")
WORDS: Final = tuple(first + second + third for first in _SYLLABLES for second in _SYLLABLES for third in _SYLLABLES)
"""The words of notes: the first is in one event of eight, the last in one of 350,000."""


@dataclass(slots=True)
class Payloads:
    """A source of events, each different, of about 450 bytes as sent and 680 as stored.

    As in life, few users, resources and words make up most of it, and many are seldom seen (Zipf's law).

    Attributes:
        seed: The same seed gives the same events.
        users: How many different actors there are.
    """

    seed: int
    users: int = 20_000
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - made-up events, not secrets

    def one(self, tenant_id: str) -> Payload:
        """Make the next event of a tenant, without a timestamp: it happens when it arrives."""
        draw = self._random
        uniform = draw.random
        action, resource_type, severity, message = _HUNDRED[int(100 * uniform())]
        amount = int(uniform() * 999_999) / 100
        note = " ".join([WORDS[int(len(WORDS) ** uniform()) - 1] for _ in range(2)])
        return {
            "tenant_id": tenant_id,
            "user_id": f"user-{int(self.users ** uniform()):05d}",
            "session_id": f"s-{draw.getrandbits(48):012x}",
            "action": action,
            "resource_type": resource_type,
            "resource_id": f"{resource_type}-{int(_RESOURCES * uniform() ** 3):06d}",
            "ip_address": f"198.51.100.{int(256 * uniform())}",
            "user_agent": _AGENTS[int(3 * uniform())],
            "before": {"status": "pending"},
            "after": {"status": "done", "amount": amount},
            "metadata": {"region": _REGIONS[int(4 * uniform())], "took_ms": int(20_000 * uniform() ** 4)},
            "severity": severity,
            "message": f"{message}: {note}",
        }

    def many(self, tenant_id: str, count: int) -> Iterator[Payload]:
        """Make the next ``count`` events of a tenant."""
        return (self.one(tenant_id) for _ in range(count))

    def bulk(self, tenant_id: str, count: int) -> bytes:
        """Make the body of one bulk request: a JSON array."""
        return orjson.dumps(list(self.many(tenant_id, count)))
