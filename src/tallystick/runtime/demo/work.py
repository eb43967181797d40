"""What people do all day, team by team."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tallystick.runtime.demo.scribe import Event, Scribe

Who = Mapping[str, Any]

SERVICES = ("checkout", "ledger", "search", "gateway")
_COUNTRIES = ("DE", "FR", "PT", "NL", "SE")


def _customer(scribe: Scribe) -> tuple[str, str]:
    return "customer", f"cus_{scribe.chance.randint(1000, 1400)}"


def _support(scribe: Scribe, who: Who, at: datetime) -> Event:
    if scribe.chance.random() < 0.6:
        return scribe.event(at, "customer.viewed", _customer(scribe), **who)
    old, new = scribe.chance.sample(_COUNTRIES, 2)
    moved = {"before": {"country": old}, "after": {"country": new}}
    return scribe.event(at, "customer.updated", _customer(scribe), **who, **moved)


def _finance(scribe: Scribe, who: Who, at: datetime) -> Event:
    action = scribe.chance.choice(("invoice.created", "invoice.approved", "invoice.paid", "invoice.voided"))
    amount = {"amount_cents": scribe.chance.randint(900, 480_000), "currency": "EUR"}
    return scribe.event(
        at,
        action,
        ("invoice", f"inv_{scribe.chance.randint(1000, 1400)}"),
        **who,
        severity="WARNING" if action == "invoice.voided" else "INFO",
        metadata={**amount, "customer_id": _customer(scribe)[1]},
    )


def _sales(scribe: Scribe, who: Who, at: datetime) -> Event:
    if scribe.chance.random() < 0.15:
        size = {"rows": scribe.chance.randint(20, 400), "format": "csv"}
        return scribe.event(at, "export.completed", ("export", scribe.token("exp")), **who, metadata=size)
    return scribe.event(at, scribe.chance.choice(("deal.updated", "customer.viewed")), _customer(scribe), **who)


def _engineering(scribe: Scribe, who: Who, at: datetime) -> Event:
    service = scribe.chance.choice(SERVICES)
    if scribe.chance.random() < 0.1:
        rights = {"service": service, "scopes": ["read"]}
        return scribe.event(at, "api_key.created", ("api_key", scribe.token("key")), **who, metadata=rights)
    action = scribe.chance.choice(("pull_request.merged", "flag.changed", "dashboard.viewed"))
    return scribe.event(at, action, ("service", service), **who)


def _operations(scribe: Scribe, who: Who, at: datetime) -> Event:
    number = scribe.chance.randint(100, 399)
    if scribe.chance.random() < 0.12:
        old, new = scribe.chance.sample(("viewer", "editor", "approver"), 2)
        return scribe.event(
            at,
            "role.changed",
            ("user", f"user-{number}@{scribe.company.domain}"),
            **who,
            before={"role": old},
            after={"role": new},
            message="Requested in the access review",
        )
    action = scribe.chance.choice(("document.viewed", "document.edited"))
    return scribe.event(at, action, ("document", f"doc_{number}"), **who)


WORK: Mapping[str, Callable[[Scribe, Who, datetime], Event]] = {
    "support": _support,
    "finance": _finance,
    "sales": _sales,
    "engineering": _engineering,
    "operations": _operations,
}
"""By team: one thing that somebody of it does."""
