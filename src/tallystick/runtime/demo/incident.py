"""The incident: credential stuffing, a taken account, rights it should not have, data that leaves, and the answer.

Every step leaves events that a query finds: the attacker's addresses, the taken account, the session, the severity.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from tallystick.runtime.demo.company import Company, Person
from tallystick.runtime.demo.scribe import Event, Scribe

NETWORK = "203.0.113.0/24"
"""Where the attack comes from (a documentation network, RFC 5737)."""

_DOOR = "203.0.113.66"
_TOOL = "python-requests/2.32"
_ATTEMPTS = 160


def victim_of(company: Company) -> Person:
    """Whose password was the same elsewhere."""
    return Person(f"noor.haddad@{company.domain}", "Noor Haddad", "support", "198.51.100.14", "Mozilla/5.0 (Harbour)")


def incident(scribe: Scribe, people: list[Person]) -> Iterator[Event]:
    """The night before last, a little after two, until the next morning."""
    midnight = scribe.anchor.replace(hour=0, minute=0, second=0, microsecond=0)
    night = midnight - timedelta(days=1) + timedelta(hours=2, minutes=10)
    victim = victim_of(scribe.company)
    yield from _stuffing(scribe, people, night)
    session, key = scribe.token("ses"), scribe.token("key")
    yield from _takeover(scribe, victim, session, key, night + timedelta(minutes=22))
    yield from _containment(scribe, victim, session, key, night + timedelta(minutes=96))


def _stuffing(scribe: Scribe, people: list[Person], start: datetime) -> Iterator[Event]:
    """Passwords that leaked elsewhere are tried, a few for each account, from many addresses."""
    for attempt in range(_ATTEMPTS):
        target = scribe.chance.choice(people)
        yield scribe.event(
            start + timedelta(seconds=attempt * 8 + scribe.chance.random()),
            "user.login_failed",
            ("session", scribe.token("ses")),
            user_id=target.user_id,
            ip_address=f"203.0.113.{scribe.chance.randint(60, 90)}",
            user_agent=_TOOL,
            severity="WARNING",
            metadata={"reason": "wrong password", "known_device": False},
        )


def _takeover(scribe: Scribe, victim: Person, session: str, key: str, start: datetime) -> Iterator[Event]:
    """One of them is right. From it to an administrator's rights, and to the customers' data."""
    who = {"user_id": victim.user_id, "session_id": session, "ip_address": _DOOR, "user_agent": _TOOL}

    def after(minutes: float) -> datetime:
        return start + timedelta(minutes=minutes)

    yield scribe.event(
        after(0),
        "user.login",
        ("session", session),
        **who,
        severity="WARNING",
        message="First login from this network",
        metadata={"method": "password", "known_device": False, "country_changed": True},
    )
    yield scribe.event(
        after(6),
        "mfa.device_added",
        ("user", victim.user_id),
        **who,
        severity="WARNING",
        before={"devices": 0},
        after={"devices": 1},
    )
    yield scribe.event(after(11), "document.viewed", ("document", "doc_break-glass-runbook"), **who)
    yield scribe.event(
        after(19),
        "api_key.created",
        ("api_key", key),
        **who,
        severity="WARNING",
        metadata={"name": "reporting-sync", "scopes": ["users:write", "exports:create"]},
    )
    yield scribe.event(
        after(33),
        "role.changed",
        ("user", victim.user_id),
        **who,
        severity="CRITICAL",
        before={"role": "support"},
        after={"role": "administrator"},
        message="Role changed by its own holder",
        metadata={"api_key": key, "approved_by": None},
    )
    for number, rows in enumerate((41_200, 88_750, 12_904)):
        export = ("export", scribe.token("exp"))
        scope = ("customers", "payment_methods", "payouts")[number]
        yield scribe.event(after(40 + 8 * number), "export.requested", export, **who, metadata={"scope": scope})
        yield scribe.event(
            after(43 + 8 * number),
            "export.completed",
            export,
            **who,
            severity="ERROR",
            message="Larger than any export of this account before",
            metadata={"scope": scope, "rows": rows, "format": "csv", "api_key": key},
        )


def _containment(scribe: Scribe, victim: Person, session: str, key: str, start: datetime) -> Iterator[Event]:
    """A rule notices the exports; whoever is on call closes the doors, and the morning cleans up."""
    watch = {"user_id": "service:watch", "ip_address": f"{scribe.company.office}.6", "user_agent": "harbour-watch/1.9"}
    oncall = Person(
        f"ines.almeida@{scribe.company.domain}", "Ines Almeida", "operations", "198.51.100.77", "Mozilla/5.0"
    )
    who = scribe.at_desk(oncall, scribe.token("ses"))
    case = ("incident", "INC-2041")

    def after(minutes: float) -> datetime:
        return start + timedelta(minutes=minutes)

    yield scribe.event(
        after(0),
        "alert.raised",
        case,
        **watch,
        severity="CRITICAL",
        message="142,854 rows exported by one account in 20 minutes after a login from a new network",
        metadata={"rule": "export-volume", "user": victim.user_id, "session": session, "network": NETWORK},
    )
    yield scribe.event(after(9), "user.login", ("session", who["session_id"]), **who, metadata={"method": "passkey"})
    yield scribe.event(after(11), "incident.opened", case, **who, severity="ERROR", metadata={"priority": 1})
    yield scribe.event(after(12), "session.revoked", ("session", session), **who, severity="WARNING")
    yield scribe.event(after(13), "api_key.revoked", ("api_key", key), **who, severity="WARNING")
    yield scribe.event(
        after(14),
        "user.suspended",
        ("user", victim.user_id),
        **who,
        severity="WARNING",
        before={"suspended": False},
        after={"suspended": True},
    )
    yield scribe.event(
        after(16),
        "role.changed",
        ("user", victim.user_id),
        **who,
        severity="WARNING",
        before={"role": "administrator"},
        after={"role": "support"},
    )
    yield scribe.event(after(21), "firewall.rule_added", ("firewall", "edge"), **who, after={"deny": NETWORK})
    yield scribe.event(
        after(330), "password.reset_forced", ("tenant", scribe.company.tenant_id), **who, metadata={"accounts": 28}
    )
    yield scribe.event(
        after(420),
        "incident.closed",
        case,
        **who,
        message="Reused password; sign-in without a second factor is now refused",
        metadata={"notified_customers": 142_854},
    )
