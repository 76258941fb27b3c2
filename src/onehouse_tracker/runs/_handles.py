"""
What `Runs` hands out: a handle for one run, an iterator for many.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, final

from onehouse_tracker._awaiting import Arrivals, Awaited
from onehouse_tracker.run_results import RunResult, RunResults, own_copy

if TYPE_CHECKING:
    from onehouse_tracker.runs._followed import Followed, RunWait
    from onehouse_tracker.runs._journal import RunJournal

__all__ = ["RunCompletions", "RunHandle"]


@final
class RunHandle(Awaited["RunWait", RunResult]):
    """
    One run that is followed until it ends, `cancel` is called, or the tracker closes.

    ``await handle`` returns its `RunResult`.  Any number of tasks may await it, any number of
    times; each gets a result, or an exception, of its own.  Cancelling a task that awaits the
    handle does not cancel the handle.

    Raises:
        AuthenticationError: The server refused our credentials.

        OutageError: Nothing answered for ``PollPolicy.patience`` seconds.

        TrackerClosedError: The tracker was closed first.

        asyncio.CancelledError: `cancel` was called first.
    """

    __slots__ = ("_cancel_run", "_journal", "followed")

    def __init__(
        self,
        followed: Followed,
        wait: RunWait,
        leave: Callable[[RunWait], None],
        cancel_run: Callable[[Followed], Awaitable[None]],
        journal: RunJournal | None = None,
    ) -> None:
        super().__init__(wait, leave)
        self.followed = followed
        """What the tracker knows of it; not for users."""
        self._cancel_run = cancel_run
        self._journal = journal

    def __repr__(self) -> str:
        name = self.run_id or self.request_id
        return f"<RunHandle {name}: {self._state() or self._stored().outcome}>"

    @property
    def job(self) -> str | None:
        """The name of the job; `None` for a statement that starts no run."""
        return self.followed.job

    @property
    def run_id(self) -> str | None:
        """The run, once it is known."""
        if self.followed.run is not None:
            return self.followed.run.run_id
        return None if self.followed.result is None else self.followed.result.run_id

    @property
    def request_id(self) -> str | None:
        """The request that started it; `None` for a run that was started elsewhere."""
        return self.followed.request_id

    @property
    def label(self) -> str | None:
        """The label it was given."""
        return self.followed.label

    @property
    def status(self) -> str | None:
        """The server's last word about the run; `None` before the first."""
        return None if self.followed.run is None else self.followed.run.word

    async def cancel_run(self) -> RunResult:
        """
        Have the server cancel the run, and wait until it has stopped.

        It may have ended in another way before; `RunResult.cancellation` has what the server
        said.  Cancelling this call stops the waiting only.

        Returns:
            How the run ended.

        Raises:
            InvalidRequestError: The run is not known, or such work cannot be cancelled.

            SubmissionError: The server refused the statement, or its fate is unknown.

            ProjectError: What awaiting would raise.
        """
        if not self._wait.over:
            await self._cancel_run(self.followed)
        result = await self
        if result.cancellation is None:  # it ended before the answer came
            result = replace(result, cancellation=self.followed.cancellation)
        return result

    def _named(self) -> str:
        return f"run {self.run_id or self.request_id or '-'}"

    def _own(self) -> RunResult:
        return own_copy(self._stored())

    def _deliver(self, result: RunResult) -> None:  # noqa: ARG002 - known by its key
        if self._journal is not None:
            self._journal.told(self._wait.keys)

    def _as_results(self, result: RunResult) -> RunResults:
        journal, keys = self._journal, self._wait.keys
        acknowledge = None if journal is None else (lambda: journal.acknowledge(keys))
        return RunResults((result,), acknowledge=acknowledge)

    def _stored(self) -> RunResult:
        return self._wait.results()[0]


@final
class RunCompletions(Arrivals[tuple[int, RunResult], RunResult]):
    """
    Results in the order in which the runs end.

    An async iterator and an async context manager.  Leaving the ``async with`` block, or
    `aclose`, stops the checks of what nobody else follows; so does dropping it, but you cannot
    tell when.  Several tasks may take from one iterator: each result goes to one of them.

    With a journal, asking for the next result acknowledges the one before, and gets the next one
    when that is on disk.  Where several tasks take from one iterator, each acknowledges its own
    results only.

    Raises:
        ProjectError: After the results that were known before it.
    """

    _wait: RunWait

    def _pending(self) -> int:
        return self._wait.open

    def _unpack(self, arrived: tuple[int, RunResult]) -> tuple[str | None, RunResult]:
        position, result = arrived
        return self._wait.keys[position], result
