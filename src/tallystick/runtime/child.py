"""One supervised child process: started, watched, started again with growing pauses, ended."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tallystick.errors import ConfigurationError
from tallystick.runtime.account import ChildIdentity
from tallystick.runtime.diagnosis import recent_lines

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_STEADY_SECONDS = 10.0
"""Who lived this long is started again with the shortest pause."""

Process = asyncio.subprocess.Process


async def _nothing() -> None:
    return


async def _ready_at_once(_: Process, __: int) -> None:
    return


def _forget(_: int) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """How a child is started and ended.

    Attributes:
        name: In messages and of its log file.
        command: Its command line; asked for at every start.
        log_file: Takes what it writes.
        environment: All of its environment.
        inherited: File descriptors that it keeps.
        identity: Whom it runs as.
        folder: Its working directory; ours when None.
        stop_signals: Sent one after the other, each when the one before did not end it within its seconds.
        before: Done before every start.
        ready: Waits until it works, given the process and the length of its log file before the start.
        after: Given the number of every process that ended.
    """

    name: str
    command: Callable[[], list[str]]
    log_file: Path
    environment: Mapping[str, str]
    inherited: tuple[int, ...] = ()
    identity: ChildIdentity = field(default_factory=ChildIdentity)
    folder: str | None = None
    stop_signals: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 30), (signal.SIGKILL, 10))
    before: Callable[[], Awaitable[None]] = _nothing
    ready: Callable[[Process, int], Awaitable[None]] = _ready_at_once
    after: Callable[[int], None] = _forget


class Child:
    """A process that is to run until `stop`.

    Args:
        spec: How.
        report: Told of deaths and restarts.
    """

    def __init__(self, spec: ChildSpec, report: Callable[[str], None]) -> None:
        self.spec = spec
        self._report = report
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._log_since = 0
        self._born = 0.0

    @property
    def pid(self) -> int | None:
        """The number of the running process."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process, wait until it is ready, and keep it running from then on.

        Raises:
            ConfigurationError: It cannot be started or does not become ready.
        """
        await self._spawn()
        self._watch = asyncio.create_task(self._keep())

    async def _spawn(self) -> None:
        try:
            await self.spec.before()
            process = await self._create()
        except (OSError, psutil.Error) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ConfigurationError(f"{self.spec.name} cannot be started: {reason}") from error
        self._process = process
        self._born = asyncio.get_running_loop().time()
        try:
            await self.spec.ready(process, self._log_since)
        except Exception:
            await self._end(process)
            raise

    async def _create(self) -> Process:
        with self.spec.log_file.open("ab") as log:
            self._log_since = log.tell()
            return await asyncio.create_subprocess_exec(
                *self.spec.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.spec.folder,
                env=self.spec.environment,
                pass_fds=self.spec.inherited,
                # A terminal's Ctrl-C is for us: children are ended in their order. And cores that are shared out among
                # sessions are shared out among children.
                start_new_session=True,
                **self.spec.identity,
            )

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while self._process is not None:
            code = await self._process.wait()
            self._clean_up(self._process)
            pause = _FIRST_PAUSE if loop.time() - self._born > _STEADY_SECONDS else pause
            self._report(f"{self.spec.name} {manner_of_death(code)}: starting it again in {pause:.1f} s")
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                try:
                    await self._spawn()
                except ConfigurationError as error:
                    self._report(f"{error}; trying again in {pause:.1f} s")
                except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would start the child again
                    self._report(f"{self.spec.name} was not started: {error!r}; trying again in {pause:.1f} s")
                else:
                    self._report(f"{self.spec.name} runs again")
                    break

    async def died(self) -> str:
        """Wait for the next death, and tell its manner and the last line it wrote."""
        if self._process is None:
            return "was never started"
        code = await self._process.wait()
        lines = recent_lines(self.spec.log_file, self._log_since)
        return f"{manner_of_death(code)}{': ' + lines[-1] if lines else ''}"

    def send(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.pid is not None:
            os.kill(self.pid, number)

    async def stop(self) -> None:
        """End the process for good."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        if self._process is not None:
            await self._end(self._process)

    async def replace(self, spec: ChildSpec) -> None:
        """End the process, and run another one in its place.

        Raises:
            ConfigurationError: The other cannot be started or does not become ready. It is tried again from then on, as
                what dies is, until it is stopped or replaced.
        """
        await self.stop()
        self.spec = spec
        try:
            await self._spawn()
        finally:
            self._watch = asyncio.create_task(self._keep())

    async def _end(self, process: Process) -> None:
        for number, seconds in self.spec.stop_signals:
            if process.returncode is None:
                process.send_signal(number)
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                continue
            break
        self._clean_up(process)

    def _clean_up(self, process: Process) -> None:
        try:
            self.spec.after(process.pid)
        except Exception as error:  # noqa: BLE001 - what a process leaves behind keeps no other from its start or end
            self._report(f"{self.spec.name} left something behind: {error!r}")


def manner_of_death(code: int) -> str:
    """How a process ended, from its return code."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
