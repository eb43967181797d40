"""How many may do the same at once in one process."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from tallystick.errors import OverloadedError


class Admission:
    """Places in one process. Nobody gets all of them, unless there is but one.

    Args:
        most: How many.
        refusal: What is said to who gets none.
    """

    def __init__(self, most: int, refusal: str) -> None:
        self._most = most
        self._refusal = refusal
        self._taken: Counter[str] = Counter()

    @contextmanager
    def admitted(self, client: str) -> Generator[None]:
        """Take a place until the block ends.

        Args:
            client: Who asks for it.

        Raises:
            OverloadedError: All are taken, or this client has all that it may have.
        """
        if self._taken.total() >= self._most or self._taken[client] >= max(1, self._most - 1):
            raise OverloadedError(self._refusal, retry_after=5)
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]
