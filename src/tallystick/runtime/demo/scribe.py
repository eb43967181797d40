"""How the demonstration's events are written down."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tallystick.query.timestamps import format_moment
from tallystick.runtime.demo.company import Company, Person

Event = dict[str, Any]


@dataclass(slots=True)
class Scribe:
    """Writes a company's events. Each gets an `event_id` that is the same whenever the story with this end is told.

    Attributes:
        anchor: The end of the story.
    """

    company: Company
    chance: random.Random
    anchor: datetime
    count: int = 0

    def event(self, at: datetime, action: str, resource: tuple[str, str], **fields: object) -> Event:
        """One event; its fields besides, where they are given."""
        self.count += 1
        return {
            "tenant_id": self.company.tenant_id,
            "event_id": f"demo-{self.anchor:%y%m%d%H%M}-{self.count:05}",
            "timestamp": format_moment(at),
            "action": action,
            "resource_type": resource[0],
            "resource_id": resource[1],
            "request_id": self.token("req"),
            **fields,
        }

    def token(self, prefix: str) -> str:
        """A made-up identifier."""
        return f"{prefix}_{self.chance.getrandbits(48):012x}"

    def at_desk(self, person: Person, session: str) -> Mapping[str, Any]:
        """The fields that say who did it and from where."""
        return {
            "user_id": person.user_id,
            "session_id": session,
            "ip_address": person.address,
            "user_agent": person.browser,
        }
