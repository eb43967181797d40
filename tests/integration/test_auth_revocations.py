import asyncio
import math
import time
from typing import TYPE_CHECKING

import pytest

from tallystick.auth.revocations import Revocations
from tallystick.auth.service import revoke_subject, revoke_token
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError, UnavailableError
from tallystick.settings import AuthSettings, DatabaseSettings
from tokens import principal

if TYPE_CHECKING:
    import asyncpg

SETTINGS = AuthSettings()


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def told(revocations: Revocations) -> bool | None:
    """Whether the token t1 is revoked; None when that cannot be told."""
    try:
        return revocations.is_revoked(principal())
    except UnavailableError:
        return None


async def until(revocations: Revocations, expected: bool | None, deadline: float = 20) -> None:
    async with asyncio.timeout(deadline):
        while told(revocations) is not expected:  # noqa: ASYNC110  (the table is followed by polling; nobody signals)
            await asyncio.sleep(0.01)


async def test_a_revoked_token_is_refused_and_others_are_not(database: Database) -> None:
    revocations = Revocations(database, 5)
    await revocations.refresh()
    assert not revocations.is_revoked(principal())
    await revoke_token(database, SETTINGS, "t1")
    await revocations.refresh()
    assert revocations.is_revoked(principal())
    assert not revocations.is_revoked(principal(token_id="t2"))
    assert not revocations.is_revoked(principal(token_id=None))
    assert not revocations.is_revoked(principal(issuer="https://other.example"))


async def test_a_revoked_subject_is_refused_for_what_was_issued_until_then(database: Database) -> None:
    revocations = Revocations(database, 5)
    revoked_at = await revoke_subject(database, SETTINGS, "ada@example.com", issuer="https://issuer.example")
    await revocations.refresh()
    moment = math.floor(revoked_at.timestamp())

    def revoked(issued_at: int, subject: str = "ada@example.com", issuer: str = "https://issuer.example") -> bool:
        return revocations.is_revoked(principal(issuer=issuer, subject=subject, issued_at=issued_at))

    assert revoked(0)
    assert revoked(moment)
    assert not revoked(moment + 1)
    assert not revoked(0, subject="bob@example.com")
    assert not revoked(0, issuer="tallystick")


async def test_revoking_a_subject_again_reaches_later_tokens(database: Database, owner: "asyncpg.Connection") -> None:
    revocations = Revocations(database, 5)
    await revoke_subject(database, SETTINGS, "ada@example.com")
    await owner.execute("update tallystick.revocations set revoked_at = '2020-01-01Z'")
    await revocations.refresh()
    later = principal(issued_at=int(time.time()) - 10)
    assert not revocations.is_revoked(later)
    await revoke_subject(database, SETTINGS, "ada@example.com")
    await revocations.refresh()
    assert revocations.is_revoked(later)


async def test_a_running_process_learns_of_a_revocation_within_its_freshness(database: Database) -> None:
    revocations = Revocations(database, SETTINGS.freshness)
    await revocations.refresh()
    following = asyncio.create_task(revocations.run())
    try:
        await revoke_token(database, SETTINGS, "t1")
        await until(revocations, expected=True, deadline=SETTINGS.freshness)
    finally:
        following.cancel()
        await asyncio.wait([following])


async def test_before_the_first_look_and_when_stale_nothing_is_told(database: Database) -> None:
    clock = Clock()
    revocations = Revocations(database, 5, clock)
    with pytest.raises(UnavailableError):
        revocations.is_revoked(principal())
    await revocations.refresh()
    clock.seconds += 5
    assert not revocations.is_revoked(principal())
    clock.seconds += 0.1
    with pytest.raises(UnavailableError) as caught:
        revocations.is_revoked(principal())
    assert caught.value.retry_after


async def test_the_loop_survives_an_outage_and_recovers(
    database: Database, database_settings: DatabaseSettings, superuser: "asyncpg.Connection"
) -> None:
    assert database_settings.url is not None
    name = database_settings.url.get_secret_value().rsplit("/", 1)[1].split("?")[0]
    revocations = Revocations(database, 0.4)
    following = asyncio.create_task(revocations.run())
    try:
        await superuser.execute(f'alter database "{name}" connection limit 0')
        await superuser.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        await until(revocations, expected=None)
        with pytest.raises(DatabaseDownError):
            await revocations.refresh()
        await superuser.execute(f'alter database "{name}" connection limit -1')
        await revoke_token(database, SETTINGS, "t1")
        await until(revocations, expected=True)
        assert not following.done()
    finally:
        following.cancel()
        await asyncio.wait([following])


async def test_a_database_put_back_to_an_earlier_state_is_read_anew(
    database: Database, owner: "asyncpg.Connection"
) -> None:
    revocations = Revocations(database, 5)
    for token_id in ("t1", "t2", "t3"):
        await revoke_token(database, SETTINGS, token_id)
    await revocations.refresh()
    await owner.execute("delete from tallystick.revocations where value <> 't1'")
    await owner.execute("alter sequence tallystick.control_versions restart with 3")
    await revoke_token(database, SETTINGS, "t4")
    await revocations.refresh()
    held = {token_id for token_id in ("t1", "t2", "t3", "t4") if revocations.is_revoked(principal(token_id=token_id))}
    assert held == {"t1", "t4"}


async def test_removing_expired_rows_forgets_nothing_that_counts(
    database: Database, owner: "asyncpg.Connection"
) -> None:
    revocations = Revocations(database, 5)
    await revoke_token(database, SETTINGS, "t1")
    await revoke_token(database, SETTINGS, "gone", expires_at=time.time() - 10_000)
    await revocations.refresh()
    await owner.execute("delete from tallystick.revocations where expires_at < now()")
    await revocations.refresh()
    assert revocations.is_revoked(principal())
    assert not revocations.is_revoked(principal(token_id="gone"))


async def test_what_expired_leaves_the_memory(database: Database) -> None:
    clock = Clock()
    revocations = Revocations(database, 5, clock)
    await revoke_token(database, SETTINGS, "t1")
    await revoke_token(database, SETTINGS, "gone", expires_at=time.time() - 10_000)
    clock.seconds += 301
    await revocations.refresh()
    assert revocations.is_revoked(principal())
    assert not revocations.is_revoked(principal(token_id="gone"))
