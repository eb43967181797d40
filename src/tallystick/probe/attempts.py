"""Attempts at what one tenant has, by one recipe: as somebody else, and as its owner."""

import json
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final

from tallystick.errors import UnavailableError
from tallystick.probe import judging
from tallystick.probe.asking import Asker
from tallystick.probe.callers import NOBODY
from tallystick.probe.model import Answer, Ask, Caller, Canary, Finding, Kind, Ledger
from tallystick.probe.planting import finished
from tallystick.probe.recipes import Inside, Owner, Recipe

_Attempt = Callable[[Caller, Ask], Coroutine[Any, Any, str | None]]

_TENANT: Final = "tenant_id"


class Attempts:
    """Tries one recipe on what is planted in one tenant.

    Args:
        asker: The deployment.
        operation: The name of what is tried.
        recipe: How.
        victim: Whose things.
        ledger: Where it is noted what was tried and what was found.
    """

    def __init__(self, asker: Asker, operation: str, recipe: Recipe, victim: Canary, ledger: Ledger) -> None:
        self._asker = asker
        self._operation = operation
        self._recipe = recipe
        self._victim = victim
        self._ledger = ledger
        self._markers: Collection[str] = victim.markers if recipe.seeks is None else recipe.seeks(victim)

    async def by(self, caller: Caller) -> None:
        """Try it as somebody else: in the owner's tenant, in both at once, and in the caller's own."""
        async with self._turn():
            await self._everywhere(caller)

    async def _ask(self, asked: Ask, caller: Caller) -> Answer:
        """Ask as somebody else. A server that fails is no server that refuses: unless its answer shows something, too.

        Raises:
            UnavailableError: It failed, or did not answer.
        """
        answer = await self._asker.ask(asked, caller.token)
        if answer.status >= 500 and not judging.shown(answer, asked, self._markers):
            raise UnavailableError(f"the server failed with {answer.status}")
        return answer

    def _turn(self) -> AbstractAsyncContextManager[object]:
        return self._asker.turn if self._recipe.alone else nullcontext()

    async def _everywhere(self, caller: Caller) -> None:
        named = self._recipe.ask(self._victim.tenant_id, self._victim)
        await self._guarded(caller, named, self._in_the_owners)
        if caller is NOBODY or self._recipe.inside is Inside.UNASKED:
            return
        own = self._recipe.ask(caller.tenant_id, self._victim)
        for first, second in ((own, named), (named, own)):
            if any(name == _TENANT for name, _ in own.query):
                both = tuple(pair for pair in second.query if pair[0] == _TENANT)
                await self._guarded(caller, replace(first, query=(*first.query, *both)), self._in_both)
        await self._guarded(caller, own, self._in_ones_own)

    async def publicly(self, markers: Collection[str]) -> None:
        """Ask for what needs no token: nothing of any tenant is to be in it."""
        self._markers = markers

        async def look(caller: Caller, asked: Ask) -> str | None:
            return judging.fault_of_content(await self._ask(asked, caller), asked, markers)

        await self._guarded(NOBODY, self._recipe.ask("", self._victim), look)

    async def by_owner(self, token: str | None) -> None:
        """The positive control: what is planted is there and is shown to its owner; else nothing was proved."""
        asked = self._recipe.ask(self._victim.tenant_id, self._victim)
        try:
            async with self._turn():
                answer = await self._asker.ask(asked, token)
            fault = None
            if answer.status not in self._recipe.statuses:
                fault = f"the owner was answered {answer.status}"
            elif self._recipe.shows is not None:
                shown = self._recipe.shows(self._victim)
                led = await self._led_to(self._victim.tenant_id, answer, token)
                fault = None if judging.holds(led.raw, shown) else f"the owner's answer does not show {shown}"
        except (UnavailableError, ValueError, KeyError) as error:
            fault = f"the owner got no answer that can be read: {error}"
        if fault is None:
            self._ledger.controls[self._operation] += 1
        else:
            self._find(Kind.VOID, "nobody" if self._recipe.owner is Owner.NOBODY else "the owner", asked, fault)

    async def _in_the_owners(self, caller: Caller, asked: Ask) -> str | None:
        answer = await self._ask(asked, caller)
        await self._take_back(self._victim.tenant_id, answer, caller)
        return judging.fault_of_refusal(answer, asked, self._markers)

    async def _in_both(self, caller: Caller, asked: Ask) -> str | None:
        answer = await self._ask(asked, caller)
        if judging.is_refusal(answer.status):
            return judging.fault_of_content(answer, asked, self._markers)
        return f"answered {answer.status} to a request that names two tenants"

    async def _in_ones_own(self, caller: Caller, asked: Ask) -> str | None:
        answer = await self._ask(asked, caller)
        match self._recipe.inside:
            case Inside.ABSENT:
                other = self._recipe.ask(caller.tenant_id, self._victim.absent())
                absent = await self._ask(other, caller)
                return judging.fault_of_stranger(answer, absent, asked, other, self._markers)
            case Inside.REFUSED if not judging.is_refusal(answer.status):
                return f"answered {answer.status}, where it had to be refused"
            case Inside.AFRESH if answer.status >= 300 and answer.status not in judging.REFUSED:
                return f"answered {answer.status}, as if the other's were its own"
            case _:
                led = await self._led_to(caller.tenant_id, answer, caller.token)
                return judging.fault_of_content(answer, asked, self._markers) or judging.fault_of_content(
                    led, asked, self._markers
                )

    async def _led_to(self, tenant_id: str, answer: Answer, token: str | None) -> Answer:
        """What an answer leads to where the recipe says so, read and taken back; else the answer itself."""
        if self._recipe.content is None or answer.status >= 300:
            return answer
        made = json.loads(answer.body)["id"]
        state, content = self._recipe.content(tenant_id, made)
        await finished(self._asker, state, token)
        led = await self._asker.ask(content, token)
        if self._recipe.undo is not None:
            await self._asker.ask(self._recipe.undo(tenant_id, made), token)
        return led

    async def _take_back(self, tenant_id: str, answer: Answer, caller: Caller) -> None:
        """Undo what should never have been possible."""
        if self._recipe.undo is not None and answer.status < 300:
            await self._asker.ask(self._recipe.undo(tenant_id, json.loads(answer.body)["id"]), caller.token)

    async def _guarded(self, caller: Caller, asked: Ask, attempt: _Attempt) -> None:
        """Make an attempt. What it gives away is a leak; one that got no answer proves nothing."""
        self._ledger.attempts[self._operation] += 1
        try:
            fault = await attempt(caller, asked)
        except (UnavailableError, ValueError, KeyError) as error:
            self._find(Kind.VOID, caller.name, asked, f"no answer that can be read: {error}")
            return
        if fault is not None:
            self._find(Kind.LEAK, caller.name, asked, fault)

    def _find(self, kind: Kind, caller: str, asked: Ask, reason: str) -> None:
        self._ledger.findings.append(Finding(kind, self._operation, reason, caller, self._victim.tenant_id, asked.line))
