"""A new release under load: the schema first, then one process after the other, each handed over before the next."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from picture.balancer import Balancer
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
        balancer: Sends to them.
        environment: In which the schema is migrated.
        release: What runs now.
    """

    processes: Sequence[Rolled]
    balancer: Balancer
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
                    begun.append(each)
                    await self._replace(each, release)
                    report(f"{each.child.spec.name} runs the release in {release.tree}")
            except ConfigurationError as error:
                report(f"{error}: going back to the release in {self.release.tree}")
                for each in reversed(begun):
                    await self._replace(each, self.release)
                raise
            self.release = release

    async def _replace(self, each: Rolled, release: Release) -> None:
        """Never the last one that takes requests: the others must have been found ready, and so is this one then."""
        others = {other.server for other in self.processes if other.server and other is not each}
        if each.server is not None:
            await self.balancer.until_up(others, _UP_SECONDS)
        await each.child.replace(each.spec(release))
        if each.server is not None:
            await self.balancer.until_up({each.server}, _UP_SECONDS)
