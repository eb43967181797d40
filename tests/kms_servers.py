"""A KMS server for tests: moto's, a process of its own that speaks KMS over HTTP."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from botocore import session as botocore_session  # pyright: ignore[reportMissingTypeStubs]

import s3_servers
from tallystick.runtime.servers.local import LocalServer


async def prepare(folder: Path, port: int, report: Callable[[str], None]) -> LocalServer:  # noqa: ARG001  (of its kind)
    """Make what the server needs."""
    return s3_servers.moto(folder, port)


def ask_kms(url: str, operation: str, **parameters: Any) -> dict[str, Any]:
    """Do to the server what an administrator does."""
    session: Any = botocore_session.Session()
    client = session.create_client("kms", region_name="us-east-1", endpoint_url=url)
    with closing(client):
        return getattr(client, operation)(**parameters)


def make_key(url: str) -> str:
    """Make a key; returns its ARN."""
    return ask_kms(url, "create_key")["KeyMetadata"]["Arn"]
