"""What a folder of objects needs beside `obstore`: modes of files, and what killed uploads left."""

import asyncio
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tallystick.errors import ConfigurationError

_PART: Final = re.compile(r"(.+)#[0-9]+")
"""Where `obstore` keeps an upload until it is whole; such files it never lists."""


def private_folder(folder: Path) -> Path:
    """Make a folder that nobody else may look into; returns it as an absolute path.

    Raises:
        ConfigurationError: It cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the folder of the object store {folder} ({error.strerror}): mend its permissions, or name "
            "another with TALLYSTICK_OBJECTS__URL"
        ) from error
    return folder.resolve()


def restrict(file: Path) -> None:
    """Let nobody else read or write a file."""
    file.chmod(0o600)


def sync(folder: Path, key: str) -> None:
    """Write an object and the folders on the way to it to the disk."""
    file = folder / key
    for path in (file, *(parent for parent in file.parents if parent.is_relative_to(folder))):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _unless_gone(error: OSError) -> None:
    """Pass over a folder that went while its parent was looked at: the last object of a folder takes it along."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


class FolderUploads:
    """Uploads into a folder that nobody will finish.

    Args:
        folder: Of all objects.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def prepare(self) -> None:
        """Do nothing: a folder asks for no credentials."""

    async def keys(self, prefix: str) -> Sequence[str]:
        """See `Objects.unfinished`."""
        return await asyncio.to_thread(self._keys, prefix)

    async def abort(self, key: str) -> None:
        """See `Objects.abort`."""
        await asyncio.to_thread(self._abort, key)

    def _keys(self, prefix: str) -> Sequence[str]:
        files = (
            str(Path(parent, name).relative_to(self._folder))
            for parent, _, names in os.walk(self._folder / prefix, onerror=_unless_gone)
            for name in names
        )
        return sorted({match[1] for file in files if (match := _PART.fullmatch(file))})

    def _abort(self, key: str) -> None:
        file = self._folder / key
        for part in file.parent.glob(f"{file.name}#*"):
            part.unlink(missing_ok=True)
        with suppress(OSError):  # not there, or something else is in it
            file.parent.rmdir()
