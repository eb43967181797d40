"""Counters of rates that all processes share, in one Valkey or Redis server: one round trip for all who wait."""

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from valkey.asyncio import Valkey
from valkey.asyncio.connection import Connection, ConnectionPool
from valkey.exceptions import NoScriptError, ResponseError

from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.ports import Charge, Window
from tallystick.settings import RateSettings

_TLS: Final = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
"""Whether a scheme means TLS."""

_MOST: Final = 100
"""Charges that one trip carries; the server does nothing else for the half millisecond that they take."""

_PAUSE: Final = 0.25
"""Seconds between two looks whether a server that failed works again."""

_TAG: Final = "{tallystick}"
"""Begins all keys. In braces, so that a cluster keeps them in one slot: a script may not reach into two."""

_NOBODY: Final = (Charge("nobody", quota=2**53, cost=1),)
_NOBODYS_WINDOW: Final = 60
"""A charge to nobody shows that the server takes our writes, which a ping does not."""

_CHARGE: Final = """\
local stood, keys, arguments = {}, 0, 0
local function argument()
  arguments = arguments + 1
  return tonumber(ARGV[arguments])
end
while arguments < #ARGV do
  local window = argument()
  local payers = argument()
  local costs, fits = {}, true
  for i = 1, payers do
    local key, quota = KEYS[keys + i], argument()
    local used, left = tonumber(redis.call('GET', key) or '0'), redis.call('PTTL', key)
    costs[i] = argument()
    fits = fits and used + costs[i] <= quota
    stood[#stood + 1] = used
    stood[#stood + 1] = left < 0 and window or left
  end
  for i = 1, fits and payers or 0 do
    local key = KEYS[keys + i]
    redis.call('INCRBY', key, costs[i])
    if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, window) end
  end
  keys = keys + payers
end
return stood
"""
"""Keys: those of all payers. Arguments, for each request: a window in milliseconds, how many payers, quota and cost of
each. Answer: used and milliseconds left, for each key."""

_CHARGE_ID: Final = hashlib.sha1(_CHARGE.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class _Asked:
    """Charges on their way to the server, and where their answer goes."""

    charges: Sequence[Charge]
    window: int
    answer: "asyncio.Future[list[Window]]"


class ValkeyCounters:
    """Implements `RateCounters`. The server ends windows by its own clock, so those of our machines do not matter.

    One connection carries the charges of all requests: while some are under way the next gather, and go together.

    When a trip fails, all fail that are on it or wait, and those that come later at once, until a charge to nobody
    works again. The connection is made anew, since after a fail-over it may lead to who takes no writes.

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
        self._client: Any = Valkey(connection_pool=_pool(settings))
        self._waiting: list[_Asked] = []
        self._carrier: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._carrier is not None:
            self._carrier.cancel()
            await asyncio.wait([self._carrier])
        await self._disconnect()

    async def charge(self, charges: Sequence[Charge], window: int) -> Sequence[Window]:
        """See `ports.RateCounters`. It takes `rates.timeout` seconds at most."""
        if self._failure is not None:
            raise _unavailable(self._failure) from self._failure
        begun = perf_counter()
        asked = _Asked(charges, window, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._carrier is None:
            self._carrier = asyncio.create_task(self._carry())
        try:
            async with asyncio.timeout(self._timeout):
                windows = await asked.answer
        except Exception as error:
            raise _unavailable(error) from error
        self._observe(perf_counter() - begun)
        return windows

    async def check(self) -> str:
        """See `ports.RateCounters`."""
        await self.charge(_NOBODY, _NOBODYS_WINDOW)
        return "the shared server counts"

    async def _carry(self) -> None:
        """Make trips to the server until nothing waits."""
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                try:
                    await self._ask(asked)
                except Exception as error:  # noqa: BLE001  # uvloop's of a reset is bare, and nobody else would go on
                    self._fail(asked, error)
                    await self._recover()
        finally:
            self._carrier = None

    def _fail(self, asked: Sequence[_Asked], error: Exception) -> None:
        self._failure = error
        failed, self._waiting = [*asked, *self._waiting], []
        for each in failed:
            if not each.answer.done():
                each.answer.set_exception(error)

    async def _recover(self) -> None:
        while self._failure is not None:
            await self._disconnect()
            try:
                await self._ask([_Asked(_NOBODY, _NOBODYS_WINDOW, asyncio.get_running_loop().create_future())])
            except Exception as error:  # noqa: BLE001  # likewise
                self._failure = error
                await asyncio.sleep(_PAUSE)
            else:
                self._failure = None

    async def _ask(self, asked: Sequence[_Asked]) -> None:
        secret = self._payer_key()
        keys = [_key(secret, charge.payer) for each in asked for charge in each.charges]
        arguments: list[int] = []
        for each in asked:
            arguments += (1_000 * each.window, len(each.charges))
            for charge in each.charges:
                arguments += (charge.quota, charge.cost)
        async with asyncio.timeout(self._timeout):
            found = await self._run(len(keys), *keys, *arguments)
        windows = iter([Window(used, left / 1_000) for used, left in zip(found[::2], found[1::2], strict=True)])
        for each in asked:
            own = list(islice(windows, len(each.charges)))
            if not each.answer.done():  # it may have been given up
                each.answer.set_result(own)

    async def _run(self, *arguments: str | int) -> list[int]:
        try:
            return await self._client.execute_command("EVALSHA", _CHARGE_ID, *arguments)
        except NoScriptError:
            # The server is new, or was started again; now it keeps the script.
            return await self._client.execute_command("EVAL", _CHARGE, *arguments)

    async def _disconnect(self) -> None:
        with suppress(Exception):
            # A server that hangs does not say goodbye, which TLS would wait for.
            async with asyncio.timeout(self._timeout):
                await self._client.connection_pool.disconnect()


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


def _unavailable(error: Exception) -> UnavailableError:
    """What may be told to anybody: no address, and of the server's words only their code."""
    code = str(error).partition(" ")[0] if type(error) is ResponseError else type(error).__name__
    return UnavailableError(f"the shared server of rates failed: {code}")


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
    if tls is None:
        return ConnectionPool(Connection, **options)
    return ConnectionPool(_TlsConnection, **options, tls=tls)


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
