"""The compiled load generator wrk: its scripts are made here, and its answer is read here."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tallystick.bench.report import Latency
from tallystick.errors import ConfigurationError

_MARK: Final = "FIGURES "
_REQUEST_TIMEOUT: Final = "60s"

_LINES = """\
-- One event a request: a line of the bank, made unique by a request_id of its own.
local bank = {}
for line in io.lines(BANK) do bank[#bank + 1] = line:sub(2) end
local threads = 0
function setup(thread) thread:set("number", threads) threads = threads + 1 end
function init(arguments) sent = number * 7919 end
function request()
  sent = sent + 1
  local request_id = RUN .. "-" .. number .. "-" .. sent
  return wrk.format(nil, nil, nil, '{"request_id":"' .. request_id .. '",' .. bank[sent % #bank + 1])
end
"""

_WHOLE = """\
-- Whole bodies in turn, made into requests once.
local threads = 0
function setup(thread) thread:set("number", threads) threads = threads + 1 end
function init(arguments)
  sent, requests = number * 7919, {}
  for index, path in ipairs(BODIES) do
    local file = assert(io.open(path, "rb"))
    requests[index] = wrk.format(nil, nil, nil, file:read("*a"))
    file:close()
  end
end
function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end
"""

_COUNT = """\
-- Counting answers by status costs the generator a little, so it is done only where failures are expected.
local all = {}
local setup_number = setup
function setup(thread) setup_number(thread) all[#all + 1] = thread end
counts = ""
local tally = {}
function response(status)
  tally[status] = (tally[status] or 0) + 1
  local parts = {}
  for code, count in pairs(tally) do parts[#parts + 1] = '"' .. code .. '":' .. count end
  counts = table.concat(parts, ",")
end
"""

_DONE = """\
function done(summary, latency, requests)
  local counted = {}
  for _, thread in ipairs(all or {}) do
    local text = thread:get("counts")
    if text ~= "" then counted[#counted + 1] = "{" .. text .. "}" end
  end
  io.write(MARK .. string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"counted":[%s]}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout, summary.errors.status,
    table.concat(counted, ",")) .. "\\n")
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk is to send.

    Attributes:
        url: Where to, path included.
        bodies: The request bodies, sent in turn.
        unique: Whether each body is a JSON object that gets a `request_id` of its own.
        token: Bearer token, or None.
        connections: Keep-alive connections.
        seconds: How long.
        count_statuses: Whether answers are counted by status; else any failure makes `Running.wait` fail.
    """

    url: str
    bodies: Sequence[bytes]
    unique: bool
    token: str | None
    connections: int
    seconds: float
    count_statuses: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What wrk measured.

    Attributes:
        requests: Answers received, of any status.
        seconds: How long it ran.
        failed: Answers of status 400 and up.
        broken: Connections refused or broken, and requests unanswered in time.
        statuses: Answers by status, when they were counted.
    """

    requests: int
    seconds: float
    latency: Latency
    failed: int
    broken: int
    statuses: dict[str, int]


def find() -> str:
    """Find wrk on the PATH.

    Raises:
        ConfigurationError: It is not there; the message says how to install it.
    """
    program = shutil.which("wrk")
    if program is None:
        raise ConfigurationError(
            "the benchmark needs the load generator wrk: install it "
            "(Debian, Ubuntu: apt-get install wrk; macOS: brew install wrk)"
        )
    return program


def script(load: Load, folder: Path, run: str) -> str:
    """Write the bodies into ``folder`` and make the Lua script that sends them.

    Args:
        load: What to send.
        folder: A private folder: the script holds the token, so that the process list does not.
        run: Begins every `request_id`.

    Raises:
        ValueError: A body that should get a `request_id` is not a JSON object on one line.
    """
    head = ['wrk.method = "POST"', 'wrk.headers["Content-Type"] = "application/json"']
    if load.token is not None:
        head.append(f'wrk.headers["Authorization"] = {_lua(f"Bearer {load.token}")}')
    head += [f"local MARK = {_lua(_MARK)}", f"local RUN = {_lua(run)}"]
    if load.unique:
        if any(not body.startswith(b"{") or b"\n" in body for body in load.bodies):
            raise ValueError("a body that gets a request_id must be a JSON object on one line")
        bank = folder / "bank.ndjson"
        bank.write_bytes(b"".join(body + b"\n" for body in load.bodies))
        head.append(f"local BANK = {_lua(str(bank))}")
    else:
        paths = [folder / f"body-{index}.json" for index in range(len(load.bodies))]
        for path, body in zip(paths, load.bodies, strict=True):
            path.write_bytes(body)
        head.append(f"local BODIES = {{{', '.join(_lua(str(path)) for path in paths)}}}")
    parts = ["\n".join(head), _LINES if load.unique else _WHOLE]
    parts.append(_COUNT if load.count_statuses else "local all = nil\n")
    return "\n".join([*parts, _DONE])


def _lua(text: str) -> str:
    """A Lua string literal; JSON's escapes of plain ASCII text are Lua's as well."""
    if not text.isascii() or not text.isprintable():
        raise ValueError("only printable ASCII goes into a script")
    return json.dumps(text)


def read_outcome(output: str) -> Outcome:
    """Read what the script's ``done`` printed.

    Raises:
        ConfigurationError: There is no such line: wrk ended early, and the message has its output.
    """
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise ConfigurationError(f"wrk ended without figures: {output.strip()[-500:] or 'it said nothing'}")
    figures: dict[str, Any] = json.loads(line.removeprefix(_MARK))
    statuses: dict[str, int] = {}
    for counted in figures["counted"]:
        for status, count in counted.items():
            statuses[status] = statuses.get(status, 0) + count
    return Outcome(
        requests=figures["requests"],
        seconds=figures["duration_us"] / 1_000_000,
        latency=Latency(p50=figures["p50_us"] / 1000, p99=figures["p99_us"] / 1000, max=figures["max_us"] / 1000),
        failed=figures["status"],
        broken=sum(figures[kind] for kind in ("connect", "read", "write", "timeout")),
        statuses=statuses,
    )


class Running:
    """A wrk that sends while its context lasts: leaving it ends the process.

    Args:
        load: What to send.
        run: Begins every `request_id`.
        apart: Whether it has a session of its own, as a client on another machine has cores of its own: where Linux
            shares cores out among sessions, it then takes nothing from what else this process measures.
    """

    def __init__(self, load: Load, run: str, *, apart: bool = False) -> None:
        self._load = load
        self._run = run
        self._apart = apart
        self._process: subprocess.Popen[str] | None = None
        self._output = ""
        self._left = ExitStack()

    def __enter__(self) -> Self:
        program = find()
        with self._left:
            folder = Path(self._left.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-bench-")))
            path = folder / "script.lua"
            path.write_text(script(self._load, folder, self._run), encoding="ascii")
            self._process = subprocess.Popen(  # noqa: S603 - the program that was found on the PATH
                [
                    *(program, "--threads", "1", "--connections", str(self._load.connections)),
                    *("--duration", f"{self._load.seconds:.0f}s", "--timeout", _REQUEST_TIMEOUT),
                    *("--script", str(path), self._load.url),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=self._apart,
            )
            self._left = self._left.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._left:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
            self._end()

    def _end(self) -> str:
        if self._process is not None:
            self._output, _ = self._process.communicate()
            self._process = None
        return self._output

    def wait(self) -> Outcome:
        """Wait for the end.

        Raises:
            ConfigurationError: A request failed, unless statuses are counted: such figures are worth nothing.
        """
        outcome = read_outcome(self._end())
        if outcome.broken or (outcome.failed and not self._load.count_statuses):
            raise ConfigurationError(
                f"{outcome.failed} of {outcome.requests} requests failed and {outcome.broken} connections or requests "
                "broke: these figures are worth nothing; look at the server's log"
            )
        return outcome


def send(load: Load, run: str) -> Outcome:
    """Send a load and wait for its end; see `Running.wait`."""
    with Running(load, run) as running:
        return running.wait()
