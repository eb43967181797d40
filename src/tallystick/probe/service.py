"""One run of the probe: plant, try everything as everybody else, then let each owner show that it was there."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tallystick.auth.operations import OPERATIONS
from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.probe import recipes
from tallystick.probe.asking import Asker, connected
from tallystick.probe.attempts import Attempts
from tallystick.probe.callers import NOBODY, Tokens
from tallystick.probe.model import Canary, Finding, Kind, Ledger, Report, ask
from tallystick.probe.planting import Planter, intruders, make_tenant
from tallystick.probe.recipes import Owner, Recipe, Streamed
from tallystick.probe.watching import Watching

Progress = Callable[[int, int], None]

CONCURRENCY: Final = 4
PATIENCE: Final = 60.0

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to probe.

    Attributes:
        url: Base of the deployment.
        tenants: At least two; what is planted lies in them.
        tokens: How to become anybody there.
        platform: A platform admin's token, to make the tenants and for the positive controls of what only such a one
            may do; without it these prove nothing.
        concurrency: Most requests at once.
        patience: Seconds for which a busy deployment is asked again, and for a worker to make an export.
        recipes: By operation; see `recipes.RECIPES`.
    """

    url: str
    tenants: Sequence[str]
    tokens: Tokens
    platform: str | None
    concurrency: int = CONCURRENCY
    patience: float = PATIENCE
    recipes: Mapping[str, Sequence[Recipe | Streamed]] = field(default_factory=lambda: recipes.RECIPES)


async def probe(plan: Plan, progress: Progress) -> Report:
    """Probe a deployment.

    Args:
        plan: What to probe, and by which tokens.
        progress: Told how many attempts are done, of how many.

    Raises:
        ConfigurationError: Nothing could be planted, or the deployment has no OpenAPI document.
        UnavailableError: It does not answer.
    """
    began = time.monotonic()
    async with connected(plan.url, plan.concurrency, plan.patience) as asker:
        wanted = await _operations(asker)
        # A recipe for what this deployment does not have, as an older one may not, has nothing to try.
        plan = replace(plan, recipes={name: known for name, known in plan.recipes.items() if name in wanted})
        async with _planted(plan, asker, wanted) as canaries:
            run = _Run(plan, asker, canaries, progress)
            await run.everything(wanted)
    ledger = run.ledger
    findings = sorted(ledger.findings, key=lambda each: list(Kind).index(each.kind))
    return Report(plan.url, plan.tenants, time.monotonic() - began, ledger.attempts, ledger.controls, findings)


async def _operations(asker: Asker) -> set[str]:
    """Everything that can be asked for: what the deployment describes, and what this release has, streams included."""
    answer = await asker.ask(ask("GET", "/openapi.json"), None)
    try:
        paths = json.loads(answer.body)["paths"].values()
        described = {path[method]["operationId"] for path in paths for method in _METHODS if method in path}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigurationError(f"{asker.url}/openapi.json is no OpenAPI document: is this Tallystick?") from None
    return described | set(OPERATIONS)


@asynccontextmanager
async def _planted(plan: Plan, asker: Asker, wanted: set[str]) -> AsyncGenerator[list[Canary]]:
    """A canary in each tenant; what can be taken back is, whatever happens between."""
    if plan.platform is not None:
        for tenant_id in plan.tenants:
            await make_tenant(asker, tenant_id, plan.platform)
    fresh = [plan.tokens.canary(tenant_id) for tenant_id in plan.tenants]
    planters = [Planter(asker, each, plan.tokens.owner(each)) for each in fresh]
    try:
        yield list(await asyncio.gather(*(planter.plant(wanted) for planter in planters)))
    finally:
        await asyncio.gather(*(planter.take_back() for planter in planters))


class _Run:
    """Attempts, then controls, and what was found."""

    def __init__(self, plan: Plan, asker: Asker, canaries: Sequence[Canary], progress: Progress) -> None:
        self._plan = plan
        self._asker = asker
        self._canaries = canaries
        self._progress = progress
        self.ledger = Ledger()

    async def everything(self, wanted: set[str]) -> None:
        """Try it all. Controls come last: what an attempt did to another's things, they cannot show any more."""
        for name in sorted(wanted - set(self._plan.recipes)):
            reason = "no recipe knows this operation: add one to `probe/recipes.py`"
            self.ledger.findings.append(Finding(Kind.UNPROBED, name, reason))
        attempts = list(self._attempts())
        controls = list(self._controls())
        total = len(attempts) + len(controls)
        done = 0
        for phase in (attempts, controls):
            for finished in asyncio.as_completed(phase):
                await finished
                done += 1
                self._progress(done, total)
        await self._look_for_intruders()

    def _attempts(self) -> Iterator[Coroutine[Any, Any, None]]:
        for name, known in self._plan.recipes.items():
            for victim in self._canaries:
                for recipe in known:
                    yield from self._attempts_at(name, recipe, victim)

    def _attempts_at(self, name: str, recipe: Recipe | Streamed, victim: Canary) -> Iterator[Coroutine[Any, Any, None]]:
        others = [each.tenant_id for each in self._canaries if each is not victim]
        if isinstance(recipe, Streamed):
            watching = Watching(self._asker, name, recipe, victim, self._plan.tokens, self.ledger)
            yield watching.nobody()
            for tenant_id in others:
                yield watching.others(tenant_id)
            return
        attempts = Attempts(self._asker, name, recipe, victim, self.ledger)
        if recipe.owner is Owner.NOBODY:
            yield attempts.publicly([marker for each in self._canaries for marker in each.markers])
            return
        yield attempts.by(NOBODY)
        for tenant_id in others:
            for caller in self._plan.tokens.attackers(tenant_id, victim):
                yield attempts.by(caller)

    def _controls(self) -> Iterator[Coroutine[Any, Any, None]]:
        for name, known in self._plan.recipes.items():
            for victim in self._canaries:
                tokens = {Owner.TENANT: self._plan.tokens.owner(victim), Owner.PLATFORM: self._plan.platform}
                for recipe in known:
                    if isinstance(recipe, Recipe):
                        attempts = Attempts(self._asker, name, recipe, victim, self.ledger)
                        yield self._control(attempts, name, tokens.get(recipe.owner), recipe)

    async def _control(self, attempts: Attempts, name: str, token: str | None, recipe: Recipe) -> None:
        if token is None and recipe.owner is Owner.PLATFORM:
            reason = "needs a platform admin's token for its positive control"
            self.ledger.findings.append(Finding(Kind.VOID, name, reason))
        else:
            await attempts.by_owner(token)

    async def _look_for_intruders(self) -> None:
        for canary in self._canaries:
            try:
                found = await intruders(self._asker, canary, self._plan.tokens.owner(canary))
            except (UnavailableError, ValueError, KeyError) as error:
                reason = f"the tenant's log could not be read at the end: {error}"
                self.ledger.findings.append(Finding(Kind.VOID, "append_event", reason, victim=canary.tenant_id))
                continue
            for each in found:
                reason = f"the event {each} was stored by another"
                self.ledger.findings.append(Finding(Kind.LEAK, "append_event", reason, victim=canary.tenant_id))
