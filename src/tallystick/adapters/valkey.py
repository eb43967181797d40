"""Counters of rates that all processes share, in one Valkey or Redis server: one script, one round trip a charge."""

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from valkey.asyncio import Valkey
from valkey.asyncio.connection import Connection, ConnectionPool
from valkey.exceptions import NoScriptError, ResponseError, ValkeyError

from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.ports import Charge, Window
from tallystick.settings import RateSettings

_TLS: Final = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
"""Whether a scheme means TLS."""

_CONNECTIONS: Final = 32
"""Most connections of a process; a charge takes one for a fraction of a millisecond."""

_PAUSE: Final = 0.25
"""Seconds between two looks whether a server that failed works again."""

_OUTAGES: Final = (ValkeyError, OSError)

_TAG: Final = "{tallystick}"
"""Begins all keys. In braces, so that a cluster keeps them in one slot: a script may not reach into two."""

_PROBE: Final = (Charge("probe", quota=2**53, cost=1),)
_PROBE_WINDOW: Final = 60
"""A charge to nobody: it shows that the server takes our writes, which a ping does not."""

_CHARGE: Final = """\
local windows, fits = {}, true
for i, key in ipairs(KEYS) do
  local used = tonumber(redis.call('GET', key) or '0')
  local left = redis.call('PTTL', key)
  if left < 0 then left = tonumber(ARGV[1]) end
  if used + tonumber(ARGV[2 * i + 1]) > tonumber(ARGV[2 * i]) then fits = false end
  windows[2 * i - 1], windows[2 * i] = used, left
end
if fits then
  for i, key in ipairs(KEYS) do
    redis.call('INCRBY', key, ARGV[2 * i + 1])
    if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ARGV[1]) end
  end
end
return windows
"""
"""Keys: the payers'. Arguments: milliseconds of a window, then a quota and a cost for each key."""

_CHARGE_ID: Final = hashlib.sha1(_CHARGE.encode(), usedforsecurity=False).hexdigest()


class ValkeyCounters:
    """Implements `RateCounters`. The server ends windows by its own clock, so those of our machines do not matter.

    The first charge that fails is the last to wait for the server: until a charge to nobody works again, all others
    fail at once. All connections are then made anew, since after a fail-over they may lead to who takes no writes.

    Args:
        settings: Where the server is. It is not asked anything before the first charge.
        payer_key: The secret under which payers are hashed, as it is now: names of people leave this process only so.
        observe: Told the seconds of each charge.

    Raises:
        ConfigurationError: Settings need a person.
    """

    def __init__(
        self, settings: RateSettings, payer_key: Callable[[], bytes], observe: Callable[[float], None]
    ) -> None:
        self._timeout = settings.timeout
        self._payer_key = payer_key
        self._observe = observe
        self._client = Valkey(connection_pool=_pool(settings))
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._recovery: asyncio.Task[None] | None = None
        self._failure = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        await self._disconnect(also_used=True)

    async def charge(self, charges: Sequence[Charge], window: int) -> Sequence[Window]:
        """See `ports.RateCounters`. It takes `rates.timeout` seconds at most."""
        if self._recovery is not None:
            raise UnavailableError(self._failure)
        begun = perf_counter()
        try:
            windows = await self._ask(charges, window)
        except _OUTAGES as error:
            self._failure = _told(error)
            if self._recovery is None:
                self._recovery = asyncio.create_task(self._recover())
            raise UnavailableError(self._failure) from error
        self._observe(perf_counter() - begun)
        return windows

    async def check(self) -> str:
        """See `ports.RateCounters`."""
        await self.charge(_PROBE, _PROBE_WINDOW)
        return "the shared server counts"

    async def _ask(self, charges: Sequence[Charge], window: int) -> list[Window]:
        secret = self._payer_key()
        keys = [_key(secret, charge.payer) for charge in charges]
        amounts = [amount for charge in charges for amount in (charge.quota, charge.cost)]
        async with asyncio.timeout(self._timeout), self._turns:
            found = await self._run(len(keys), *keys, 1_000 * window, *amounts)
        return [Window(used, milliseconds / 1_000) for used, milliseconds in zip(found[::2], found[1::2], strict=True)]

    async def _run(self, *arguments: str | int) -> list[int]:
        client: Any = self._client
        try:
            return await client.execute_command("EVALSHA", _CHARGE_ID, *arguments)
        except NoScriptError:
            # The server is new, or was started again; now it keeps the script.
            return await client.execute_command("EVAL", _CHARGE, *arguments)

    async def _recover(self) -> None:
        try:
            while True:
                await self._disconnect(also_used=False)
                try:
                    await self._ask(_PROBE, _PROBE_WINDOW)
                except _OUTAGES as error:
                    self._failure = _told(error)
                else:
                    return
                await asyncio.sleep(_PAUSE)
        finally:
            self._recovery = None

    async def _disconnect(self, *, also_used: bool) -> None:
        with suppress(*_OUTAGES):
            # A server that hangs does not say goodbye, which TLS would wait for.
            async with asyncio.timeout(self._timeout):
                await self._client.connection_pool.disconnect(inuse_connections=also_used)


class _TlsConnection(Connection):
    """A connection over a TLS context that all share.

    The library's own class makes a context for each, which trusts the system's certificates beside those it is given.
    """

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:  # noqa: ANN401  # whatever the library takes
        base: Any = super()
        base.__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        base: Any = super()
        return {**base._connection_arguments(), "ssl": self._tls}  # noqa: SLF001  # there is no other way


def _key(secret: bytes, payer: str) -> str:
    return f"{_TAG}:{hmac.digest(secret, b'rates' + bytes(1) + payer.encode(), hashlib.sha256).hex()}"


def _told(error: Exception) -> str:
    """What may be told to anybody: no address, and of the server's words only its code."""
    code = str(error).partition(" ")[0] if type(error) is ResponseError else type(error).__name__
    return f"the shared server of rates failed: {code}"


def _pool(settings: RateSettings) -> ConnectionPool:
    url = urlsplit(settings.url or "")
    options: dict[str, Any] = {
        **_address(url),
        "username": settings.user,
        "password": _password(settings),
        # `charge` has a deadline for all of it, and for each part another would cost a third of the time.
        "socket_timeout": None,
        "socket_connect_timeout": None,
        # To say what library we use takes another permission.
        "lib_name": None,
        "lib_version": None,
    }
    tls = _tls(settings.ca_file, wanted=_TLS[url.scheme])
    kind = Connection if tls is None else _TlsConnection
    return ConnectionPool(kind, _CONNECTIONS, **options, **({} if tls is None else {"tls": tls}))


def _address(url: SplitResult) -> dict[str, str | int]:
    database = url.path.strip("/") or "0"
    try:
        port = 6379 if url.port is None else url.port
    except ValueError:
        port = 0
    if url.scheme not in _TLS or not url.hostname or not port or not database.isdecimal() or url.query:
        raise ConfigurationError(
            "TALLYSTICK_RATES__URL is no URL of a Valkey or Redis server: write `valkeys://host:6379`, or `valkey://…` "
            "where the network is private, with `/1` behind it for another database than 0"
        )
    if url.username is not None:
        raise ConfigurationError(
            "TALLYSTICK_RATES__URL holds a user or password: set TALLYSTICK_RATES__USER and TALLYSTICK_RATES__PASSWORD "
            "in place of it"
        )
    return {"host": url.hostname, "port": port, "db": int(database)}


def _password(settings: RateSettings) -> str | None:
    if settings.password is not None and settings.password_file is not None:
        raise ConfigurationError("set TALLYSTICK_RATES__PASSWORD or TALLYSTICK_RATES__PASSWORD_FILE, not both")
    if settings.password is not None:
        return settings.password.get_secret_value()
    if settings.password_file is not None:
        try:
            return settings.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read TALLYSTICK_RATES__PASSWORD_FILE: {type(error).__name__}") from error
    if settings.user is not None:
        raise ConfigurationError("TALLYSTICK_RATES__USER has no password: set TALLYSTICK_RATES__PASSWORD too")
    return None


def _tls(ca_file: Path | None, *, wanted: bool) -> ssl.SSLContext | None:
    if not wanted:
        if ca_file is not None:
            raise ConfigurationError(
                "TALLYSTICK_RATES__CA_FILE is for TLS: begin TALLYSTICK_RATES__URL with `valkeys://`, or unset it"
            )
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read certificates from TALLYSTICK_RATES__CA_FILE {ca_file}: {error.strerror or error}"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
