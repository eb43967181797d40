"""Clients of services of AWS, with credentials found as AWS's own tools find them."""

import ipaddress
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
from aiobotocore.session import AioSession  # pyright: ignore[reportMissingTypeStubs]

from tallystick.errors import ConfigurationError


async def find_client(
    service: str, called: str, *, region: str, endpoint: str | None, config: AioConfig
) -> AbstractAsyncContextManager[Any]:
    """Find credentials, and make a client that is yet to be entered; the service itself is not asked anything.

    Args:
        service: As AWS names it.
        called: As our messages name it.
        region: Where it is.
        endpoint: URL of another service that speaks the same; that of the region when None. One on this machine needs
            no credentials.
        config: Time-outs and attempts.

    Raises:
        ConfigurationError: There are no credentials.
        BotoCoreError, ValueError: The settings of AWS or ours cannot be used.
    """
    session: Any = AioSession()
    if local := is_loopback(endpoint):
        # A service on this machine is no reason to ask the network of a cloud who we are.
        session.get_component("credential_provider").remove("iam-role")
    found = await session.get_credentials()
    if found is None and not local:
        raise ConfigurationError(
            f"no AWS credentials were found for {called}: give this machine a role, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    # Not a secret: what a service on this machine is told where nobody has credentials.
    anonymous = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "anonymous") if found is None else {}
    return session.create_client(service, region_name=region, endpoint_url=endpoint, config=config, **anonymous)


def is_loopback(endpoint: str | None) -> bool:
    """Whether an endpoint lies on this machine."""
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
