import base64
import json
import logging
import os
import subprocess
import sys

import pytest

from tallystick.errors import DatabaseDownError
from tallystick.runtime.logging import describe

SECRET = "card 4111111111111111"


class _ServerError(Exception):
    sqlstate = "23514"


def _caught(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_a_foreign_message_is_never_quoted_but_its_place_is() -> None:
    text = describe(_caught(ValueError(SECRET)))
    assert SECRET not in text
    assert "builtins.ValueError" in text
    assert "test_logging.py" in text


def test_a_database_error_is_told_by_its_sqlstate() -> None:
    text = describe(_caught(_ServerError(f"Failing row contains ({SECRET})")))
    assert SECRET not in text
    assert "SQLSTATE 23514" in text


def test_our_own_messages_and_the_causes_are_told() -> None:
    error = DatabaseDownError("the database does not answer")
    error.__cause__ = _ServerError(SECRET)
    text = describe(error)
    assert SECRET not in text
    assert text.index("SQLSTATE 23514") < text.index("the database does not answer")


def test_lines_of_our_own_and_of_libraries_are_json() -> None:
    code = (
        "import logging, structlog\n"
        "from tallystick.runtime.logging import REQUEST_ID, configure_logging\n"
        "from tallystick.settings import LogSettings\n"
        "configure_logging(LogSettings())\n"
        "serving = REQUEST_ID.set('r1')\n"
        "structlog.get_logger('tallystick.ours').info('hello', tenant='acme')\n"
        "structlog.get_logger('tallystick.ours').debug('too small')\n"
        "logging.getLogger('uvicorn.error').warning('closing %s', 'it')\n"
        "REQUEST_ID.reset(serving)\n"
        "try:\n    raise ValueError('SEC' + 'RET')\n"  # newer Pythons show the line that raised, too
        "except ValueError:\n    logging.getLogger('uvicorn.error').exception('failed')\n"
        "    structlog.get_logger('tallystick.ours').exception('failed too')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    ours, theirs, failed, failed_too = (json.loads(line) for line in done.stderr.splitlines())
    assert (ours["event"], ours["tenant"], ours["logger"], ours["level"]) == (
        "hello",
        "acme",
        "tallystick.ours",
        "info",
    )
    assert (theirs["event"], theirs["logger"]) == ("closing it", "uvicorn.error")
    assert [line.get("request_id") for line in (ours, theirs, failed)] == ["r1", "r1", None]
    assert "SECRET" not in done.stderr
    assert "ValueError" in failed["exception"]
    assert "ValueError" in failed_too["exception"]


def test_the_root_logger_is_left_alone_by_importing() -> None:
    assert all(type(handler).__module__ != "tallystick.runtime.logging" for handler in logging.getLogger().handlers)


def test_no_data_key_is_written_even_at_debug() -> None:
    key = b"0123456789abcdef0123456789abcdef"  # pragma: allowlist secret
    code = (
        "import asyncio\n"
        "from tallystick.adapters.kms import KmsKeyRing\n"
        "from tallystick.errors import KeysDownError\n"
        "from tallystick.runtime.logging import configure_logging\n"
        "from tallystick.settings import KeySettings, LogSettings\n"
        "configure_logging(LogSettings(level='DEBUG'))\n"
        "name = 'arn:aws:kms:eu-west-1:1:key/a'\n"
        "where = dict(kind='kms', region='eu-west-1', endpoint='http://127.0.0.1:1')\n"
        "class Ring(KmsKeyRing):\n    async def active_id(self):\n        return name\n"
        "async def wrap():\n"
        "    async with Ring(KeySettings(key_id=name, **where)) as ring:\n"
        f"        await ring.wrap({key!r}, {{}})\n"
        "try:\n    asyncio.run(wrap())\nexcept KeysDownError:\n    print('asked')\n"
    )
    aws = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}  # pragma: allowlist secret
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **aws}
    )
    assert done.stdout == "asked\n"
    assert "kms_down" in done.stderr
    assert base64.b64encode(key).decode() not in done.stderr
    assert key.decode() not in done.stderr
