"""The command `tallystick`."""

from tallystick.cli.app import main

__all__ = ["main"]
