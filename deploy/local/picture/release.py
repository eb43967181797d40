"""A release: the tree of code that a process runs, and what runs it."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tallystick.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Release:
    """Code and its interpreter.

    Attributes:
        tree: A checkout.
        python: What runs it: that of the tree's own virtual environment where it has one, else ours.
    """

    tree: Path
    python: Path

    @classmethod
    def of(cls, tree: Path) -> "Release":
        """The release of a tree.

        Raises:
            ConfigurationError: There is none.
        """
        tree = tree.expanduser().resolve()
        if not (tree / "src" / "tallystick" / "__init__.py").is_file():
            raise ConfigurationError(f"{tree} is no checkout of Tallystick: name the folder that has src/tallystick")
        own = tree / ".venv" / "bin" / "python"
        return cls(tree, own if own.exists() else Path(sys.executable))

    def command(self, *arguments: str) -> list[str]:
        """The command line of one of its commands."""
        return [str(self.python), "-m", "tallystick", *arguments]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """An environment in which its code is found before any other's."""
        places = (self.tree / "src", self.tree / "packages" / "tlog" / "src")
        return {**given, "PYTHONPATH": ":".join(map(str, places))}

    async def migrate(self, given: Mapping[str, str]) -> None:
        """Bring the database's schema to its state. What runs meanwhile goes on.

        Raises:
            ConfigurationError: It refused.
        """
        process = await asyncio.create_subprocess_exec(
            *self.command("migrate"),
            env=self.environment(given),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise ConfigurationError(
                f"the schema was not migrated to the release in {self.tree}: {said.decode().strip()}"
            )
