"""
What one command follows, and what is known of it so far.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator

from onehouse_tracker.models import Outcome, Request, Result

__all__ = ["CommandState"]

_FROZEN_AT_ONCE = 10_000
"""Requests after which the garbage collector leaves alone what there is: it lives until the end,
and to look through a million of them again and again stops everything for a second each time."""


class CommandState:
    """Requests in the order in which they came, each open or with its result."""

    def __init__(self) -> None:
        self.complete = False
        """Whether no more requests will come."""
        self.stop_sending: Callable[[], None] | None = None
        """Called when no more requests are wanted."""
        self._stopping = False
        self.idle = asyncio.Event()
        """Set while nothing is on its way whose fate would be unknown if it were stopped."""
        self.idle.set()
        self._requests: dict[str, Request] = {}
        self._results: dict[str, Result] = {}
        self._outcomes: Counter[Outcome] = Counter()

    @property
    def stopping(self) -> bool:
        """Whether no more requests are wanted."""
        return self._stopping

    def stop(self) -> None:
        """No more requests are wanted."""
        self._stopping = True
        if self.stop_sending is not None:
            self.stop_sending()

    def join(self, request: Request) -> None:
        """One more request; a second time it changes nothing."""
        self._requests.setdefault(request.request_id, request)

    def end(self, result: Result) -> None:
        """One request has its result."""
        known = self._results.get(result.request_id)
        if known is not None:
            self._outcomes[known.outcome] -= 1
        self._outcomes[result.outcome] += 1
        self._requests.setdefault(result.request_id, Request(result.request_id))
        self._results[result.request_id] = result

    def reopen(self, request_id: str | None = None) -> None:
        """Forget a result, or all of them: what could not be told has to come again."""
        for key in list(self._results) if request_id is None else [request_id]:
            self._outcomes[self._results.pop(key).outcome] -= 1

    @property
    def total(self) -> int:
        """Requests so far."""
        return len(self._requests)

    @property
    def done(self) -> int:
        """How many of them have a result."""
        return len(self._results)

    def standings(self) -> Iterator[tuple[Request, Result | None]]:
        """Each request and its result so far, in the order in which the requests came."""
        for key, request in self._requests.items():
            yield request, self._results.get(key)

    def results(self) -> list[Result]:
        """The results so far, in the order in which the requests came."""
        return [result for _, result in self.standings() if result is not None]

    def open(self) -> list[Request]:
        """What may still change: requests without a result, or not finished in time."""
        return [
            request
            for request, result in self.standings()
            if result is None or not result.outcome.finished
        ]

    def outcomes(self) -> Counter[Outcome]:
        """How many requests ended how."""
        return +self._outcomes

    async def watch(self, requests: AsyncIterable[Request]) -> AsyncIterator[Request]:
        """Pass requests on, and take note of them."""
        async for request in requests:
            self.join(request)
            if self.total % _FROZEN_AT_ONCE == 0:
                gc.freeze()
            yield request
        self.complete = True
