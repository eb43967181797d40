"""`compose.yaml` as an engine reads it, the secrets that its containers are given, and programs in their places."""

import re
import runpy
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tallystick.runtime.servers.local import HOST

ROOT = Path(__file__).parents[1]
CONTAINER = ROOT / "deploy" / "container"

OWN_IMAGE = "tallystick"
DEADLINE = 60.0
MOUNTED_SECRETS = "/run/secrets/"

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+):-(?P<default>[^}]*)\}")


def interpolated(text: str) -> str:
    """What becomes of a value where none of its variables is set (compose specification, "Interpolation")."""
    return _VARIABLE.sub(lambda found: "$" if found["name"] is None else found["default"], text)


def _everywhere(node: Any) -> Any:
    if isinstance(node, str):
        return interpolated(node)
    if isinstance(node, list):
        return [_everywhere(each) for each in node]  # pyright: ignore[reportUnknownVariableType]  # of YAML
    if isinstance(node, dict):
        return {name: _everywhere(each) for name, each in node.items()}  # pyright: ignore[reportUnknownVariableType]
    return node


@cache
def composition() -> dict[str, Any]:
    """The whole file."""
    return _everywhere(yaml.safe_load((ROOT / "compose.yaml").read_text()))


def services() -> dict[str, dict[str, Any]]:
    """Its services by name."""
    return composition()["services"]


def own_services() -> dict[str, dict[str, Any]]:
    """Those that run the image made of this tree."""
    return {name: each for name, each in services().items() if each["image"].startswith(f"{OWN_IMAGE}:")}


def mounted_files(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The files of this tree that a service sees, and where."""
    for volume in service.get("volumes", ()):
        source, _, target = volume.partition(":")
        if source.startswith("."):
            yield source, target.removesuffix(":ro")


def moved(text: str, places: Mapping[str, str]) -> str:
    """A text with other places in it; of two that match, the longer one is meant."""
    return re.sub("|".join(sorted(map(re.escape, places), reverse=True)), lambda found: places[found[0]], text)


def secret_places(folder: Path) -> dict[str, str]:
    """Where the secrets in a folder are, by where containers find them."""
    declared = composition()["secrets"].items()
    return {MOUNTED_SECRETS + name: str(folder / Path(each["file"]).name) for name, each in declared}


def prepare_secrets(folder: Path, *hosts: str) -> Path:
    """Make the secrets as one does before the first start, in a folder of their own; returns that of the files."""
    script = folder / "prepare.py"
    if not script.exists():
        shutil.copy(CONTAINER / script.name, script)
    runpy.run_path(str(script))["main"](hosts)
    return folder / "secrets"


def image_environment() -> dict[str, str]:
    """What the image sets for its processes, but for the search path, which is of its own file system."""
    *_, last = re.findall(r"^ENV ((?:.*\\\n)*.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    variables = dict(each.split("=", 1) for each in last.replace("\\\n", " ").split())
    del variables["PATH"]
    return variables


@contextmanager
def part(command: Sequence[str | Path], environment: Mapping[str, str], port: int, log: Path) -> Generator[None]:
    """A server that takes connections, until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
    try:
        end = time.monotonic() + DEADLINE
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
