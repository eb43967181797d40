"""What was revoked, kept in memory and followed by version, so that every process refuses it within seconds."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from tallystick.auth.model import Principal
from tallystick.auth.queries import Revocation, Revoked, changed_since, newest_version
from tallystick.database.following import follow
from tallystick.database.outage import as_database_down
from tallystick.database.pools import Database
from tallystick.errors import UnavailableError

_POLL_SECONDS: Final = 1.0
_FORGET_SECONDS: Final = 300.0


class Revocations:
    """The snapshot of revocations of one process.

    `run` follows the table. Where the last look that succeeded is older than ``freshness``, nothing is let in.

    Args:
        database: Where the table is.
        freshness: Seconds after which the snapshot counts as stale.
        clock: Monotonic seconds.
    """

    def __init__(self, database: Database, freshness: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._freshness = freshness
        self._clock = clock
        self._tokens: dict[tuple[str, str], Revocation] = {}
        self._subjects: dict[tuple[str, str], Revocation] = {}
        self._version = 0
        self._good_at = float("-inf")
        self._forgot_at = clock()

    @property
    def fresh(self) -> bool:
        """Whether the snapshot may still be used."""
        return self._clock() - self._good_at <= self._freshness

    def is_revoked(self, principal: Principal) -> bool:
        """Whether the principal's token, or its subject after the token was issued, was revoked.

        ``iat`` counts whole seconds, so a token made in the very second of its subject's revocation is refused too.

        Raises:
            UnavailableError: The snapshot is stale.
        """
        if not self.fresh:
            raise UnavailableError("it cannot be told now which tokens are revoked; try again", retry_after=2)
        if principal.token_id is not None and (principal.issuer, principal.token_id) in self._tokens:
            return True
        subject = self._subjects.get((principal.issuer, principal.subject))
        return subject is not None and principal.issued_at <= subject.revoked_at.timestamp()

    async def refresh(self) -> None:
        """Take in what changed since the last look.

        Raises:
            DatabaseDownError: The database does not answer.
        """
        # The age counts from before the question: the answer may be as old as that.
        looked_at = self._clock()
        async with as_database_down(), asyncio.timeout(self._freshness):
            await self._look()
        self._good_at = looked_at
        self._forget_expired()

    async def _look(self) -> None:
        async with self._database.control_session() as connection:
            # Smaller than what was seen: the newest was removed as expired, or the database was put back to an earlier
            # state, where numbers come again. Then nothing held can be built upon.
            anew = await newest_version(connection) < self._version
            changed = await changed_since(connection, 0 if anew else self._version)
        if anew:
            self._tokens, self._subjects, self._version = {}, {}, 0
        for revocation in changed:
            kept = self._tokens if revocation.kind is Revoked.TOKEN else self._subjects
            kept[revocation.issuer, revocation.value] = revocation
            self._version = revocation.version

    async def run(self) -> None:
        """Follow the table until cancelled."""
        await follow(self.refresh, what="revocations", every=min(_POLL_SECONDS, self._freshness / 4))

    def _forget_expired(self) -> None:
        """Every few minutes, drop what no valid token can match; the worker removes the rows."""
        if self._clock() - self._forgot_at < _FORGET_SECONDS:
            return
        self._forgot_at = self._clock()
        now = time.time()
        for kept in (self._tokens, self._subjects):
            for key in [key for key, revocation in kept.items() if revocation.expires_at < now]:
                del kept[key]
