"""`tallystick token`: create and revoke tokens, rotate and list keys."""

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from tallystick.access_log.model import Deed
from tallystick.auth.keyring import open_keyring, rotate_keys
from tallystick.auth.keys import KeyKind
from tallystick.auth.model import Role
from tallystick.auth.service import (
    TokenGrant,
    create_token,
    identify,
    list_keys,
    parse_ttl,
    revoke_subject,
    revoke_token,
    write_secret,
)
from tallystick.cli.acting import acting
from tallystick.cli.reading import load_settings
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.query.timestamps import format_moment
from tallystick.settings import Settings

app = typer.Typer(name="token", help="Create and revoke tokens, rotate keys.", no_args_is_help=True)

Result = TypeVar("Result")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("create")
def create(  # noqa: PLR0913  (each is an option)
    *,
    role: Annotated[Role, typer.Option(help="Role in each of the tenants.")],
    subject: Annotated[str, typer.Option(help="Whom the token is for; the user_id of their own events.")],
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant it may use; may be given again.")] = None,
    platform: Annotated[
        bool, typer.Option("--platform", help="Every tenant; with the role admin, a platform admin's.")
    ] = False,
    default_tenant: Annotated[str | None, typer.Option(help="Tenant of requests that name none.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Keep only this permission; may be given again.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it holds: 90d, 12h, 30m, 45s.")] = "90d",
    out: Annotated[Path | None, typer.Option(help="Write it to this file (mode 0600), do not print it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. Needs the key files, and the database, where it is recorded who made it."""
    settings = load_settings()
    grant = TokenGrant(
        subject=subject,
        role=role,
        tenants=tenant or (),
        platform=platform,
        default_tenant=default_tenant,
        scopes=scope or (),
        ttl=parse_ttl(ttl),
    )
    created = create_token(settings.auth, open_keyring(settings), grant)
    asked = {"subject": subject, "role": role.value, "platform": platform, "scopes": scope or [], "ttl": ttl}
    deed = Deed("tallystick token create", "tokens.create", "token", created.token_id, asked)
    asyncio.run(_recorded(settings, deed, *(tenant or ()), act=lambda: _hand_over(created.token, out)))
    expires = datetime.fromtimestamp(created.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said: dict[str, Any] = {"token_id": created.token_id, "subject": created.subject, "expires_at": expires}
    if out is None:
        said["token"] = created.token
    else:
        said["file"] = str(out)
    if as_json:
        _print_json(said)
        return
    Console(stderr=True, highlight=False).print(f"token {created.token_id} of {subject}, until {expires}", markup=False)
    if out is None:
        sys.stdout.write(created.token + "\n")


def _hand_over(token: str, out: Path | None) -> None:
    if out is not None:
        write_secret(out, token + "\n")


async def _recorded(settings: Settings, deed: Deed, *tenant_ids: str, act: Callable[[], Result]) -> Result:
    """Do something that needs no database, recorded."""
    async with Database.from_settings(settings.database) as database, acting(settings, database, deed, *tenant_ids):
        return act()


@app.command("revoke")
def revoke(
    *,
    token: Annotated[str | None, typer.Argument(help="The token, or - to read it from standard input.")] = None,
    jti: Annotated[str | None, typer.Option(help="Revoke the token with this id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Revoke all tokens of this subject issued until now.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Issuer of --jti or --subject; the local one if absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a token, or all of a subject's, on every process within seconds. Needs the database."""
    if [token, jti, subject].count(None) != 2:
        raise ConfigurationError("name one of: a token, --jti, --subject")
    if token is not None and issuer is not None:
        raise ConfigurationError("a token names its issuer itself; leave --issuer out")
    if token == "-":  # noqa: S105  (the usual name of standard input)
        token = sys.stdin.readline().strip()
    said = asyncio.run(_revoke(Settings(), token, jti, subject, issuer))
    if as_json:
        _print_json(said)
    else:
        typer.echo(f"revoked {said['kind']} {said['value']} of {said['issuer']}")


async def _revoke(
    settings: Settings, token: str | None, jti: str | None, subject: str | None, issuer: str | None
) -> dict[str, Any]:
    auth = settings.auth
    asked = {"subject": subject, "jti": jti, "issuer": issuer}
    deed = Deed(
        "tallystick token revoke",
        "tokens.revoke",
        "token",
        jti or (identify(token)[1] if token is not None else None),
        {name: value for name, value in asked.items() if value is not None},
    )
    async with Database.from_settings(settings.database) as database, acting(settings, database, deed):
        if subject is not None:
            at = await revoke_subject(database, auth, subject, issuer=issuer)
            kind, value = "subject", subject
        elif token is not None:
            issuer, value, expires_at = identify(token)
            at = await revoke_token(database, auth, value, issuer=issuer, expires_at=expires_at)
            kind = "token"
        else:
            kind, value = "token", jti or ""
            at = await revoke_token(database, auth, value, issuer=issuer)
    return {
        "kind": kind,
        "issuer": issuer or auth.issuer,
        "value": value,
        "revoked_at": format_moment(at),
    }


@app.command("rotate-key")
def rotate_key(
    *,
    kind: Annotated[KeyKind, typer.Option(help="Which keys.")] = KeyKind.TOKEN_SIGNING,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Remove the older keys, and so all that they signed: after a leak.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a new key and sign with it from now on; running processes see it by themselves. Old keys keep verifying.

    Needs the database, where it is recorded who did it.
    """
    settings = load_settings()
    deed = Deed("tallystick token rotate-key", "keys.rotate", "key", kind.value, {"drop_old": drop_old})
    kid = asyncio.run(_recorded(settings, deed, act=lambda: rotate_keys(settings, kind, drop_old=drop_old)))
    if as_json:
        _print_json({"kind": kind.value, "key_id": kid, "dropped_old": drop_old})
    else:
        typer.echo(f"{kind.value}: {kid} is active{', the older keys are gone' if drop_old else ''}")


@app.command("list-keys")
def show_keys(*, as_json: AsJson = False) -> None:
    """List the key ids of all key files; never a secret."""
    entries = list_keys(open_keyring(load_settings()))
    if as_json:
        _print_json(
            {
                "keys": [
                    {
                        "kind": entry.kind.value,
                        "key_id": entry.key_id,
                        "active": entry.active,
                        "created_at": entry.created_at,
                    }
                    for entry in entries
                ]
            }
        )
        return
    table = Table("kind", "key id", "active", "made")
    for entry in entries:
        table.add_row(entry.kind.value, entry.key_id, "yes" if entry.active else "", entry.created_at)
    Console().print(table)


def _print_json(said: dict[str, Any]) -> None:
    typer.echo(json.dumps(said))
