"""
What the blocking tracker hands out: a handle for one request, an iterator for many.
"""

from __future__ import annotations

from typing import final

from onehouse_tracker import handles
from onehouse_tracker.models import Result
from onehouse_tracker.sync._awaiting import Arrivals, Awaited

__all__ = ["Completions", "Handle"]


@final
class Handle(Awaited[handles.Handle, Result]):
    """
    One request that is tracked until it ends, `cancel` is called, or the tracker closes.

    It is used like a future of ``concurrent.futures``, by any number of threads.  As with any
    future, the request is tracked whether you keep the handle or not: only `cancel` ends that.
    The handle keeps its tracker from being garbage-collected, and can be given wherever a
    request ID can.
    """

    __slots__ = ()

    @property
    def request_id(self) -> str:
        """The request."""
        return self.inner.request_id

    @property
    def label(self) -> str | None:
        """The label it was tracked with."""
        return self.inner.label


@final
class Completions(Arrivals[Result]):
    """
    Results in the order in which the requests end.

    A plain iterator and a context manager.  Leaving the ``with`` block, or `close`, stops the
    polling of what nobody else waits for.  As with any iterator, dropping it is the same, as a
    bare ``break`` does, but you cannot tell when.  Several threads may take from one iterator:
    each result goes to one of them.

    With a journal, a thread that asks for the next result acknowledges the one it got before.

    Raises:
        ProjectError: After the results that were known before it; ``pending`` names the
            requests that are still open.
    """
