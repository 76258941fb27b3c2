"""
The runs of one tracker: what users call ``tracker.runs``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, final

from onehouse_tracker._checks import check_label, check_statement, check_statements_listed
from onehouse_tracker._engine.open_tracker.validation import check_max_running, check_timeout
from onehouse_tracker._util.numbers import is_number
from onehouse_tracker.errors import ConfigError, TrackerClosedError
from onehouse_tracker.results import TimeLeft
from onehouse_tracker.run_results import JobRun, RunResult, RunResults
from onehouse_tracker.runs import _restored as restored
from onehouse_tracker.runs._book import Book
from onehouse_tracker.runs._callbacks import OnRunResult
from onehouse_tracker.runs._calls import (
    all_checked,
    checked,
    completions,
    join_all,
    until_all,
)
from onehouse_tracker.runs._followed import Followed, RunWait
from onehouse_tracker.runs._handles import RunCompletions, RunHandle
from onehouse_tracker.runs._queue import Queue

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.protocols import StatusSource
    from onehouse_tracker.runs._journal import RunJournal
    from onehouse_tracker.runs._kinds import WorkKind

__all__ = ["Runs"]


@final
class Runs:
    """
    Starts runs, and follows runs to their real end; get it as ``Tracker.runs``.

    A run is checked by statements (SHOW RUNS IN JOB, DESCRIBE JOB_RUN) within the same rate
    limit as everything else.  These never appear among your requests.
    """

    def __init__(
        self,
        session: Session,
        source: StatusSource,
        policy: PollPolicy,
        *,
        wall_clock: Callable[[], datetime],
        seed: int | None,
    ) -> None:
        self._session = session
        self._source = source
        self._policy = policy
        self._wall_clock = wall_clock
        self._seed = seed
        self._book: Book | None = None
        self._not_run_grace = 1800.0
        self._kinds: list[WorkKind] = []

    def __repr__(self) -> str:
        return f"<Runs: {self.followed} followed>"

    @property
    def followed(self) -> int:
        """How many runs are followed now, those that are being started included."""
        return 0 if self._book is None else self._book.running

    @property
    def not_run_grace(self) -> float:
        """Seconds during which the word NOT_RUN means "not yet"; 1,800 unless you set it."""
        return self._not_run_grace

    @not_run_grace.setter
    def not_run_grace(self, seconds: float) -> None:
        if not is_number(seconds):
            raise ConfigError(f"not_run_grace is seconds from 0, not {seconds!r}")
        self._not_run_grace = seconds
        if self._book is not None:
            self._book.judge.not_run_grace = seconds

    def add_kind(self, kind: WorkKind) -> None:
        """
        Follow one more kind of work, beside runs of jobs.

        Raises:
            ConfigError: There is a kind of this name already.
        """
        if self._book is not None:
            self._book.kinds.add(kind)
        self._kinds.append(kind)

    # --- Following -------------------------------------------------------------------------

    async def submit(self, statement: str, *, label: str | None = None) -> RunHandle:
        """
        Submit one statement within the rate limit, and follow the run that it starts to its end.

        A statement is sent once, as by `Tracker.submit`.  For a statement that starts no run the
        handle gives the outcome of its request.

        Args:
            statement: One SQL statement, e.g. ``RUN JOB nightly``.

            label: Your name for it.

        Returns:
            A handle: await it for the end of the run.

        Raises:
            InvalidRequestError: It cannot be a statement; or it runs a job whose name cannot be
                read or quoted, so that its run could not be followed.  Nothing was sent.

            SubmissionRejectedError: The server refused it; nothing runs.

            SubmissionUnsentError: It never left; it is safe to submit it again.

            SubmissionUnknownError: It may or may not run.

            ProjectError: What `Tracker.submit` raises.
        """
        book = self._opened()
        check_label(label)
        followed = book.statement(check_statement(statement), label)
        await book.send(followed)
        if book.closed:
            raise TrackerClosedError(
                "the tracker was closed, but the statement was accepted as request"
                f" {followed.request_id}",
                pending=(followed.request_id or "",),
            )
        handle = self._handle(followed)
        book.follow_request(followed)
        return handle

    def track(self, run: JobRun) -> RunHandle:
        """
        Follow one run, also one that was started elsewhere.

        Raises:
            InvalidRequestError: Nobody knows such a kind of work.

            TrackerClosedError: The tracker is not open.
        """
        return self._handle(self._opened().run(checked(run)))

    async def wait_all(
        self,
        runs: Iterable[JobRun | RunHandle],
        *,
        timeout: float | None = None,
        on_result: OnRunResult | None = None,
    ) -> RunResults:
        """
        Wait until every run has its outcome.

        Several callers may wait for the same run; it is checked once.  Cancelling this call stops
        the waiting, and the checks of what nobody else waits for.

        Args:
            runs: What to wait for: runs, or handles.

            timeout: Seconds, on the event loop's clock.  `None` waits without limit.

            on_result: Called with each `RunResult` as it is known, one at a time, as that of
                `Tracker.wait_all`.  What it raises is logged and kept in
                `RunResults.callback_errors`.

        Returns:
            One result per run, in the order given.  What had not ended at the deadline has the
            outcome `TIMED_OUT` and can be waited for again.

        Raises:
            InvalidRequestError: Something is neither a run nor a handle.

            ConfigError: The timeout is not a number of seconds from 0.

            ProjectError: What `Tracker.wait_all` raises; ``pending`` has the IDs of the runs
                without an outcome.
        """
        book = self._opened()
        check_timeout(timeout)
        wanted = all_checked(runs)

        async def feed(wait: RunWait) -> None:
            join_all(book, wait, wanted)

        return await until_all(self._session, book, feed, timeout, on_result)

    def as_completed(
        self, runs: Iterable[JobRun | RunHandle], *, timeout: float | None = None
    ) -> RunCompletions:
        """
        Iterate over the results in the order in which the runs end.

        Args:
            runs: What to wait for: runs, or handles.

            timeout: Seconds from now; what has not ended then comes as `TIMED_OUT`.

        Returns:
            An async iterator that is also an async context manager.  It raises what `wait_all`
            raises, after the results that were known before.

        Raises:
            InvalidRequestError: Something is neither a run nor a handle.

            ConfigError: The timeout is not a number of seconds from 0.

            TrackerClosedError: The tracker is not open.
        """
        book = self._opened()
        check_timeout(timeout)
        wanted = all_checked(runs)
        return completions(book, timeout, lambda wait: join_all(book, wait, wanted))

    def resume(self, *, timeout: float | None = None) -> RunCompletions:
        """
        Continue with everything that the journal has and nobody acknowledged.

        Runs are followed to their end, also those whose run ID was not known yet.  A statement
        of which nobody knows whether it was sent comes as `START_UNKNOWN`.  One that was never
        sent comes as `NOT_STARTED`; the same `execute_all` with ``resume=True`` sends it.

        A result is acknowledged, and not delivered by this method again: here and with
        `as_completed`, when the next one is asked for; with ``on_result``, when the callback
        returned without an error; otherwise when the tracker's block ends without an exception.

        Args:
            timeout: Seconds from now; what has not ended then comes as `TIMED_OUT`.

        Returns:
            What `as_completed` returns.

        Raises:
            ConfigError: The tracker has no journal, or one that keeps no runs.

            TrackerClosedError: The tracker is not open.

            JournalError: From the iterator: the journal cannot be read.
        """
        book = self._opened()
        check_timeout(timeout)
        journal = self._journal(book)
        resume = partial(restored.resume, journal, restore=book.restore, expire=book.expire)
        return completions(book, timeout, resume)

    @staticmethod
    def _journal(book: Book) -> RunJournal:
        if book.journal is None:
            raise ConfigError("there is nothing to resume from: give the tracker a SqliteJournal")
        return book.journal

    async def execute_all(  # noqa: PLR0913 - the settings of one call
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

            on_result: Called with each `RunResult` as it is known, see `wait_all`.

            max_running: Statements and runs that may be open at once; the next one is sent when
                one ends.  `None` is any number.

            stop_on_failure: Whether nothing further is sent once a result is not ok.  What runs
                is followed to its end.

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

            ProjectError: What `Tracker.wait_all` raises.
        """
        book = self._opened()
        check_timeout(timeout)
        check_label(label)
        check_max_running(max_running)
        check_statements_listed(statements)
        if resume:
            self._journal(book)
        wanted = [check_statement(statement) for statement in statements]
        for statement in wanted:
            book.kinds.started_by(statement)
        queue = Queue(
            book,
            wanted,
            label,
            max_running=max_running,
            stop_on_failure=stop_on_failure,
            cancel_runs=cancel_runs,
            allow_unfollowed=allow_unfollowed,
            resume=resume,
            start=self._session.start,
        )
        return await until_all(self._session, book, queue.feed, timeout, on_result, queue.ended)

    async def cancel_run(self, run: JobRun) -> RunResult:
        """
        Have the server cancel a run, also one that was started elsewhere.

        It returns when the run has stopped.

        Raises:
            InvalidRequestError: Such work cannot be canceled.

            SubmissionError: The server refused the statement, or its fate is unknown.

            ProjectError: What `wait_all` raises.
        """
        handle = self.track(run)
        try:
            return await handle.cancel_run()
        finally:
            handle.cancel()

    def time_left(self, run: JobRun | RunHandle) -> TimeLeft | None:
        """
        How long a run will still take, by what earlier runs of its job took.

        It costs no check.  ``Tracker.stats().left`` is about all requests and runs.

        Args:
            run: A run that is followed, or a handle, also of one that is being started.

        Returns:
            The median and a range of seconds; `None` where nothing is known: see
            ``Tracker.time_left``.  A run counts by the name of its job.

        Raises:
            InvalidRequestError: It is neither a run nor a handle.

            TrackerClosedError: The tracker is not open.
        """
        book, now = self._opened(), asyncio.get_running_loop().time()
        if isinstance(run, RunHandle):
            return book.forecasts.left(run.followed, now)
        return book.forecasts.left_of_run(checked(run).job, run.run_id, now)

    # --- Private -----------------------------------------------------------------------------

    def _opened(self) -> Book:
        self._session.opened()
        if self._book is None:
            self._book = Book(
                self._session,
                self._source,
                self._policy,
                wall_clock=self._wall_clock,
                seed=self._seed,
            )
            self._book.judge.not_run_grace = self._not_run_grace
            for kind in self._kinds:
                self._book.kinds.add(kind)
        return self._book

    def _handle(self, followed: Followed) -> RunHandle:
        book = self._opened()
        wait = RunWait()
        wait.join(followed, None)
        wait.fed()
        return RunHandle(followed, wait, book.leave, book.cancel_run, book.journal)
