"""Who works in the made-up group Harbour, from where, and with what."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

_FIRST = (
    "Ada",
    "Amara",
    "Anouk",
    "Bao",
    "Carla",
    "Chidi",
    "Emre",
    "Farid",
    "Greta",
    "Hana",
    "Idris",
    "Jonas",
    "Kofi",
    "Leila",
)
_LAST = (
    "Abebe",
    "Berg",
    "Castillo",
    "Chen",
    "Dubois",
    "Eriksen",
    "Fofana",
    "Ivanova",
    "Kaya",
    "Okafor",
    "Rossi",
    "Weber",
)
_BROWSERS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
TEAMS = ("support", "finance", "sales", "engineering", "operations")
"""Teams; `runtime.demo.work` says what each does."""


@dataclass(frozen=True, slots=True)
class Company:
    """One tenant of the demonstration.

    Attributes:
        domain: Of its people's addresses.
        office: First three numbers of its office's network.
        people: How many work there.
        sessions: How many working sessions a working day has.
    """

    tenant_id: str
    name: str
    domain: str
    office: str
    people: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works there.

    Attributes:
        user_id: Their address, which is the events' `user_id`.
        team: One of `TEAMS`.
        address: The IP address they mostly work from.
    """

    user_id: str
    name: str
    team: str
    address: str
    browser: str


COMPANIES: Sequence[Company] = (
    Company("harbour-retail", "Harbour Retail", "retail.harbour.example", "10.20.1", 34, 70),
    Company("harbour-pay", "Harbour Pay", "pay.harbour.example", "10.20.2", 28, 60),
    Company("harbour-labs", "Harbour Labs", "labs.harbour.example", "10.20.3", 14, 30),
)


def people_of(company: Company, chance: random.Random) -> list[Person]:
    """The company's people; some work from home, on an address of a documentation network (RFC 5737)."""
    names = chance.sample([(first, last) for first in _FIRST for last in _LAST], company.people)
    return [
        Person(
            user_id=f"{first}.{last}@{company.domain}".lower(),
            name=f"{first} {last}",
            team=TEAMS[number % len(TEAMS)],
            address=f"198.51.100.{20 + number}" if number % 4 == 0 else f"{company.office}.{20 + number}",
            browser=chance.choice(_BROWSERS),
        )
        for number, (first, last) in enumerate(names)
    ]
