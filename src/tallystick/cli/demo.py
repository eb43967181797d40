"""`tallystick demo`."""


def demo() -> None:
    """Fill the running instance with a company's activity."""
