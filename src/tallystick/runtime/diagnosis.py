"""Why PostgreSQL did not start, from what it wrote, in a message that says what to do."""

import os
from pathlib import Path

from tallystick.errors import ConfigurationError

_CAUSES = (
    (
        ("No space left on device", "Disk quota exceeded"),
        "the disk is full where {where} lies: free some space and start again",
    ),
    (
        ("Permission denied", "Operation not permitted"),
        "permission denied: check who owns {where} and what is in it, or choose another TALLYSTICK_HOME",
    ),
    (
        ("could not create shared memory segment", "could not map anonymous shared memory"),
        "not enough shared memory: free some memory, or raise the kernel's limits",
    ),
)


def recent_lines(file: Path, since: int) -> list[str]:
    """The last lines of a log file, of those after byte ``since``; all count in one that was emptied meanwhile."""
    try:
        with file.open("rb") as opened:
            opened.seek(since if os.fstat(opened.fileno()).st_size >= since else 0)
            return opened.read().decode(errors="replace").splitlines()[-200:]
    except OSError:
        return []


def explain(lines: list[str], what: str, where: Path) -> ConfigurationError:
    """Make the error from what PostgreSQL wrote before it gave up.

    Args:
        lines: Its output. Its messages are in English, see `EmbeddedPostgres.initialise`.
        what: What failed.
        where: The data directory.
    """
    text = "\n".join(lines)
    for signs, advice in _CAUSES:
        if any(sign in text for sign in signs):
            return ConfigurationError(f"{what}: {advice.format(where=where)}")
    fatal = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "ERROR:", "error:"))]
    reasons = fatal or lines[-1:] or ["it said nothing"]
    return ConfigurationError(f"{what}: {reasons[-1].strip()}")
