"""The cache of what is fetched once for all installations of a user: each entry appears whole and never changes."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tallystick.errors import ConfigurationError

_POLL: Final = 0.1
_UNFINISHED: Final = "unfinished-"


def cache_folder() -> Path:
    """Where the cache lies: `tallystick` in the user's cache directory (XDG Base Directory Specification 0.8)."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "tallystick"


async def kept(name: str, make: Callable[[Path], Awaitable[None]]) -> Path:
    """An entry of the cache, made if it is missing.

    Of several processes that want the same one makes it and the others wait. What a killed one left is removed.

    Args:
        name: Names one content for ever: a change of content needs another name.
        make: Fills the empty folder that it is given.

    Raises:
        ConfigurationError: The cache cannot be written, or as `make` raises it.
    """
    entry = cache_folder() / name
    if entry.is_dir():
        return entry
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        async with _alone(entry.parent / "lock"):
            for unfinished in entry.parent.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            if not entry.is_dir():
                await _make(entry, make)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {error.filename or entry} ({error.strerror}): make room or mend its permissions, or choose "
            "another cache folder with XDG_CACHE_HOME"
        ) from error
    return entry


async def _make(entry: Path, make: Callable[[Path], Awaitable[None]]) -> None:
    unfinished = tempfile.mkdtemp(prefix=_UNFINISHED, dir=entry.parent)
    try:
        os.chmod(unfinished, 0o755)  # noqa: PTH101, S103 - it holds nothing secret; a server may run as another account
        await make(Path(unfinished))
        os.rename(unfinished, entry)  # noqa: PTH104 - a quick call
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@asynccontextmanager
async def _alone(file: Path) -> AsyncGenerator[None]:
    """Hold a lock that the kernel lets go of when this process ends in whatever way."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)
