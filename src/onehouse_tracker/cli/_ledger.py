"""
What one command follows, and what is known of it so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable

from onehouse_tracker.models import Outcome, Request, Result

__all__ = ["Ledger"]


class Ledger:
    """Requests in the order in which they came, each open or with its result."""

    def __init__(self) -> None:
        self.complete = False
        """Whether no more requests will come."""
        self._requests: dict[str, Result | None] = {}
        self._done = 0
        self._not_ok = 0

    def join(self, request_id: str) -> None:
        """One more request; a second time it changes nothing."""
        self._requests.setdefault(request_id, None)

    def end(self, result: Result) -> None:
        """One request has its result."""
        if self._requests.get(result.request_id) is None:
            self._done += 1
            self._not_ok += not result.ok
        self._requests[result.request_id] = result

    @property
    def total(self) -> int:
        """Requests so far."""
        return len(self._requests)

    @property
    def done(self) -> int:
        """How many of them have a result."""
        return self._done

    @property
    def not_ok(self) -> int:
        """How many of those ended badly, or not in time."""
        return self._not_ok

    def results(self) -> list[Result]:
        """The results so far, in the order in which the requests came."""
        return [result for result in self._requests.values() if result is not None]

    def open_ids(self) -> list[str]:
        """What may still change: requests without a result, or not finished in time."""
        return [
            request_id
            for request_id, result in self._requests.items()
            if result is None or not result.outcome.finished
        ]

    def outcomes(self) -> Counter[Outcome]:
        """How many requests ended how."""
        return Counter(result.outcome for result in self.results())

    async def watch(
        self, batches: AsyncIterable[Request] | Iterable[Request]
    ) -> AsyncIterator[Request]:
        """Pass requests on, and take note of them."""
        if isinstance(batches, AsyncIterable):
            async for request in batches:
                self.join(request.request_id)
                yield request
        else:
            for request in batches:
                self.join(request.request_id)
                yield request
        self.complete = True
