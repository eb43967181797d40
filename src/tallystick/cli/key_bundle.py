"""`tallystick keys bundle` and `keys passwords`: secrets for platforms that hand them over as environment variables."""

import json
import secrets
import sys
from typing import Annotated, Final

import typer

from tallystick.auth.keyring import bundle_in_use, new_bundle
from tallystick.auth.keys import KeyKind, with_new_key
from tallystick.cli.reading import load_settings
from tallystick.database.pools import LOGINS
from tallystick.errors import ConfigurationError

_PASSWORD_BYTES: Final = 24


def bundle(
    *,
    new: Annotated[bool, typer.Option("--new", help="Make new keys of all kinds; nothing is kept here.")] = False,
    rotate: Annotated[
        list[KeyKind] | None, typer.Option(help="Add a new key of this kind, the active one; may be given again.")
    ] = None,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Leave out the older keys of the kinds that are rotated: after a leak.")
    ] = False,
) -> None:
    """Print the keys in use as the one JSON object that TALLYSTICK_KEY_FILES takes; they stay as they are."""
    if new and rotate:
        raise ConfigurationError("new keys need no rotation: give --new or --rotate, not both")
    if drop_old and not rotate:
        raise ConfigurationError("--drop-old needs --rotate, which says of what kind")
    made = new_bundle() if new else bundle_in_use(load_settings())
    for kind in rotate or ():
        made[kind] = with_new_key(kind, made.get(kind), drop_old=drop_old)
    _print_secret(made)


def passwords() -> None:
    """Print new passwords for the login roles, as the JSON object that TALLYSTICK_DATABASE__PASSWORDS takes."""
    _print_secret({login: secrets.token_urlsafe(_PASSWORD_BYTES) for login in LOGINS})


def _print_secret(document: object) -> None:
    """Print it where it goes on, and not where it stays to be read.

    Raises:
        ConfigurationError: The output is a terminal.
    """
    if sys.stdout.isatty():
        raise ConfigurationError(
            "this prints secrets, so not to a terminal: pipe it into your secret store, or write a file of mode 0600:"
            " `umask 077; tallystick keys … > secret.json`"
        )
    typer.echo(json.dumps(document))
