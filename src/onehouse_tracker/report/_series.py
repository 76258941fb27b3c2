"""
Counts over time in a bounded number of buckets: they become coarser as time grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

__all__ = ["Series"]


@final
class Series:
    """
    Amounts by time, for several kinds at once.

    Adding costs the same however much was added before: when the buckets run out, each two
    become one.

    Args:
        kinds: What is counted.

        buckets: How many there are at most, an even number.

        width: Seconds that one bucket covers at first.
    """

    def __init__(self, kinds: Sequence[str], *, buckets: int = 480, width: float = 1.0) -> None:
        self.width = width
        self._most = buckets
        self._counts: dict[str, list[float]] = {kind: [] for kind in kinds}

    def add(self, kind: str, at: float, amount: float = 1) -> None:
        """Add *amount* at *at* seconds; what was before the start counts as the start."""
        index = self._index(at)  # first: it may replace the lists
        counts = self._counts[kind]
        if index >= len(counts):
            counts.extend([0] * (index + 1 - len(counts)))
        counts[index] += amount

    def spread(self, kind: str, start: float, end: float) -> None:
        """Add the seconds from *start* to *end*, to each bucket as many as fall into it."""
        self._index(end)  # it may become coarser only now, not on the way
        while start < end:
            edge = min(end, (int(start / self.width) + 1) * self.width)
            self.add(kind, start, edge - start)
            start = edge

    def packed(self, since: float = 0.0) -> dict[str, Any]:
        """The buckets from that of *since* on, as plain data."""
        first = max(0, int(since / self.width))
        data: dict[str, Any] = {"width": self.width, "first": first}
        for kind, counts in self._counts.items():
            data[kind] = [round(count, 3) for count in counts[first:]]
        return data

    def _index(self, at: float) -> int:
        while (index := max(0, int(at / self.width))) >= self._most:
            self._coarsen()
        return index

    def _coarsen(self) -> None:
        self.width *= 2
        for kind, counts in self._counts.items():
            merged = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
            self._counts[kind] = merged
