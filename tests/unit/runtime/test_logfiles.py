import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tallystick.runtime.logfiles import LARGEST_PART, OLD_PARTS, Dropped, keep_bounded, rotate

DEADLINE = 60.0
MEGABYTE = 1024 * 1024

_WRITER = """
import os
line = b"x" * 1023 + b"\\n"
while True:
    os.write(2, line * 64)
"""


def _parts(log: Path) -> list[bytes]:
    """The first bytes of each older part, newest first."""
    return [log.with_name(f"{log.name}.{age}").read_bytes()[:1] for age in range(1, OLD_PARTS + 1)]


def test_a_large_log_is_emptied_and_three_older_parts_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    assert rotate(log) is None
    for generation in range(5):
        with log.open("wb") as file:
            file.write(str(generation).encode())
            file.truncate(9 * MEGABYTE)
        assert rotate(log) is None
        assert log.stat().st_size == 0
    assert _parts(log) == [b"4", b"3", b"2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.log", "api.log.1", "api.log.2", "api.log.3"]
    assert log.with_name("api.log.1").stat().st_mode & 0o777 == 0o600


def test_a_small_log_stays(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("short")
    assert rotate(log) is None
    assert log.read_text() == "short"
    assert list(tmp_path.iterdir()) == [log]


def test_of_a_huge_log_the_newest_part_is_kept_and_the_rest_counted(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("wb") as file:
        file.truncate(LARGEST_PART + MEGABYTE)
        file.seek(-3, os.SEEK_END)
        file.write(b"end")
    assert rotate(log) == Dropped(MEGABYTE, "more was written than is kept")
    kept = log.with_name("api.log.1")
    assert kept.stat().st_size == LARGEST_PART
    assert kept.read_bytes().endswith(b"end")


def test_a_writer_goes_on_at_the_start_of_the_emptied_file(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old" + b"\0" * 9 * MEGABYTE)
        rotate(log)
        writer.write(b"new")
    assert log.read_bytes() == b"new"


def test_what_a_full_disk_does_not_take_is_dropped_and_counted(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("wb") as file:
        file.truncate(9 * MEGABYTE)
    code = f"""
import pathlib, resource
from tallystick.runtime.logfiles import rotate
resource.setrlimit(resource.RLIMIT_FSIZE, ({MEGABYTE}, {MEGABYTE}))
print(rotate(pathlib.Path({str(log)!r})))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == repr(Dropped(9 * MEGABYTE, os.strerror(errno.EFBIG)))
    assert log.stat().st_size == 0
    assert list(tmp_path.iterdir()) == [log]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    with precious.open("wb") as file:
        file.truncate(9 * MEGABYTE)
    log = tmp_path / "api.log"
    log.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        rotate(log)
    assert precious.stat().st_size == 9 * MEGABYTE


def test_the_log_of_a_process_that_never_stops_writing_stays_bounded(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with log.open("ab") as output:
        writer = subprocess.Popen([sys.executable, "-c", _WRITER], stderr=output)
    try:
        end = monotonic() + DEADLINE
        while not log.with_name(f"{log.name}.{OLD_PARTS}").exists():
            rotate(log)
            assert monotonic() < end
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    rotate(log)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == OLD_PARTS + 1
    assert max(sizes) <= LARGEST_PART


async def test_a_file_that_cannot_be_kept_small_is_told_once_and_keeps_no_other_from_it(tmp_path: Path) -> None:
    (tmp_path / "a.log").mkdir()
    other = tmp_path / "b.log"
    said: asyncio.Queue[str] = asyncio.Queue()
    keeping = asyncio.create_task(keep_bounded(tmp_path, said.put_nowait, interval=0.001))
    async with asyncio.timeout(DEADLINE):
        assert await said.get() == f"{tmp_path / 'a.log'} cannot be kept small: Is a directory"
        for _ in range(3):
            with other.open("wb") as file:
                file.truncate(LARGEST_PART + 1)
            assert await said.get() == "1 bytes of b.log dropped: more was written than is kept"
            assert other.stat().st_size == 0
    keeping.cancel()
    await asyncio.wait([keeping])
