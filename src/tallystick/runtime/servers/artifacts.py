"""What a server is made of: artifacts of Maven repositories, fetched by their coordinates and checked by their digests.

A list beside this module (``elasticmq.lock``) names every file of a server, so nothing is resolved and nothing is
trusted but the list. Lines are ``<SHA-256> <bytes> <group>:<artifact>:<version>:<type>``;
``scripts/lock_artifacts.py`` makes them anew.
"""

import asyncio
import hashlib
import importlib.util
import os
import shutil
import ssl
import sys
import zipfile
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

from tallystick.errors import ConfigurationError
from tallystick.runtime.servers.cache import kept

Fetching: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Entered for a fetch, with what is fetched and its size in bytes; gives what is told how many bytes are here."""


@contextmanager
def untold(_name: str, _total: int) -> Generator[Callable[[int], None]]:
    """A `Fetching` that tells nobody."""
    yield lambda _: None


_LOOK_SECONDS: Final = 0.2
_LAST_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a Maven repository.

    Attributes:
        coordinates: ``group:artifact:version:type``.
        size: In bytes.
        sha256: In hex.
    """

    coordinates: str
    size: int
    sha256: str

    @property
    def place(self) -> Path:
        """Where it lies in a repository."""
        group, artifact, version, packaging = self.coordinates.split(":")
        return Path(*group.split("."), artifact, version, f"{artifact}-{version}.{packaging}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """All files of one server.

    Attributes:
        name: The server's, for a person.
        version: The server's.
        lock: The list.
    """

    name: str
    version: str
    lock: Traversable

    def artifacts(self) -> tuple[Artifact, ...]:
        """The files that the list names."""
        lines = (line.split() for line in self.lock.read_text().splitlines() if line and not line.startswith("#"))
        return tuple(Artifact(coordinates, int(size), sha256) for sha256, size, coordinates in lines)

    async def installed(self, fetching: Fetching, prune: Sequence[str] = ()) -> Path:
        """The folder of the files, with archives unpacked; fetched the first time.

        Args:
            fetching: See `Fetching`.
            prune: Folders that are removed after unpacking.

        Raises:
            ConfigurationError: They cannot be fetched, or are not what the list says.
        """
        digest = hashlib.sha256("\n".join((self.lock.read_text(), *prune)).encode()).hexdigest()[:8]

        async def make(folder: Path) -> None:
            repository = folder / "repository"
            repository.mkdir()
            await self._fetch(repository, fetching)
            await asyncio.to_thread(self._lay_out, repository, folder)
            for each in (repository, *(folder / path for path in prune)):
                await asyncio.to_thread(shutil.rmtree, each)

        return await kept(f"{self.name.lower()}-{self.version}-{digest}", make)

    async def _fetch(self, repository: Path, fetching: Fetching) -> None:
        artifacts = self.artifacts()
        with fetching(f"{self.name} {self.version}", sum(each.size for each in artifacts)) as tell:
            watching = asyncio.create_task(_watch(repository, tell))
            try:
                await self._run(_command(repository, [each.coordinates for each in artifacts]))
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    async def _run(self, command: Sequence[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
        )
        try:
            output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
            raise ConfigurationError(
                f"{self.name} {self.version} could not be fetched by {Path(command[0]).name}: check that this machine "
                f"reaches its Maven repository, then try again. It said: {' '.join(lines[:_LAST_LINES])[:1000]}"
            )

    def _lay_out(self, repository: Path, folder: Path) -> None:
        for artifact in self.artifacts():
            file = repository / artifact.place
            if not file.is_file():
                raise ConfigurationError(f"{artifact.coordinates} of {self.name} was not fetched: try again")
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            if digest != artifact.sha256:
                raise ConfigurationError(
                    f"{artifact.coordinates} of {self.name} is not the file that was expected (SHA-256 {digest}, not "
                    f"{artifact.sha256}): nothing of it was used. Try again; if it stays so, distrust where it comes "
                    "from"
                )
            if file.suffix == ".zip":
                _unpack(file, folder)
            else:
                file.rename(folder / file.name)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive without the one folder that holds everything in it."""
    inside = folder / "unpacked"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(inside)
    (top,) = inside.iterdir()
    for each in top.iterdir():
        each.rename(folder / each.name)
    shutil.rmtree(inside)


def _environment() -> dict[str, str]:
    """Ours, with the authorities that this machine trusts, unless others are named.

    A fetch would else know those of its own list alone, and fail behind a proxy that a company vouches for.
    """
    trusted = ssl.get_default_verify_paths().cafile
    return {**({"REQUESTS_CA_BUNDLE": trusted} if trusted else {}), **os.environ}


def _command(repository: Path, coordinates: Sequence[str]) -> list[str]:
    """The command that fetches artifacts, and not what they depend on, into a repository's folder."""
    if maven := shutil.which("mvn"):
        pom = repository / "pom.xml"
        pom.write_text(_pom(coordinates))
        return [maven, "-B", "-q", "-f", str(pom), f"-Dmaven.repo.local={repository}", "dependency:resolve"]
    if importlib.util.find_spec("jgo") is None:
        raise ConfigurationError(
            "neither Maven nor the package jgo is here to fetch it: install Maven, or the dependency group "
            "local-services (`make setup` does)"
        )
    return [sys.executable, "-m", "tallystick.runtime.servers.without_maven", str(repository), *coordinates]


def _pom(coordinates: Sequence[str]) -> str:
    dependencies: list[str] = []
    for each in coordinates:
        group, artifact, version, packaging = map(escape, each.split(":"))
        dependencies.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
            f"<type>{packaging}</type><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>"
            "</exclusions></dependency>"
        )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>tallystick</groupId><artifactId>servers</artifactId>"
        f"<version>1</version><dependencies>{''.join(dependencies)}</dependencies></project>"
    )


async def _watch(folder: Path, tell: Callable[[int], None]) -> None:
    """Tell the size of a folder as it grows."""
    while True:
        tell(await asyncio.to_thread(_size, folder))
        await asyncio.sleep(_LOOK_SECONDS)


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except OSError:  # it is being renamed
                continue
    return total
