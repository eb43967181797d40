"""`tallystick keys`: the keys of tenants and the master key that wraps them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from tallystick.access_log.model import Deed
from tallystick.auth.keyring import open_keyring, rotate_keys
from tallystick.auth.keys import KeyKind
from tallystick.bootstrap.adapters import key_ring
from tallystick.cli.acting import acting
from tallystick.cli.key_bundle import bundle, passwords
from tallystick.cli.reading import load_settings
from tallystick.cli.tables import print_table
from tallystick.database.pools import Database
from tallystick.ports import KeyRing
from tallystick.privacy import rotation
from tallystick.privacy.queries import DataKey, Purpose, find_keys
from tallystick.privacy.rotation import MasterState, Rewrapped
from tallystick.query.timestamps import format_moment
from tallystick.settings import Settings

app = typer.Typer(name="keys", help="Rotate and list the keys that encrypt.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Result = TypeVar("Result")

app.command("bundle")(bundle)
app.command("passwords")(passwords)


@dataclass(frozen=True, slots=True)
class _Means:
    settings: Settings
    database: Database
    ring: KeyRing


def _with_ring(work: Callable[[_Means], Awaitable[Result]], deed: Deed | None = None, *tenants: str) -> Result:
    """Do what needs the ring; an act is recorded, in the access logs of these tenants too."""
    settings = load_settings()

    async def run() -> Result:
        async with (
            Database.from_settings(settings.database) as database,
            key_ring(settings, open_keyring(settings)) as ring,
            acting(settings, database, deed, *tenants) if deed is not None else nullcontext(),
        ):
            return await work(_Means(settings, database, ring))

    return asyncio.run(run())


@app.command("rotate")
def rotate(
    *,
    tenant: Annotated[str, typer.Option(help="Whose key.")],
    purpose: Annotated[
        Purpose,
        typer.Option(help="`data` encrypts. After a new `digest`, former hashed values are not found by new ones."),
    ] = Purpose.DATA,
    as_json: AsJson = False,
) -> None:
    """Give a tenant a new key. Running processes use it within seconds; former data keys still decrypt."""
    deed = Deed("tallystick keys rotate", "keys.rotate", "key", None, {"tenant": tenant, "purpose": purpose.value})
    key_id = _with_ring(lambda means: rotation.rotate(means.database, means.ring, tenant, purpose), deed, tenant)
    if as_json:
        typer.echo(json.dumps({"tenant": tenant, "purpose": purpose.value, "key_id": key_id}))
    else:
        typer.echo(f"{tenant}: {key_id} is the active {purpose.value} key")


@app.command("rotate-master")
def rotate_master(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Wrap anew also what the active key wraps: after KMS rotated its material.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new master key, and wrap the keys of all tenants by it. Broken off, it goes on when it is run again.

    With KMS nothing is made: the keys are wrapped by the one that TALLYSTICK_KEYS__KEY_ID names. Nor is anything where
    the keys come by TALLYSTICK_KEY_FILES: they are wrapped by its active one.
    """

    async def work(means: _Means) -> tuple[bool, Rewrapped]:
        settings = means.settings
        local = settings.keys.kind == "local" and settings.key_files is None
        # One that is begun is first brought to its end: else every attempt would leave one more master key.
        made = local and not everything and not await rotation.pending(means.database, means.ring)
        if made:
            rotate_keys(settings, KeyKind.MASTER)
        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
            bar = progress.add_task("keys wrapped anew", total=None)
            return made, await rotation.rewrap_all(
                means.database,
                means.ring,
                everything=everything,
                report=lambda done, total: progress.update(bar, completed=done, total=total),
            )

    deed = Deed("tallystick keys rotate-master", "keys.rotate", "key", None, {"kind": "master", "all": everything})
    made, rewrapped = _with_ring(work, deed)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "master_key_id": rewrapped.master_key_id,
                    "new_master_key": made,
                    "rewrapped": rewrapped.keys,
                    "lost": [_key_json(key) for key in rewrapped.lost],
                }
            )
        )
    else:
        how = "a new one" if made else "the active one already"
        typer.echo(f"{rewrapped.keys} keys are wrapped by {rewrapped.master_key_id}, {how}")
        for key in rewrapped.lost:
            typer.echo(f"lost: {key.key_id} of {key.tenant_id}: {key.wrapped.master_key_id} is not held", err=True)
    if rewrapped.lost:
        raise typer.Exit(1)


@app.command("status")
def status(
    *,
    tenant: Annotated[str | None, typer.Option(help="List this tenant's keys.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which master keys wrap what, and whether they are held; never a secret."""
    if tenant is not None:
        _tenant_status(tenant, as_json=as_json)
        return

    async def work(means: _Means) -> tuple[str, Sequence[MasterState]]:
        return await means.ring.active_id(), await rotation.master_states(means.database, means.ring)

    active, states = _with_ring(work)
    if as_json:
        typer.echo(
            json.dumps({"active_master_key_id": active, "master_keys": [_master_json(state) for state in states]})
        )
        return
    typer.echo(f"{active} wraps new keys")
    print_table(
        ("master key", "keys", "tenants", "active", "held"),
        (
            (
                state.use.master_key_id,
                str(state.use.keys),
                str(state.use.tenants),
                _yes(state.active),
                "yes" if state.held else "NO: see docs/runbooks/lost-keys.md",
            )
            for state in states
        ),
    )


def _tenant_status(tenant: str, *, as_json: bool) -> None:
    async def work(means: _Means) -> list[tuple[DataKey, bool]]:
        keys = await find_keys(means.database, tenant)
        return [(key, await rotation.holds(means.ring, key)) for key in keys]

    keys = _with_ring(work)
    if as_json:
        typer.echo(json.dumps({"tenant": tenant, "keys": [_key_json(key) | {"held": held} for key, held in keys]}))
        return
    print_table(
        ("key", "purpose", "active", "made", "master key", "held"),
        (
            (
                key.key_id,
                key.purpose.value,
                _yes(key.active),
                format_moment(key.created_at),
                key.wrapped.master_key_id,
                "yes" if held else "NO: see docs/runbooks/lost-keys.md",
            )
            for key, held in keys
        ),
    )


def _yes(yes: bool) -> str:  # noqa: FBT001  (the one thing it says)
    return "yes" if yes else ""


def _master_json(state: MasterState) -> dict[str, Any]:
    return {
        "master_key_id": state.use.master_key_id,
        "keys": state.use.keys,
        "tenants": state.use.tenants,
        "active": state.active,
        "held": state.held,
    }


def _key_json(key: DataKey) -> dict[str, Any]:
    return {
        "tenant": key.tenant_id,
        "key_id": key.key_id,
        "purpose": key.purpose.value,
        "active": key.active,
        "created_at": format_moment(key.created_at),
        "master_key_id": key.wrapped.master_key_id,
    }
