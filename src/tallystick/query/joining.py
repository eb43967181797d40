"""Judgements joined: of all parts, or of any of them."""

from collections.abc import Callable
from typing import TypeVar

_Subject = TypeVar("_Subject")


def every(parts: tuple[Callable[[_Subject], bool], ...]) -> Callable[[_Subject], bool]:
    """Whether all parts say yes; none of them is asked after one that says no."""

    def judge(subject: _Subject) -> bool:
        for part in parts:  # noqa: SIM110  # a generator for each subject costs more than the comparisons
            if not part(subject):
                return False
        return True

    return judge


def some(parts: tuple[Callable[[_Subject], bool], ...]) -> Callable[[_Subject], bool]:
    """Whether a part says yes; none is asked after it."""

    def judge(subject: _Subject) -> bool:
        for part in parts:  # noqa: SIM110  # as above
            if part(subject):
                return True
        return False

    return judge
