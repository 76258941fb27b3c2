"""
A number that blocks of code add to while they run.

Bookkeeping only: no clock, no I/O, no tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Tally"]


class Tally:
    """The sum of what the blocks that run now add; each may say another number every time."""

    __slots__ = ("_sizes",)

    def __init__(self) -> None:
        self._sizes: dict[object, Callable[[], int]] = {}

    @contextmanager
    def add(self, size: Callable[[], int]) -> Iterator[None]:
        """Add what *size* says while the block runs."""
        key = object()
        self._sizes[key] = size
        try:
            yield
        finally:
            del self._sizes[key]

    @property
    def total(self) -> int:
        """The sum at this moment."""
        return sum(size() for size in self._sizes.values())
