"""What is told of a running instance is worth less than the instance."""

import io

from rich.console import Console

from tallystick.cli.terminal import reporter


class FullDisk(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_ends_nothing() -> None:
    reporter(Console(file=FullDisk()), quiet=False)("a process died: starting it again")


def test_a_line_is_written_unless_all_shall_be_quiet() -> None:
    said = io.StringIO()
    reporter(Console(file=said), quiet=True)("not this")
    reporter(Console(file=said), quiet=False)("but this")
    assert said.getvalue() == "● but this\n"
