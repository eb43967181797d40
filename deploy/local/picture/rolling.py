"""A new release under load: the schema first, then one process after the other, each handed over before the next."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from picture.release import Release
from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child, ChildSpec

_UP_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Rolled:
    """A process of ours that a new release takes the place of.

    Attributes:
        child: It.
        spec: How it runs a release.
        server: Its name in the balancer; None where that does not know it.
    """

    child: Child
    spec: Callable[[Release], ChildSpec]
    server: str | None = None


@dataclass(slots=True)
class Roll:
    """The processes and the release that they run.

    Attributes:
        processes: In the order in which they are replaced: API processes first, see `docs/how-to/upgrade.md`.
        until_up: Waits until the balancer sends to these, so many seconds at most (see `Balancer.until_up`).
        environment: In which the schema is migrated.
        release: What runs now.
    """

    processes: Sequence[Rolled]
    until_up: Callable[[set[str], float], Awaitable[None]]
    environment: Mapping[str, str]
    release: Release
    _rolling: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def to(self, release: Release, report: Callable[[str], None]) -> None:
        """Replace everything. Where that fails, what was replaced is put back; the schema stays: old code runs on it.

        Args:
            release: The new one.
            report: Told of each step.

        Raises:
            ConfigurationError: It was not done.
        """
        if self._rolling.locked():
            raise ConfigurationError("another roll is under way: wait for its end")
        async with self._rolling:
            await release.migrate(self.environment)
            report("the schema is migrated")
            begun: list[Rolled] = []
            try:
                for each in self.processes:
                    await self._until_others_serve(each)
                    begun.append(each)
                    await self._replace(each, release)
                    report(f"{each.child.spec.name} runs the release in {release.tree}")
            except ConfigurationError as error:
                report(f"{error}: going back to the release in {self.release.tree}")
                await self._go_back(begun, report)
                raise
            self.release = release

    async def _go_back(self, begun: Sequence[Rolled], report: Callable[[str], None]) -> None:
        """Put the last one back at once, since it serves nobody. One that fails keeps no other from its way back."""
        for each in reversed(begun):
            try:
                if each is not begun[-1]:
                    await self._until_others_serve(each)
                await self._replace(each, self.release)
            except ConfigurationError as error:
                report(str(error))

    async def _until_others_serve(self, each: Rolled) -> None:
        """Never end the last one that takes requests."""
        if each.server is not None:
            others = {other.server for other in self.processes if other.server and other is not each}
            await self.until_up(others, _UP_SECONDS)

    async def _replace(self, each: Rolled, release: Release) -> None:
        await each.child.replace(each.spec(release))
        if each.server is not None:
            await self.until_up({each.server}, _UP_SECONDS)
