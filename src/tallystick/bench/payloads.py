"""Made-up events as applications send them: seeded, so that every run of a benchmark sends the same."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

Payload = dict[str, object]

_ACTIONS = (
    ("invoice.approve", "invoice", "INFO", "Invoice approved by its second reviewer"),
    ("invoice.view", "invoice", "INFO", "Invoice opened in the browser"),
    ("user.login", "session", "INFO", "Signed in with a security key"),
    ("user.login_failed", "session", "WARNING", "Wrong password, third attempt"),
    ("document.share", "document", "INFO", "Shared with an external partner"),
    ("role.grant", "role", "WARNING", "Role granted by an administrator"),
    ("payment.refund", "payment", "INFO", "Refund of a duplicate charge"),
    ("export.download", "export", "ERROR", "Download broke off before its end"),
)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) Safari/605.1.15",
    "billing-service/4.12.0 python-httpx/0.28",
)
_REGIONS = ("eu-west-1", "eu-central-1", "us-east-1", "ap-southeast-2")


@dataclass(slots=True)
class Payloads:
    """A source of events, each different, of about 430 bytes as sent and 600 as stored.

    Attributes:
        seed: The same seed gives the same events.
        users: How many different actors there are.
    """

    seed: int
    users: int = 2_000
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - made-up events, not secrets

    def one(self, tenant_id: str) -> Payload:
        """Make the next event of a tenant, without a timestamp: it happens when it arrives."""
        draw = self._random
        action, resource_type, severity, message = draw.choice(_ACTIONS)
        amount = draw.randrange(100, 9_999_99) / 100
        return {
            "tenant_id": tenant_id,
            "user_id": f"user-{draw.randrange(self.users):05d}",
            "session_id": f"s-{draw.getrandbits(48):012x}",
            "action": action,
            "resource_type": resource_type,
            "resource_id": f"{resource_type}-{draw.randrange(10**8):08d}",
            "ip_address": f"198.51.100.{draw.randrange(256)}",
            "user_agent": draw.choice(_AGENTS),
            "before": {"status": "pending", "amount": amount},
            "after": {"status": "done", "amount": amount},
            "metadata": {"region": draw.choice(_REGIONS), "attempt": draw.randrange(1, 4)},
            "severity": severity,
            "message": message,
        }

    def many(self, tenant_id: str, count: int) -> Iterator[Payload]:
        """Make the next ``count`` events of a tenant."""
        return (self.one(tenant_id) for _ in range(count))

    def bulk(self, tenant_id: str, count: int) -> bytes:
        """Make the body of one bulk request: a JSON array."""
        return orjson.dumps(list(self.many(tenant_id, count)))
