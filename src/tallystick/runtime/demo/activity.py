"""An ordinary week: people log in, work and leave; services deploy, bill and back up. One seed, one week."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from tallystick.runtime.demo.company import Person
from tallystick.runtime.demo.scribe import Event, Scribe
from tallystick.runtime.demo.work import SERVICES, WORK

DAYS = 6
"""Days that the week goes back; less than the seven for which events are accepted without a special permission."""


def ordinary_week(scribe: Scribe, people: list[Person]) -> Iterator[Event]:
    """Everything that happens but the incident, day by day."""
    midnight = scribe.anchor.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(DAYS, -1, -1):
        date = midnight - timedelta(days=day)
        busy = 1.0 if date.weekday() < 5 else 0.15
        for _ in range(int(scribe.company.sessions * busy)):
            start = date + timedelta(minutes=max(330, min(scribe.chance.gauss(11.5 * 60, 150), 1260)))
            yield from _session(scribe, scribe.chance.choice(people), start)
        yield from _services(scribe, date)


def _session(scribe: Scribe, person: Person, start: datetime) -> Iterator[Event]:
    session = scribe.token("ses")
    who = scribe.at_desk(person, session)
    at = start
    if scribe.chance.random() < 0.08:
        yield scribe.event(
            at,
            "user.login_failed",
            ("session", session),
            **who,
            severity="WARNING",
            metadata={"reason": "wrong password"},
        )
        at += timedelta(seconds=scribe.chance.randint(8, 40))
    method = scribe.chance.choice(("password+totp", "passkey", "sso"))
    yield scribe.event(
        at, "user.login", ("session", session), **who, message=f"{person.name} logged in", metadata={"method": method}
    )
    for _ in range(scribe.chance.randint(2, 6)):
        at += timedelta(seconds=scribe.chance.randint(30, 900))
        yield WORK[person.team](scribe, who, at)
    at += timedelta(minutes=scribe.chance.randint(1, 40))
    yield scribe.event(at, "user.logout", ("session", session), **who)


def _services(scribe: Scribe, date: datetime) -> Iterator[Event]:
    """What runs by itself: a backup at night, deployments by day, invoices in the evening."""
    chance = scribe.chance
    host = {"ip_address": f"{scribe.company.office}.5", "user_agent": "harbour-scheduler/4.2"}
    night = date + timedelta(hours=1, minutes=chance.randint(0, 20))
    yield scribe.event(
        night,
        "backup.completed",
        ("database", "ledger"),
        user_id="service:backup",
        **host,
        metadata={"bytes": chance.randint(8, 9) * 10**9, "seconds": chance.randint(300, 500)},
    )
    for _ in range(chance.randint(2, 7) if date.weekday() < 5 else 1):
        at = date + timedelta(minutes=chance.randint(8 * 60, 18 * 60))
        service, version = (
            chance.choice(SERVICES),
            f"2026.{chance.randint(100, 999)}",
        )
        deployed = {"user_id": "service:deploy", **host, "session_id": scribe.token("run")}
        yield scribe.event(
            at,
            "deployment.started",
            ("service", service),
            **deployed,
            metadata={"version": version, "environment": "production"},
        )
        failed = chance.random() < 0.1
        yield scribe.event(
            at + timedelta(seconds=chance.randint(60, 400)),
            "deployment.failed" if failed else "deployment.succeeded",
            ("service", service),
            **deployed,
            severity="ERROR" if failed else "INFO",
            message="Health check did not pass; rolled back" if failed else "Rolled out to all regions",
            metadata={"version": version, "environment": "production"},
        )
    for number in range(chance.randint(10, 25)):
        yield scribe.event(
            date + timedelta(hours=20, seconds=number * 3),
            "invoice.created",
            ("invoice", f"inv_{chance.randint(2000, 9000)}"),
            user_id="service:billing",
            **host,
            metadata={"amount_cents": chance.randint(900, 90_000), "currency": "EUR", "recurring": True},
        )
