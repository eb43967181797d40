"""Runs the Postman collection against the instance of the state directory, and says what failed."""

import asyncio
import sys
from pathlib import Path

from postman.newman import run
from tallystick.errors import TallystickError
from tallystick.runtime.client import read_token
from tallystick.runtime.state import StateDirectory
from tallystick.settings import Settings


def main() -> int:
    """Run it; 1 when something failed."""
    instance = StateDirectory.from_settings(Settings()).read_run()
    if instance is None:
        print("nothing runs here: start it with `make run` in another terminal", file=sys.stderr)
        return 1
    try:
        token = read_token(Path(instance.token_file))
        report = asyncio.run(run(instance.url, token, instance.tenant_id, ["cli"]))
    except TallystickError as error:
        print(error.detail, file=sys.stderr)
        return 1
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
