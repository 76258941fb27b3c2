"""
Runs for callers that block: the same verbs as ``tracker.runs``, on the private loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, final

from onehouse_tracker import runs as _async
from onehouse_tracker._checks import check_no_mapping
from onehouse_tracker.results import TimeLeft
from onehouse_tracker.run_results import JobRun, RunResult, RunResults
from onehouse_tracker.sync._run_handles import RunCompletions, RunHandle

if TYPE_CHECKING:
    from onehouse_tracker.runs import WorkKind
    from onehouse_tracker.sync._calls import Calls

__all__ = ["OnRunResult", "Runs"]

OnRunResult: TypeAlias = Callable[[RunResult], object]
"""A plain function of one result.  It runs in a thread of its own, one call at a time."""


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
    def followed(self) -> int:
        """How many runs are followed now, those that are being started included."""
        return self._inner.followed

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
        return self._own(
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
        return self._own(
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

    def _own(self, work: Callable[[], Coroutine[Any, Any, RunResults]]) -> RunResults:
        """What *work* brings, acknowledged from any thread: see `Calls.own`."""
        results = self._calls.call(work)
        return RunResults(
            results,
            callback_errors=results.callback_errors,
            acknowledge=lambda: self._calls.call(results.ack_and_wait),
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

    def time_left(self, run: JobRun | RunHandle) -> TimeLeft | None:
        """
        How long a run will still take, by what earlier runs of its job took.

        Args:
            run: A run that is followed, or a handle, also of one that is being started.

        Returns:
            The median and a range of seconds; `None` where nothing is known.

        Raises:
            InvalidRequestError: It is neither a run nor a handle.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        wanted = run.inner if isinstance(run, RunHandle) else run
        return self._calls.do(lambda: self._inner.time_left(wanted))


def _inner_of(runs: Iterable[JobRun | RunHandle]) -> list[JobRun | _async.RunHandle]:
    """What the private loop knows; of the rest, that refuses what is none."""
    check_no_mapping(runs, "runs", "runs", "followed")
    return [run.inner if isinstance(run, RunHandle) else run for run in runs]
