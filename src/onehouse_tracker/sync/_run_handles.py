"""
What the blocking runs hand out: a handle for one run, an iterator for many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from onehouse_tracker import runs as _async
from onehouse_tracker._engine.open_tracker.validation import check_timeout
from onehouse_tracker.run_results import RunResult

if TYPE_CHECKING:
    from onehouse_tracker.sync._calls import Calls

__all__ = ["RunCompletions", "RunHandle"]


@final
class RunHandle:
    """One run that is followed until it ends, `cancel` is called, or the tracker closes."""

    __slots__ = ("_calls", "inner")

    def __init__(self, calls: Calls, inner: _async.RunHandle) -> None:
        self._calls = calls
        self.inner = inner
        """That of the private loop; not for users."""

    def __repr__(self) -> str:
        return f"<sync {repr(self.inner).removeprefix('<')}"

    @property
    def job(self) -> str | None:
        """The name of the job; `None` for a statement that starts no run."""
        return self.inner.job

    @property
    def run_id(self) -> str | None:
        """The run, once it is known."""
        return self.inner.run_id

    @property
    def request_id(self) -> str | None:
        """The request that started it; `None` for a run that was started elsewhere."""
        return self.inner.request_id

    @property
    def label(self) -> str | None:
        """The label it was given."""
        return self.inner.label

    @property
    def status(self) -> str | None:
        """The server's last word about the run; `None` before the first."""
        return self.inner.status

    def done(self) -> bool:
        """Whether `result` returns, or raises, at once."""
        return self.inner.done()

    def result(self, timeout: float | None = None) -> RunResult:
        """
        Wait for the end of the run.

        Args:
            timeout: Seconds; `None` waits without limit.

        Raises:
            TimeoutError: It has not ended; the run, and this handle, continue.

            asyncio.CancelledError: `cancel` was called first.

            ProjectError: What `Runs.wait_all` raises.
        """
        check_timeout(timeout)

        async def waited() -> RunResult:
            if self.inner.done():
                return self.inner.result()
            async with asyncio.timeout(timeout):
                return await self.inner

        return self._calls.call(waited)

    def cancel(self) -> bool:
        """
        Stop following it, if nobody else does.  The run itself continues.

        Returns False if the handle was done.

        Raises:
            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        return self._calls.do(self.inner.cancel)

    def cancel_run(self) -> RunResult:
        """
        Have the server cancel the run, and wait until it has stopped.

        Raises what ``RunHandle.cancel_run`` of `onehouse_tracker.runs` raises.
        """
        return self._calls.call(self.inner.cancel_run)


@final
class RunCompletions(Iterator[RunResult]):
    """
    Results in the order in which the runs end: a plain iterator and a context manager.

    Leaving the ``with`` block, or `close`, stops the checks of what nobody else follows.  With a
    journal, asking for the next result acknowledges the one before.

    Raises:
        ProjectError: After the results that were known before it.
    """

    def __init__(self, calls: Calls, inner: _async.RunCompletions) -> None:
        self._calls = calls
        self._inner = inner
        # What was taken for a call that was interrupted stays here for the next.
        self._ready: deque[RunResult] = deque()

    def __repr__(self) -> str:
        return f"<sync {repr(self._inner).removeprefix('<')}"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RunResult:
        """Wait for the next result.  Ctrl-C loses none."""
        if not self._ready:
            self._calls.call(self._take)
        try:
            return self._ready.popleft()
        except IndexError:
            raise StopIteration from None

    async def _take(self) -> None:
        try:
            self._ready.append(await anext(self._inner))
        except StopAsyncIteration:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop waiting.  Results that have arrived can still be taken."""
        if not self._calls.closed:
            self._calls.call(self._inner.aclose)
