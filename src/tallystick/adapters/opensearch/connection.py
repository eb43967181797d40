"""The client of a cluster, bounded, and what its errors mean to us."""

import ssl
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import ClientSSLError
from opensearchpy import (
    AIOHttpConnection,
    AsyncOpenSearch,
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    OpenSearchException,
    TransportError,
)
from opensearchpy import ConnectionError as UnreachableError

from tallystick.errors import ConfigurationError, SearchDownError
from tallystick.settings import SearchSettings

_RETRY_SECONDS: Final = 2
_TOO_MANY_REQUESTS: Final = 429


class BusyError(TransportError):
    """The cluster asks for patience.

    Attributes:
        retry_after: Seconds, where it or something before it says so.
    """

    retry_after: float | None = None


class _Connection(AIOHttpConnection):
    """One that passes on how long to wait, which the client forgets."""

    async def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # as the base takes it
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], str]:
        """See the base.

        Raises:
            BusyError: The status is 429.
        """
        passed = (*ignore, _TOO_MANY_REQUESTS)
        status, told, answer = await super().perform_request(method, url, params, body, timeout, passed, headers)
        if status == _TOO_MANY_REQUESTS:
            busy = BusyError(status, "too many requests", None)
            seconds = told.get("retry-after", "")
            busy.retry_after = float(seconds) if seconds.isdecimal() else None
            raise busy
        return status, told, answer


def connect(settings: SearchSettings) -> AsyncOpenSearch:
    """Make the client; nothing is sent yet.

    Raises:
        ConfigurationError: A setting or a file needs a person.
    """
    if settings.url is None:
        raise ConfigurationError("search.url is missing: where is the OpenSearch cluster?")
    options: dict[str, Any] = {}
    try:
        password = _password(settings)
        if settings.user is not None and password is not None:
            options["http_auth"] = (settings.user, password)
        if settings.url.startswith("https:"):
            options["ssl_context"] = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigurationError(f"a file of the search settings cannot be read: {error}") from error
    return AsyncOpenSearch(
        hosts=[settings.url],
        connection_class=_Connection,
        maxsize=settings.connections,
        timeout=settings.timeout,
        # A connection that was closed while idle is found out by using it; whoever calls knows when to try again else.
        max_retries=1,
        retry_on_status=(),
        **options,
    )


def _password(settings: SearchSettings) -> str | None:
    """The password that was handed over, or that of the file.

    Raises:
        ConfigurationError: There are both.
        OSError: The file cannot be read.
    """
    if settings.password is not None and settings.password_file is not None:
        raise ConfigurationError("search.password and search.password_file both say a password: unset one of them")
    if settings.password is not None:
        return settings.password.get_secret_value()
    return None if settings.password_file is None else settings.password_file.read_text().strip()


@contextmanager
def outage_told() -> Generator[None]:
    """Tell of a cluster that does not answer.

    Raises:
        SearchDownError: It cannot be reached, takes too long, has too much to do, or lost what it needs to answer.
    """
    try:
        yield
    except BusyError as error:
        raise SearchDownError("OpenSearch has too much to do", retry_after=seconds_after(error)) from error
    except (AuthenticationException, AuthorizationException) as error:
        raise SearchDownError("OpenSearch refuses the user of the search settings", retry_after=30) from error
    except ConnectionTimeout as error:
        raise SearchDownError("OpenSearch does not answer in time", retry_after=_RETRY_SECONDS) from error
    except UnreachableError as error:
        untrusted = isinstance(error.info, ClientSSLError)
        told = "shows a certificate that does not hold: see search.ca_file" if untrusted else "cannot be reached"
        raise SearchDownError(f"OpenSearch {told}", retry_after=_RETRY_SECONDS) from error
    except TransportError as error:
        if isinstance(error.status_code, int) and error.status_code < 500 and error_type(error) not in _OUTAGES:
            raise
        raise SearchDownError("OpenSearch cannot answer now", retry_after=_RETRY_SECONDS) from error
    except OpenSearchException as error:  # an answer that is not OpenSearch's
        raise SearchDownError("OpenSearch cannot be understood", retry_after=_RETRY_SECONDS) from error


_OUTAGES: Final = frozenset(
    {
        "index_closed_exception",
        "cluster_block_exception",
        "index_not_found_exception",  # taken away while we were at it, as is the next
        "aliases_not_found_exception",
    }
)


def seconds_after(error: BusyError) -> int:
    """Whole seconds after which a busy cluster may be asked again."""
    return max(1, round(error.retry_after or _RETRY_SECONDS))


def error_type(error: TransportError) -> str | None:
    """What OpenSearch calls an error. Its reason may quote what was sent, so we do not repeat it."""
    match error.info:
        case {"error": {"type": str(told)}}:
            return told
        case _:
            return None
