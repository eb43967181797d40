"""Sends the demonstration's events to a running instance, over its public API alone."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import httpx

from tallystick.errors import UnavailableError
from tallystick.runtime.client import connect, post, read_token
from tallystick.runtime.demo.activity import ordinary_week
from tallystick.runtime.demo.company import COMPANIES, Company, people_of
from tallystick.runtime.demo.incident import incident, victim_of
from tallystick.runtime.demo.scribe import Event, Scribe
from tallystick.runtime.state import Run, write_atomically

STRUCK = COMPANIES[1]
"""Whom the incident happens to."""

_BATCH = 500
_RESUMED_WITHIN = timedelta(hours=20)


@dataclass(frozen=True, slots=True)
class Filled:
    """What was done for one tenant.

    Attributes:
        stored: Events stored now.
        known: Events that an earlier run had stored.
    """

    tenant_id: str
    stored: int
    known: int


def story_of(company: Company, anchor: datetime) -> list[Event]:
    """All events of one company, oldest first; the same for the same anchor."""
    seed = hashlib.sha256(company.tenant_id.encode()).digest()
    scribe = Scribe(company, random.Random(seed), anchor)  # noqa: S311 - a story, not a secret
    people = people_of(company, scribe.chance)
    events = list(ordinary_week(scribe, people))
    if company is STRUCK:
        events += incident(scribe, [*people, victim_of(company)])
    limit = anchor.isoformat()
    return sorted((event for event in events if event["timestamp"] < limit), key=lambda event: event["timestamp"])


def fill(run: Run, memory: Path, progress: Callable[[str, int, int], None]) -> list[Filled]:
    """Make the tenants and store their events. A second run stores nothing twice.

    Args:
        run: The instance.
        memory: File that remembers when the story ends, so that a second run tells the same one, and which tenants are
            complete (the API itself remembers an `event_id` for a day or two).
        progress: Told of the tenant, of the events sent of it, and of how many it has.

    Raises:
        ConfigurationError: The token cannot be read.
        UnavailableError: The instance does not answer or refuses.
    """
    with connect(run.url, read_token(Path(run.token_file))) as client:
        fresh = [company for company in COMPANIES if _make_tenant(client, company)]
        anchor, complete = _remember(memory, {company.tenant_id for company in fresh})
        results: list[Filled] = []
        for company in COMPANIES:
            events = story_of(company, anchor)
            if company.tenant_id in complete:
                progress(company.tenant_id, len(events), len(events))
                results.append(Filled(company.tenant_id, 0, len(events)))
                continue
            stored = 0
            for number, batch in enumerate(_batches(events), start=1):
                stored += _send(client, batch)
                progress(company.tenant_id, min(number * _BATCH, len(events)), len(events))
            results.append(Filled(company.tenant_id, stored, len(events) - stored))
            complete.add(company.tenant_id)
            _write(memory, anchor, complete)
        return results


def _batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    return (events[start : start + _BATCH] for start in range(0, len(events), _BATCH))


def _remember(memory: Path, fresh: set[str]) -> tuple[datetime, set[str]]:
    """When the story ends, and which tenants are complete.

    It is told anew when no tenant of it is left, or when it was broken off so long ago that the API may have forgotten
    what it knows of it.
    """
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    try:
        known = json.loads(memory.read_text())
        anchor, complete = datetime.fromisoformat(known["anchor"]), set(known["complete"]) - fresh
    except (OSError, ValueError, KeyError, TypeError):
        anchor, complete = now, set[str]()
    broken_off = len(complete) < len(COMPANIES) and now - anchor > _RESUMED_WITHIN
    if broken_off or len(fresh) == len(COMPANIES):
        anchor = now
    _write(memory, anchor, complete)
    return anchor, complete


def _write(memory: Path, anchor: datetime, complete: set[str]) -> None:
    write_atomically(memory, json.dumps({"anchor": anchor.isoformat(), "complete": sorted(complete)}) + "\n")


def _make_tenant(client: httpx.Client, company: Company) -> bool:
    """Make a tenant; whether it is new."""
    answer = post(client, "/tenants", json={"id": company.tenant_id, "name": company.name})
    if answer.status_code == HTTPStatus.CONFLICT:
        return False
    _expect(answer)
    return True


def _send(client: httpx.Client, batch: Sequence[Event]) -> int:
    """Store a batch; how many of it are new."""
    answer = post(client, "/logs/bulk", json=list(batch))
    _expect(answer)
    stored: int = answer.json()["stored"]
    return stored


def _expect(answer: httpx.Response) -> None:
    if answer.is_error:
        raise UnavailableError(f"{answer.request.url} answered {answer.status_code}: {answer.text[:500]}")
