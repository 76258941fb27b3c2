"""
Runs for callers that block: the same verbs as ``tracker.runs``, on the private loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, final

from onehouse_tracker import runs as _async
from onehouse_tracker._engine.open_tracker.validation import check_timeout
from onehouse_tracker.run_results import JobRun, RunResult, RunResults

if TYPE_CHECKING:
    from onehouse_tracker.runs import WorkKind
    from onehouse_tracker.sync._calls import Calls

__all__ = ["OnRunResult", "RunCompletions", "RunHandle", "Runs"]

OnRunResult: TypeAlias = Callable[[RunResult], object]
"""A plain function of one result.  It runs in a thread of its own, one call at a time."""


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


@final
class Runs:
    """
    Starts runs, and follows runs to their real end; get it as ``sync.Tracker.runs``.

    Each method does what the method of `onehouse_tracker.runs.Runs` does, and blocks.  Ctrl-C in
    a call ends that call, and the runs continue.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @property
    def _inner(self) -> _async.Runs:
        return self._calls.tracker.runs

    def __repr__(self) -> str:
        return f"<sync {repr(self._inner).removeprefix('<')}"

    @property
    def not_run_grace(self) -> float:
        """Seconds during which the word NOT_RUN means "not yet"; 1,800 unless you set it."""
        return self._inner.not_run_grace

    @not_run_grace.setter
    def not_run_grace(self, seconds: float) -> None:
        self._inner.not_run_grace = seconds

    def add_kind(self, kind: WorkKind) -> None:
        """
        Follow one more kind of work, beside runs of jobs.

        Raises:
            ConfigError: There is a kind of this name already.
        """
        self._calls.do(partial(self._inner.add_kind, kind))

    def submit(self, statement: str, *, label: str | None = None) -> RunHandle:
        """
        Submit one statement within the rate limit, and follow the run that it starts.

        It returns when the server has accepted the statement.

        Args:
            statement: One SQL statement, e.g. ``RUN JOB nightly``.

            label: Your name for it.

        Returns:
            A handle: ``handle.result()`` waits for the end of the run.

        Raises:
            InvalidRequestError: It cannot be a statement, or its run could not be followed.

            SubmissionError: It was refused, never sent, or its fate is unknown.

            ProjectError: What `wait_all` raises.
        """
        inner = self._calls.call(partial(self._inner.submit, statement, label=label))
        return RunHandle(self._calls, inner)

    def track(self, run: JobRun) -> RunHandle:
        """
        Follow one run, also one that was started elsewhere.

        Raises:
            InvalidRequestError: Nobody knows such a kind of work.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        return RunHandle(self._calls, self._calls.do(lambda: self._inner.track(run)))

    def wait_all(
        self,
        runs: Iterable[JobRun | RunHandle],
        *,
        timeout: float | None = None,
        on_result: OnRunResult | None = None,
    ) -> RunResults:
        """
        Wait until every run has its outcome.

        Args:
            runs: What to wait for: runs, or handles.

            timeout: Seconds.  `None` waits without limit.

            on_result: Called with each `RunResult` as it is known.

        Returns:
            One result per run, in the order given.  What had not ended at the deadline has the
            outcome `TIMED_OUT` and can be waited for again.

        Raises:
            InvalidRequestError: Something is neither a run nor a handle.

            ConfigError: The timeout is not a number of seconds from 0.

            ProjectError: What ``sync.Tracker.wait_all`` raises; ``pending`` has the IDs of the
                runs without an outcome.

            KeyboardInterrupt: Ctrl-C; the runs continue.
        """
        wanted = _inner_of(runs)
        return self._calls.call(
            lambda: self._inner.wait_all(wanted, timeout=timeout, on_result=on_result)
        )

    def as_completed(
        self, runs: Iterable[JobRun | RunHandle], *, timeout: float | None = None
    ) -> RunCompletions:
        """
        Iterate over the results in the order in which the runs end.

        Args:
            runs: What to wait for: runs, or handles.

            timeout: Seconds from now; what has not ended then comes as `TIMED_OUT`.

        Returns:
            A plain iterator that is also a context manager.  It raises what `wait_all` raises.

        Raises:
            InvalidRequestError: Something is neither a run nor a handle.

            ConfigError: The timeout is not a number of seconds from 0.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        wanted = _inner_of(runs)
        inner = self._calls.do(lambda: self._inner.as_completed(wanted, timeout=timeout))
        return RunCompletions(self._calls, inner)

    def resume(self, *, timeout: float | None = None) -> RunCompletions:
        """
        Continue with everything that the journal has of runs and nobody acknowledged.

        Args:
            timeout: Seconds from now; what has not ended then comes as `TIMED_OUT`.

        Raises:
            ConfigError: The tracker has no journal that keeps runs.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.

            JournalError: From the iterator: the journal cannot be read.
        """
        inner = self._calls.do(lambda: self._inner.resume(timeout=timeout))
        return RunCompletions(self._calls, inner)

    def execute_all(  # noqa: PLR0913 - the settings of one call
        self,
        statements: Iterable[str],
        *,
        timeout: float | None = None,
        label: str | None = None,
        on_result: OnRunResult | None = None,
        max_running: int | None = None,
        stop_on_failure: bool = False,
        cancel_runs: bool = False,
        allow_unfollowed: bool = False,
        resume: bool = False,
    ) -> RunResults:
        """
        Submit statements in order, and follow what they start to its real end.

        Args:
            statements: SQL statements.  One that starts no run has the outcome of its request.

            timeout: Seconds for all of it.  What was not sent by then is not sent; what runs
                continues.

            label: Your name for all of them.

            on_result: Called with each `RunResult` as it is known.

            max_running: Statements and runs that may be open at once; the next one is sent when
                one ends.  `None` is any number.

            stop_on_failure: Whether nothing further is sent once a result is not ok.

            cancel_runs: Whether what runs is canceled then.

            allow_unfollowed: Whether `RunOutcome.STARTED` counts as ok.

            resume: Whether this is the same call again, after a crash: only what was never sent
                is sent, and everything else is followed.  It needs a journal.

        Returns:
            One result per statement, in the order given.

        Raises:
            InvalidRequestError: Something cannot be a statement, or starts a run that could not
                be followed.  Nothing was sent.

            ConfigError: A setting makes no sense.

            ProjectError: What `wait_all` raises.

            KeyboardInterrupt: Ctrl-C; nothing further is sent, and the runs continue.
        """
        return self._calls.call(
            lambda: self._inner.execute_all(
                statements,
                timeout=timeout,
                label=label,
                on_result=on_result,
                max_running=max_running,
                stop_on_failure=stop_on_failure,
                cancel_runs=cancel_runs,
                allow_unfollowed=allow_unfollowed,
                resume=resume,
            )
        )

    def cancel_run(self, run: JobRun) -> RunResult:
        """
        Have the server cancel a run, also one that was started elsewhere.

        It returns when the run has stopped.

        Raises:
            InvalidRequestError: Such work cannot be canceled.

            SubmissionError: The server refused the statement, or its fate is unknown.

            ProjectError: What `wait_all` raises.
        """
        return self._calls.call(lambda: self._inner.cancel_run(run))


def _inner_of(runs: Iterable[JobRun | RunHandle]) -> list[JobRun | _async.RunHandle]:
    """What the private loop knows; anything else is refused there."""
    return [run.inner if isinstance(run, RunHandle) else run for run in runs]
