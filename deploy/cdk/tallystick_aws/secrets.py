"""Secrets: made by AWS where a random one will do, and else filled in by whoever deploys."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from tallystick_aws.excuses import excuse
from tallystick_aws.keys import Keys

_API_ROLES: Final[Sequence[str]] = ("writer", "reader", "control")
_ROLES: Final[Sequence[str]] = (*_API_ROLES, "worker")
"""Login roles of the database, each with a password of its own."""

OWNER: Final = "tallystick_owner"
SEARCH_USER: Final = "tallystick"
_ESCAPED: Final = "\"'\\/@:#?&%{}[]<>`,;|^~$=()!*+ "


class Secrets(Construct):
    """The secrets.

    Attributes:
        key_files: Keys that sign tokens and cursors and digest retries, as one JSON object; filled in.
        api_roles: Passwords of the login roles that API tasks use, as one JSON object.
        all_roles: Those of all login roles.
        owner: User and password of the schema's owner in Aurora.
        search: User and password of OpenSearch.
        cache: Password of Valkey.
        database: Where an external database is: `owner_url` and `url`, JSON; filled in. None for Aurora.
    """

    def __init__(self, scope: Construct, name: str, keys: Keys, *, external_database: bool) -> None:
        super().__init__(scope, name)
        self._keys = keys
        self.key_files = self._filled_in("KeyFiles", "tallystick/key-files", "Tallystick's key files, one JSON object")
        roles = {role: self._password(role.title(), f"Password of tallystick_{role}") for role in _ROLES}
        self.api_roles = self._together("ApiRoles", "tallystick/api-roles", {role: roles[role] for role in _API_ROLES})
        self.all_roles = self._together("AllRoles", "tallystick/all-roles", roles)
        self.owner = self._login("Owner", OWNER, "Owner of the schema")
        self.search = self._login("Search", SEARCH_USER, "User of OpenSearch")
        self.cache = self._password("Cache", "Password of Valkey")
        self.database = (
            self._filled_in("Database", "tallystick/database", "Where PostgreSQL is: owner_url and url, JSON")
            if external_database
            else None
        )
        excuse(
            self,
            "To change a password takes the application: docs/how-to/deploy-on-aws.md says how. The key files are"
            " rotated by the application's own commands.",
            "SMG4",
        )

    def _password(self, name: str, description: str) -> secretsmanager.Secret:
        return secretsmanager.Secret(
            self,
            name,
            description=description,
            encryption_key=self._keys.secrets,
            generate_secret_string=secretsmanager.SecretStringGenerator(exclude_punctuation=True, password_length=48),
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _login(self, name: str, user: str, description: str) -> secretsmanager.Secret:
        """A user and a password, with one of each kind of character, of which none needs an escape anywhere."""
        return secretsmanager.Secret(
            self,
            name,
            description=description,
            encryption_key=self._keys.secrets,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({"username": user}),
                generate_string_key="password",
                password_length=48,
                exclude_characters=_ESCAPED,
                require_each_included_type=True,
            ),
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _together(self, name: str, called: str, roles: Mapping[str, secretsmanager.Secret]) -> secretsmanager.Secret:
        """One JSON object of several passwords; CloudFormation puts them in, so that no template holds them."""
        return secretsmanager.Secret(
            self,
            name,
            secret_name=called,
            description=f"Passwords in the database of {', '.join(roles)}",
            encryption_key=self._keys.secrets,
            secret_object_value={f"tallystick_{role}": secret.secret_value for role, secret in roles.items()},
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _filled_in(self, name: str, called: str, description: str) -> secretsmanager.Secret:
        """A secret that holds nothing of use until it is filled in: a process that finds it so does not start."""
        return secretsmanager.Secret(
            self,
            name,
            secret_name=called,
            description=description,
            encryption_key=self._keys.secrets,
            removal_policy=RemovalPolicy.RETAIN,
        )
