"""What tasks are told by environment variables: every name is one of docs/reference/settings.md."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Aws
from aws_cdk import aws_secretsmanager as secretsmanager

from tallystick_aws import cache, database, objects, queues, secrets
from tallystick_aws.choices import Choices
from tallystick_aws.data import DataStack
from tallystick_aws.network import API_PORT

HOME: Final = "/var/lib/tallystick"

DRAIN_NOTICE: Final = 5
"""Seconds. ECS takes a task from the balancer and waits before it tells the task to stop, so little is left to see."""

DRAIN_TIMEOUT: Final = 30
IDLE: Final = 120
"""Seconds for which a connection through the balancer may be silent. Streams say something every 15."""


def common(choices: Choices, data: DataStack) -> dict[str, str]:
    """What all processes but the migration are told alike."""
    return {
        **_database(data),
        "TALLYSTICK_HOME": HOME,
        "TALLYSTICK_LOGGING__FORMAT": "json",
        "TALLYSTICK_SEARCH__ENGINE": "opensearch",
        "TALLYSTICK_SEARCH__URL": f"https://{data.search.domain.attr_domain_endpoint}",
        "TALLYSTICK_SEARCH__USER": secrets.SEARCH_USER,
        "TALLYSTICK_SEARCH__INDEX_EVENTS": str(choices.sizes.index_events),
        "TALLYSTICK_QUEUE__KIND": "sqs",
        "TALLYSTICK_QUEUE__REGION": Aws.REGION,
        "TALLYSTICK_QUEUE__PREFIX": queues.PREFIX,
        "TALLYSTICK_OBJECTS__URL": f"s3://{data.objects.bucket.bucket_name}/{objects.PREFIX}",
        "TALLYSTICK_OBJECTS__REGION": Aws.REGION,
        "TALLYSTICK_KEYS__KIND": "kms",
        "TALLYSTICK_KEYS__KEY_ID": data.keys.tenants.key_arn,
        "TALLYSTICK_KEYS__REGION": Aws.REGION,
        # A bucket with Object Lock takes no object without a checksum.
        "AWS_CHECKSUM_ALGORITHM": "SHA256",
    }


def for_api(choices: Choices, data: DataStack) -> dict[str, str]:
    """What API tasks are told beside."""
    told = {
        "TALLYSTICK_HOST": "0.0.0.0",  # noqa: S104  # in a task: its security group lets the balancer in alone
        "TALLYSTICK_PORT": str(API_PORT),
        "TALLYSTICK_API__TRUSTED_PROXIES": json.dumps(data.network.edge_networks),
        "TALLYSTICK_API__DRAIN_NOTICE": str(DRAIN_NOTICE),
        "TALLYSTICK_API__DRAIN_TIMEOUT": str(DRAIN_TIMEOUT),
        # Longer than the balancer's: else it might send a request while we close the connection.
        "TALLYSTICK_API__KEEP_ALIVE": str(IDLE + 30),
        "TALLYSTICK_AUTH__AUDIENCE": choices.audience,
        "TALLYSTICK_RATES__URL": f"valkeys://{data.cache.group.attr_primary_end_point_address}:{cache.PORT}",
    }
    if choices.issuers is not None:
        told["TALLYSTICK_AUTH__EXTERNAL_ISSUERS"] = choices.issuers
    return told


def for_migration(data: DataStack) -> dict[str, str]:
    """What the migration is told: of the database alone, as its owner."""
    return {**_database(data, secrets.OWNER), "TALLYSTICK_HOME": HOME}


@dataclass(frozen=True, slots=True)
class Hidden:
    """A variable whose value is a secret.

    Attributes:
        secret: Where it lies.
        member: Which member of that JSON object it is; None where it is all of it.
    """

    secret: secretsmanager.ISecret
    member: str | None = None


def passwords(roles: secretsmanager.ISecret) -> Mapping[str, Hidden]:
    """Passwords of login roles of the database."""
    return {"TALLYSTICK_DATABASE__PASSWORDS": Hidden(roles)}


def search_password(data: DataStack) -> Mapping[str, Hidden]:
    """The password of the search index."""
    return {"TALLYSTICK_SEARCH__PASSWORD": Hidden(data.secrets.search, "password")}


def key_files(data: DataStack) -> Mapping[str, Hidden]:
    """The keys that sign tokens."""
    return {"TALLYSTICK_KEY_FILES": Hidden(data.secrets.key_files)}


def cache_password(data: DataStack) -> Mapping[str, Hidden]:
    """The password of Valkey."""
    return {"TALLYSTICK_RATES__PASSWORD": Hidden(data.secrets.cache)}


def external_url(data: DataStack) -> Mapping[str, Hidden]:
    """Where an external database is; nothing for Aurora, whose address is no secret."""
    return {} if data.secrets.database is None else {_URL: Hidden(data.secrets.database, "url")}


def owner(data: DataStack) -> Mapping[str, Hidden]:
    """What makes the migration the schema's owner."""
    if data.secrets.database is not None:
        return {_URL: Hidden(data.secrets.database, "owner_url")}
    return {"PGPASSWORD": Hidden(data.secrets.owner, "password")}


_URL: Final = "TALLYSTICK_DATABASE__URL"


def _database(data: DataStack, user: str | None = None) -> dict[str, str]:
    told = {"TALLYSTICK_DATABASE__PARTITION_INTERVAL": "day"}
    if data.database is None:
        return told
    host = data.database.cluster.cluster_endpoint
    who = "" if user is None else f"{user}@"
    place = f"postgresql://{who}{host.hostname}:5432/{database.NAME}"
    return {
        **told,
        _URL: f"{place}?sslmode=verify-full&sslrootcert={database.ROOTS}",
        "TALLYSTICK_DATABASE__TIMESCALEDB": "off",  # Aurora has no such extension
    }
