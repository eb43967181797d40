"""Our own log lines: JSON for machines, coloured text for a terminal, one way for the standard library's too.

They never hold an event's content or a token. Messages of exceptions may quote what a client sent (a value that
failed validation, a row that broke a constraint), so only those of our own errors and of the operating system are
written; of all others the type, the SQLSTATE and the place.
"""

import logging
import os
import sys
import traceback
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, cast

import orjson
import structlog

from tallystick.errors import ConfigurationError, TallystickError
from tallystick.settings import LogSettings

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""Of the request that is served here: each line says it. (structlog's own variables are searched for among all.)"""

_TOLD = (TallystickError, ConfigurationError, OSError)

EventDict = MutableMapping[str, Any]


class _LineLogger:
    """Writes whole lines to standard error, one call each; a full disk never fails a request."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, line: bytes | str) -> None:
        data = line if isinstance(line, bytes) else line.encode(errors="replace")
        with suppress(OSError):
            os.write(2, data + b"\n")

    debug = info = warning = error = critical = exception = log = msg


def configure_logging(settings: LogSettings) -> None:
    """Set logging up for this process; call once, at its start."""
    pretty = settings.format == "pretty" or (settings.format == "auto" and sys.stderr.isatty())
    chain: list[Callable[[Any, str, EventDict], Any]] = [
        add_request_id,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _render_exception,
    ]
    render = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(serializer=_to_json)
    structlog.configure(
        processors=[*chain, render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level)),
        logger_factory=lambda *names: _LineLogger(cast("str", names[0]) if names else "tallystick"),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level)
    # botocore prints whole requests and answers to debug: of KMS the data keys of tenants, in clear.
    for chatty in ("httpx", "httpcore", "asyncio", "asyncpg", "botocore", "aiobotocore", "urllib3", "opentelemetry"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("opensearch").setLevel(logging.ERROR)  # it raises what it warns of, and prints bodies to debug


def add_request_id(_: object, __: str, event: EventDict) -> EventDict:
    """Say in a line which request it is about."""
    request_id = REQUEST_ID.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def _to_json(event: EventDict, **_: object) -> bytes:
    return orjson.dumps(event, default=str)


def _render_exception(_: object, __: str, event: EventDict) -> EventDict:
    """Replace ``exc_info`` by a text that quotes no client."""
    info: object = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, tuple):
        info = cast("tuple[object, ...]", info)[1]
    if isinstance(info, BaseException):
        event["exception"] = describe(info)
    return event


def describe(error: BaseException) -> str:
    """An exception and what caused it, innermost first: places and types, and messages only where they are ours."""
    parts: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        sqlstate: object = getattr(link, "sqlstate", None)
        what = str(link) if isinstance(link, _TOLD) else f"SQLSTATE {sqlstate}" if sqlstate else ""
        frames = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"{frames}{type(link).__module__}.{type(link).__qualname__}: {what}".rstrip(": "))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\nled to\n".join(reversed(parts))
