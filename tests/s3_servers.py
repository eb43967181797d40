"""An S3 server for tests: versitygw, built once from its pinned source where Go is there, else moto."""

import asyncio
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from botocore import session as botocore_session  # pyright: ignore[reportMissingTypeStubs]

from tallystick.errors import ConfigurationError
from tallystick.runtime.account import child_identity
from tallystick.runtime.servers.cache import kept
from tallystick.runtime.servers.local import HOST, LocalServer, plain_environment
from tallystick.settings import ObjectSettings

MODULE, VERSION = "github.com/versity/versitygw", "1.8.0"
SUM = "h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc="
"""What the source must hash to (https://go.dev/ref/mod#go-sum-files); its own go.sum holds what it is built with."""

BUCKET = "tallystick-test"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test-access", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}

CHOICE = "TALLYSTICK_TEST_S3"
"""Names the environment variable that chooses `versitygw` or `moto`."""


def s3_settings(url: str, prefix: str) -> ObjectSettings:
    """Settings of a store in the session's server, under a prefix of its own."""
    return ObjectSettings(url=f"s3://{BUCKET}/{prefix}", endpoint=url, path_style=True)


def make_bucket(url: str, name: str = BUCKET) -> None:
    """Make a bucket, that of all tests unless another is named, if it is not there."""
    session: Any = botocore_session.Session()
    client = session.create_client("s3", region_name="us-east-1", endpoint_url=url)
    with closing(client):
        if name not in [each["Name"] for each in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=name)


async def prepare(folder: Path, port: int, report: Callable[[str], None]) -> LocalServer:
    """Make what the server needs."""
    wanted = os.environ.get(CHOICE, "versitygw" if shutil.which("go") else "moto")
    if wanted == "versitygw":
        try:
            return await _versitygw(folder, port)
        except ConfigurationError as error:
            if CHOICE in os.environ:
                raise
            report(f"versitygw cannot be built, so moto takes its place: {error}")
    return moto(folder, port)


async def _versitygw(folder: Path, port: int) -> LocalServer:
    program = await kept(f"versitygw-{VERSION}-{SUM[3:11]}", _build)
    data, beside = folder / "objects", folder / "metadata"
    data.mkdir()
    beside.mkdir()
    return LocalServer(
        name="versitygw",
        url=f"http://{HOST}:{port}",
        health="/health",
        command=(
            *(str(program / "versitygw"), "--quiet", "--health", "/health", "--port", f"{HOST}:{port}"),
            *("posix", "--sidecar", str(beside), str(data)),
        ),
        environment=plain_environment(
            ROOT_ACCESS_KEY=CREDENTIALS["AWS_ACCESS_KEY_ID"], ROOT_SECRET_KEY=CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        ),
        folder=folder,
        identity=child_identity(None),
    )


async def _build(folder: Path) -> None:
    found = json.loads(await _go("mod", "download", "-json", f"{MODULE}@v{VERSION}"))
    if found["Sum"] != SUM:
        raise ConfigurationError(f"the source of {MODULE} is not the one that was chosen: {found['Sum']}")
    # To optimise it and to describe it for a debugger would be half the time.
    await _go(
        *("build", "-C", found["Dir"], "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w"),
        *("-o", str(folder / "versitygw"), "./cmd/versitygw"),
    )


async def _go(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        "go",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "GOGC": "400"},  # collecting its garbage is a tenth of a build
    )
    out, err = await process.communicate()
    if process.returncode:
        raise ConfigurationError(err.decode(errors="replace")[-300:])
    return out


def moto(folder: Path, port: int) -> LocalServer:
    """Moto's server, which speaks S3, KMS and more."""
    assert importlib.util.find_spec("moto"), "run `make setup`"
    return LocalServer(
        name="moto",
        url=f"http://{HOST}:{port}",
        health="/moto-api/",
        command=(sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)),
        environment=plain_environment(AWS_DEFAULT_REGION="us-east-1"),
        folder=folder,
        identity=child_identity(None),
    )
