"""Plants canaries: in each tenant events, an export, a job and their cursors, and takes back what can be taken back."""

import asyncio
import json
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.probe import recipes
from tallystick.probe.asking import Asker
from tallystick.probe.model import Answer, Ask, Canary, ask, new_word
from tallystick.query.timestamps import format_moment, moment, parse_timestamp

TENANT_PREFIX: Final = "probe-canary-"
"""How the ids of the probe's own tenants begin."""

_PAUSE: Final = 0.5
_BEFORE_US: Final = 1_000_000
"""For the clocks of several API processes, and short, so that little of the run before is in what is listed."""


def tenant_names(count: int) -> list[str]:
    """Ids of so many tenants of the probe's own, the same in every run, so that none are left behind."""
    return [f"{TENANT_PREFIX}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"[:count]]


async def make_tenant(asker: Asker, tenant_id: str, platform: str) -> None:
    """Make a tenant, unless a run before made it.

    Raises:
        ConfigurationError: The token is none of a platform admin.
    """
    body = {"id": tenant_id, "name": "Canary"}
    answer = await asker.ask(ask("POST", recipes.TENANTS, body), platform)
    if answer.status not in (201, 409):
        raise ConfigurationError(
            f"the tenant {tenant_id} could not be made ({answer.status}): the probe needs the token of a platform admin"
        )


class Planter:
    """Plants in one tenant, as its owner.

    Args:
        asker: The deployment.
        canary: What to plant.
        token: Of an admin of the tenant.
    """

    def __init__(self, asker: Asker, canary: Canary, token: str) -> None:
        self._asker = asker
        self._canary = canary
        self._token = token
        self._exports: list[str] = []

    async def plant(self, wanted: Collection[str]) -> Canary:
        """Plant everything, and learn under which ids the server has it.

        Args:
            wanted: The operations that the deployment has.

        Raises:
            ConfigurationError: The server refused it.
            UnavailableError: It did not answer, or no worker made the export.
        """
        tenant_id = self._canary.tenant_id
        sealing = "reveal_event" in wanted
        await self._tell(recipes.prepare(tenant_id, self._canary, sealing=sealing))
        first = await self._append(sealing=sealing)
        rest = await self._tell(recipes.append_many(tenant_id, self._canary))
        since = moment(parse_timestamp(first["received_at"]) - _BEFORE_US)
        planted = replace(
            self._canary,
            event_ids=[first["id"], *rest["ids"]],
            first_seq=first["seq"],
            leaves=[first["leaf_hash"]],
            since=format_moment(since),
        )
        await self._tell(recipes.ask_question(tenant_id, planted, planted.words["question"]))
        job = await self._tell(recipes.start_job(tenant_id, planted))
        for _ in range(2):
            self._exports.append((await self._tell(recipes.start_export(tenant_id, planted)))["id"])
        export_id, spare_id = self._exports
        for each in self._exports:
            await finished(self._asker, recipes.export_content(tenant_id, each)[0], self._token)
        paths = {"events": recipes.LOGS, "jobs": recipes.JOBS, "exports": recipes.EXPORTS}
        pages = {name: await self._tell(recipes.first_page(path, tenant_id)) for name, path in paths.items()}
        if "list_access_events" in wanted:
            pages["access"] = await self._tell(recipes.first_page(recipes.ACCESS_LOGS, tenant_id))
            found = await self._tell(
                ask("GET", recipes.ACCESS_LOGS, tenant_id=tenant_id, q=planted.words["question"], order="oldest")
            )
            planted = replace(planted, access_id=found["items"][0]["id"])
        cursors = {name: page["next"] for name, page in pages.items()}
        return replace(planted, job_id=job["id"], export_id=export_id, spare_id=spare_id, cursors=cursors)

    async def _append(self, *, sealing: bool) -> dict[str, Any]:
        """Store the first event; again under another key until it is sealed, which a process learns within seconds."""
        deadline = time.monotonic() + self._asker.patience
        while True:
            first = await self._tell(recipes.append(self._canary.tenant_id, self._canary))
            stored = replace(self._canary, event_ids=[first["id"]])
            if not sealing or time.monotonic() > deadline:
                return first
            revealed = await self._asker.ask(recipes.reveal(stored.tenant_id, stored), self._token)
            if revealed.status == 200:
                return first
            self._canary = replace(self._canary, key=new_word())
            await asyncio.sleep(_PAUSE)

    async def take_back(self) -> None:
        """Delete the exports. Events cannot be; the tenant is used again by the next run."""
        for export_id in self._exports:
            with suppress(UnavailableError):
                await self._asker.ask(recipes.delete_export(self._canary.tenant_id, export_id), self._token)

    async def _tell(self, asked: Ask) -> dict[str, Any]:
        # Processes learn of a new tenant within seconds, one after the other.
        known = "may the token write in this tenant?"
        answer = await self._asker.ask_until(asked, self._token, lambda each: each.status != 403, known)
        if answer.status >= 400:
            raise ConfigurationError(
                f"canaries could not be planted in {self._canary.tenant_id}: {asked.method} {asked.path} was answered "
                f"{answer.status}: {_detail(answer)}"
            )
        return json.loads(answer.body)


async def intruders(asker: Asker, canary: Canary, token: str) -> list[str]:
    """The ids of events in a tenant's log that somebody stored there under its own keys beside those that were planted.

    Args:
        asker: The deployment.
        canary: As it was planted.
        token: The owner's.
    """
    found: list[str] = []
    after = canary.first_seq - 1
    while True:
        query = {"tenant_id": canary.tenant_id, "order": "seq", "after_seq": str(after), "limit": "1000"}
        page = json.loads((await asker.ask(ask("GET", recipes.LOGS, **query), token)).body)
        found += [
            item["id"]
            for item in page["items"]
            if item.get("event_id", "").startswith(canary.key) and item["id"] not in canary.event_ids
        ]
        if page["next"] is None:
            return found
        after = page["after_seq"]


async def finished(asker: Asker, asked: Ask, token: str | None) -> Answer:
    """How an export is once it has ended.

    Raises:
        UnavailableError: It did not end in time.
    """

    def has_ended(answer: Answer) -> bool:
        return answer.status != 200 or json.loads(answer.body)["state"] not in ("queued", "running")

    return await asker.ask_until(asked, token, has_ended, "does a worker run?")


def _detail(answer: Answer) -> str:
    try:
        return str(json.loads(answer.body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "no problem document"
