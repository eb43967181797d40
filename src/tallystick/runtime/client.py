"""Requests of our own commands to a running instance: patient with one that is busy or restarting."""

import time
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

from tallystick.errors import ConfigurationError, UnavailableError

_BUSY: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_LONGEST_PAUSE: Final = 15.0


def read_token(file: Path) -> str:
    """Read a token file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        return file.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read the token in {file}: {error.strerror}") from error


def connect(url: str, token: str) -> httpx.Client:
    """A client of the API at a base URL."""
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", headers=headers, timeout=120)


def post(client: httpx.Client, path: str, *, patience: float = 60, **request: Any) -> httpx.Response:  # noqa: ANN401
    """Post, and again while the answer is 408, 429, 502 or 503 or there is none. Only for what is safe to send again.

    Args:
        client: As `connect` makes it.
        path: Under the API's prefix.
        patience: Seconds after which the last answer is final.
        request: As `httpx.Client.post` takes it.

    Raises:
        UnavailableError: There was no answer at all.
    """
    deadline = time.monotonic() + patience
    pause = 0.5
    while True:
        answer: httpx.Response | None = None
        failure: httpx.TransportError | None = None
        try:
            answer = client.post(path, **request)
        except httpx.TransportError as error:
            failure = error
        if answer is not None and answer.status_code not in _BUSY:
            return answer
        if time.monotonic() + pause > deadline:
            if answer is not None:
                return answer
            raise UnavailableError(f"{client.base_url} does not answer: is `tallystick up` running?") from failure
        asked = float(answer.headers.get("retry-after", pause)) if answer is not None else pause
        time.sleep(min(asked, _LONGEST_PAUSE))
        pause = min(pause * 2, _LONGEST_PAUSE)
