"""Two API processes beside an instance's own: the product's application, and one that records no reads.

The second lies in the source checkout alone (`bench/access`): what records reads has no switch that could be asked for.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import httpx

from tallystick.bench.instance import Instance
from tallystick.errors import ConfigurationError

PROGRAM: Final = Path(__file__).resolve().parents[3] / "bench" / "access" / "serve.py"

Side: TypeAlias = Literal["recorded", "unrecorded"]
SIDES: Final[tuple[Side, Side]] = ("unrecorded", "recorded")

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Door:
    """An API process.

    Attributes:
        url: Without a path.
        pid: Its number.
    """

    url: str
    pid: int


@contextlib.contextmanager
def both_doors(instance: Instance) -> Generator[Mapping[Side, Door]]:
    """Run both until the block ends.

    Raises:
        ConfigurationError: The source checkout is not there, or one does not start.
    """
    if not PROGRAM.exists():
        raise ConfigurationError(
            "the application that records nothing lies in the source checkout (bench/access): run the benchmark there"
        )
    with contextlib.ExitStack() as open_doors:
        yield {side: open_doors.enter_context(_door(instance, side)) for side in SIDES}


@contextlib.contextmanager
def _door(instance: Instance, side: Side) -> Generator[Door]:
    log_file = instance.home / "logs" / f"bench-{side}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    watched, held = os.pipe()  # its end tells the process that we are gone, however that came
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, log_file.open("ab") as log:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, str(PROGRAM), side, str(listener.fileno()), str(watched)],
                env={
                    **os.environ,
                    "TALLYSTICK_HOME": str(instance.home),
                    "TALLYSTICK_DATABASE__URL": instance.postgres().url,
                    "TALLYSTICK_LOGGING__FORMAT": "json",
                },
                pass_fds=(listener.fileno(), watched),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        try:
            _wait_until_up(url, process, log_file)
            yield Door(url, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        os.close(held)
        os.close(watched)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        time.sleep(0.1)
    said = log_file.read_text(encoding="utf-8", errors="replace").strip()[-1000:]
    raise ConfigurationError(f"the API process of {PROGRAM} did not start; it said: {said or 'nothing'}")
