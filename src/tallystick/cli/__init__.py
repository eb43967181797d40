"""The command `tallystick`."""

import sys

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly, even while it loads."""
    try:
        from tallystick.cli.app import run  # noqa: PLC0415 - within the guard

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
