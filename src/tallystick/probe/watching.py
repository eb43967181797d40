"""Attempts at one tenant's stream, by everybody of another: to open it, and to see its events on one's own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus, WebSocketException

from tallystick.errors import UnavailableError
from tallystick.probe import judging
from tallystick.probe.asking import Asker
from tallystick.probe.callers import NOBODY, Tokens
from tallystick.probe.model import Answer, Ask, Caller, Canary, Finding, Kind, Ledger, ask, new_word
from tallystick.probe.recipes import Streamed
from tallystick.probe.streams import STREAM, WAYS, Listener, attempt, opened

_CLOSED_TO_IT: Final = (401, 403)


class Watching:
    """Tries one stream of one tenant.

    Args:
        asker: The deployment.
        operation: The name of the stream.
        recipe: Where it is, and what shows on it.
        victim: Whose it is.
        tokens: How to become anybody.
        ledger: Where it is noted what was tried and what was found.
    """

    def __init__(
        self, asker: Asker, operation: str, recipe: Streamed, victim: Canary, tokens: Tokens, ledger: Ledger
    ) -> None:
        self._asker = asker
        self._operation = operation
        self._recipe = recipe
        self._victim = victim
        self._tokens = tokens
        self._ledger = ledger
        self._markers = victim.markers if recipe.seeks is None else recipe.seeks(victim)

    async def nobody(self) -> None:
        """Try to open it without a token."""
        await self._open(NOBODY, "header")

    async def others(self, tenant_id: str) -> None:
        """Try everything as everybody of another tenant."""
        callers = self._tokens.attackers(tenant_id, self._victim)
        for caller in callers:
            for way in WAYS:
                await self._open(caller, way)
        try:
            await self._watch_own(tenant_id, [each for each in callers if each.watches])
        except (UnavailableError, WebSocketException, OSError) as error:
            self._find(Kind.VOID, f"owner of {tenant_id}", self._asked(tenant_id), f"nothing could be watched: {error}")

    async def _open(self, caller: Caller, way: str) -> None:
        asked = self._asked(self._victim.tenant_id)
        self._ledger.attempts[self._operation] += 1
        try:
            answer = await attempt(self._asker.url, asked, caller.token, way, self._asker.patience)
        except UnavailableError as error:
            self._find(Kind.VOID, caller.name, asked, str(error))
            return
        if fault := judging.fault_of_refusal(answer, asked, self._markers):
            self._find(Kind.LEAK, caller.name, asked, f"with its token in the {way}: {fault}")

    async def _watch_own(self, tenant_id: str, callers: list[Caller]) -> None:
        """Watch one's own tenant while the other's log grows, and then one's own: by then the other's would be here."""
        theirs, ours = new_word(), new_word()
        own = self._asked(tenant_id)
        async with AsyncExitStack() as stack:
            listeners: dict[Caller, Listener] = {}
            for each in callers:
                if (stream := await stack.enter_async_context(self._maybe(each, own))) is not None:
                    listeners[each] = await stack.enter_async_context(Listener(stream, ours))
            owner = self._tokens.owner(self._victim)
            watched = await stack.enter_async_context(self._opened(self._asked(self._victim.tenant_id), owner))
            control = await stack.enter_async_context(Listener(watched, theirs))
            await self._grow(self._victim.tenant_id, owner, theirs)
            # The positive control: whoever may see it has it.
            if not (await control.heard(self._asker.patience))[1]:
                raise UnavailableError("the owner's own stream did not bring what was stored")
            self._ledger.controls[self._operation] += 1
            await self._grow(tenant_id, self._tokens.owner(self._tokens.canary(tenant_id)), ours)
            await asyncio.gather(*(self._see(caller, heard, theirs) for caller, heard in listeners.items()))

    async def _see(self, caller: Caller, listener: Listener, theirs: str) -> None:
        own = self._asked(caller.tenant_id)
        self._ledger.attempts[self._operation] += 1
        received, whole = await listener.heard(self._asker.patience)
        if fault := judging.fault_of_content(Answer(101, received), own, {*self._markers, theirs}):
            self._find(Kind.LEAK, caller.name, own, fault)
        elif not whole:
            self._find(Kind.VOID, caller.name, own, "the stream did not bring its own tenant's event")

    @asynccontextmanager
    async def _maybe(self, caller: Caller, asked: Ask) -> AsyncGenerator[ClientConnection | None]:
        """A stream, or None where the caller may not watch even its own tenant."""
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(self._opened(asked, caller.token))
            except InvalidStatus as error:
                if error.response.status_code not in _CLOSED_TO_IT:
                    raise
                stream = None
            yield stream

    @asynccontextmanager
    async def _opened(self, asked: Ask, token: str | None) -> AsyncGenerator[ClientConnection]:
        """A stream that has begun: its first frame says where."""
        async with opened(self._asker.url, asked, token) as stream:
            async with asyncio.timeout(self._asker.patience):
                await stream.recv()
            yield stream

    async def _grow(self, tenant_id: str, token: str, word: str) -> None:
        answer = await self._asker.ask(self._recipe.grow(tenant_id, self._victim, word), token)
        if answer.status >= 300:
            raise UnavailableError(f"the log of {tenant_id} could not be made to grow: {answer.status}")

    def _asked(self, tenant_id: str) -> Ask:
        return ask(STREAM, self._recipe.path, tenant_id=tenant_id)

    def _find(self, kind: Kind, caller: str, asked: Ask, reason: str) -> None:
        self._ledger.findings.append(Finding(kind, self._operation, reason, caller, self._victim.tenant_id, asked.line))
