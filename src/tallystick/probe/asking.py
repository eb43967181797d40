"""Asks a deployment: so many requests at once and no more, and patiently where it is busy."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import httpx

from tallystick.errors import UnavailableError
from tallystick.probe.model import Answer, Ask

_BUSY: Final = frozenset({408, 429, 502, 503, 504})
_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_TIMEOUT: Final = 30.0


class Asker:
    """A client of a deployment.

    Args:
        client: Whose base is the deployment.
        places: How many may ask at once.
        patience: Seconds for which a busy deployment is asked again.

    Attributes:
        turn: To be held by what must not be asked twice at once.
    """

    def __init__(self, client: httpx.AsyncClient, places: asyncio.Semaphore, patience: float) -> None:
        self._client = client
        self._places = places
        self.patience = patience
        self.turn = asyncio.Lock()

    @property
    def url(self) -> str:
        """The base of the deployment, without a final slash."""
        return str(self._client.base_url).rstrip("/")

    async def ask(self, asked: Ask, token: str | None) -> Answer:
        """Ask, and again while the answer is that it is busy: everything the probe sends is safe to send again.

        Raises:
            UnavailableError: It stayed busy, or did not answer.
        """
        deadline = time.monotonic() + self.patience
        pause = _PAUSE
        while True:
            told = ""
            try:
                async with self._places:
                    response = await self._send(asked, token)
                if response.status_code not in _BUSY:
                    return _answer(response)
                told = f"answered {response.status_code}"
                pause = max(pause, _seconds(response.headers.get("retry-after")))
            except httpx.TransportError as error:
                told = type(error).__name__
            if time.monotonic() + pause > deadline:
                raise UnavailableError(f"{asked.line}: {told}, for {self.patience:g} s")
            await asyncio.sleep(min(pause, _LONGEST_PAUSE))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def ask_until(self, asked: Ask, token: str | None, ready: Callable[[Answer], bool], hint: str) -> Answer:
        """Ask until an answer is as wanted; the hint says what else to look at.

        Raises:
            UnavailableError: It was not in time.
        """
        deadline = time.monotonic() + self.patience
        while not ready(answer := await self.ask(asked, token)):
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{asked.line}: answered {answer.status} for {self.patience:g} s and not as it should: {hint}"
                )
            await asyncio.sleep(_PAUSE)
        return answer

    async def _send(self, asked: Ask, token: str | None) -> httpx.Response:
        headers = {**asked.headers, **({} if token is None else {"Authorization": f"Bearer {token}"})}
        body = {} if asked.body is None else {"json": asked.body}
        return await self._client.request(asked.method, asked.path, params=asked.query or None, headers=headers, **body)


@asynccontextmanager
async def connected(url: str, concurrency: int, patience: float) -> AsyncGenerator[Asker]:
    """A client of a deployment.

    Args:
        url: Its base.
        concurrency: Most requests at once.
        patience: Seconds for which a busy deployment is asked again.
    """
    limits = httpx.Limits(max_connections=concurrency)
    # What is compressed would hide what is looked for.
    plain = {"Accept-Encoding": "identity"}
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=_TIMEOUT, headers=plain) as client:
        yield Asker(client, asyncio.Semaphore(concurrency), patience)


def _answer(response: httpx.Response) -> Answer:
    head = b"".join(name + b": " + value + b"\n" for name, value in response.headers.raw)
    return Answer(response.status_code, head + response.content, response.content)


def _seconds(told: str | None) -> float:
    return float(told) if told is not None and told.isdigit() else 0.0
