"""
The tracker: what users hold in their hands.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack, final

from onehouse_tracker import events
from onehouse_tracker._checks import check_label, check_statement
from onehouse_tracker._engine.open_tracker.batch import Statement
from onehouse_tracker._engine.open_tracker.callbacks import OnResult
from onehouse_tracker._engine.open_tracker.collecting import collect
from onehouse_tracker._engine.open_tracker.polling_once import PollOnce, Show
from onehouse_tracker._engine.open_tracker.resumption import Resumption
from onehouse_tracker._engine.open_tracker.session import (
    Session,
)
from onehouse_tracker._engine.open_tracker.statements import Label, Statements
from onehouse_tracker._engine.open_tracker.submission import submit_once
from onehouse_tracker._engine.open_tracker.teardown import release
from onehouse_tracker._engine.open_tracker.validation import (
    RequestIds,
    check_timeout,
    checked,
    ids_of,
)
from onehouse_tracker._engine.source import project_key_of
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker._util.times import utc_now
from onehouse_tracker.errors import ConfigError, TrackerClosedError, TrackerError
from onehouse_tracker.handles import Completions, Handle
from onehouse_tracker.limiters import LocalLimiter, RateLimiter, limiter_from
from onehouse_tracker.limiters._connected import ConnectedLimiter
from onehouse_tracker.models import Request, RequestLike, Result
from onehouse_tracker.observers.logs import with_logs
from onehouse_tracker.onehouse._credential_sources.hidden import hide_settings
from onehouse_tracker.onehouse.settings import ClientSettings, refuse_unknown
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.protocols import HoldingSource, StatusSource
from onehouse_tracker.results import RequestStatus, Results, TimeLeft
from onehouse_tracker.settings import OnJournalError, TrackerSettings
from onehouse_tracker.statement_results import StatementResults
from onehouse_tracker.stats import TrackerStats

if TYPE_CHECKING:
    from onehouse_tracker._engine.learning import Learning
    from onehouse_tracker.history import History
    from onehouse_tracker.journal import Journal
    from onehouse_tracker.report.live_page import LivePage
    from onehouse_tracker.runs import Runs

__all__ = ["Completions", "Handle", "Tracker", "TrackerStats"]


@final
class Tracker:
    """
    Follows requests until each has its outcome, within one project's budget.

    Use it with ``async with``; it can be entered once.  All methods belong to the event
    loop on which it was entered.  Leaving the block stops all polling: a caller that still
    waits gets a `TrackerClosedError`.

    Args:
        client: The API to poll: an `OnehouseClient`, or any `StatusSource`.  A client that is
            not open yet is opened with the tracker and closed with it; one that you opened
            stays open (see `OpenableSource` for a client of your own).

        limiter: Hands out the budget.  `None` is a `LocalLimiter` of 10 requests a second.

        policy: When to ask again.

        journal: Keeps what must survive a crash, see `resume`.  `None` keeps nothing.

        on_journal_error: ``"raise"`` fails every waiter with `JournalError` where the journal
            cannot be used; ``"warn"`` logs it, emits `JournalFailed`, and continues without.

        observers: Told what happens, on the polling path.  A `LogObserver` is added.

        wall_clock: Tells the date, for `Result.detected_at` and `Request.submitted_at`.

        seed: Makes the jitter reproducible.

        history: Remembers how long requests took, for the next run.  `None` remembers nothing;
            nor does a tracker of a project on a loopback address.  It keeps projects apart by
            what *client* says of its own, see `protocols.ProjectSource`.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that can be chosen
        self,
        client: StatusSource,
        *,
        limiter: RateLimiter | None = None,
        policy: PollPolicy | None = None,
        journal: Journal | None = None,
        on_journal_error: OnJournalError = "raise",
        observers: Sequence[events.Observer] = (),
        wall_clock: Callable[[], datetime] | None = None,
        seed: int | None = None,
        history: History | None = None,
    ) -> None:
        if on_journal_error not in {"raise", "warn"}:
            raise ConfigError(f'on_journal_error is "raise" or "warn", not {on_journal_error!r}')
        self._client = client
        self._limiter = _connected(limiter or LocalLimiter(project=project_key_of(client)), client)
        self._policy = policy or PollPolicy()
        self._wall_clock = wall_clock or utc_now
        self._seed = seed
        self._runs: Runs | None = None
        self._session = Session(
            client,
            self._limiter,
            self._policy,
            journal=journal,
            journal_is_strict=on_journal_error == "raise",
            observers=with_logs(observers),
            wall_clock=self._wall_clock,
            seed=seed,
            learning=_learning(history, client),
        )

    @classmethod
    def from_env(
        cls,
        *,
        limit: float = 10.0,
        share: float = 1.0,
        limiter: RateLimiter | str | None = None,
        policy: PollPolicy | None = None,
        journal: Journal | None = None,
        on_journal_error: OnJournalError = "raise",
        observers: Sequence[events.Observer] = (),
        history: History | None = None,
        **settings: Unpack[ClientSettings],
    ) -> Self:
        """
        A tracker for Onehouse, configured like the vendor's own tools.

        Each credential comes from the keyword, the environment variable, or the profile
        file, in this order; see `Credentials.from_env`.

        Args:
            limit: Requests per second of the whole project [vendor documentation: 10].

            share: Our part of it, more than 0 and at most 1.

            limiter: Hands out the budget.  A word makes one of `limit` and `share`: ``local`` (as
                by default), ``host``, ``host:PATH``, or the URL of a Redis; see `limiter_from`.

            policy: When to ask again.

            journal: Keeps what must survive a crash, see `resume`.

            on_journal_error: What follows where the journal cannot be used.

            observers: Told what happens, on the polling path.

            history: Remembers how long requests took, for the next run.

            **settings: Keywords of `OnehouseClient.from_env`, e.g. ``profile="staging"``.

        Raises:
            ConfigError: Credentials are missing, all of them are named at once; or there is
                no such limiter.
        """
        from onehouse_tracker.onehouse.client import OnehouseClient  # noqa: PLC0415 - heavy, and only here

        settings = hide_settings(settings)
        refuse_unknown(settings, TrackerSettings)
        client = OnehouseClient.from_env(**settings)
        if limiter is None or isinstance(limiter, str):
            key = client.credentials.project_key
            limiter = limiter_from(limiter or "local", project=key, limit=limit, share=share)
        client.allow((policy or PollPolicy()).polls_at_once(limiter.limit))
        return cls(
            client,
            limiter=limiter,
            policy=policy,
            journal=journal,
            on_journal_error=on_journal_error,
            observers=observers,
            history=history,
        )

    def __repr__(self) -> str:
        engine = self._session.engine
        if engine is None:
            return f"<Tracker: {'closed' if self._session.closed else 'not open'}>"
        return (
            f"<Tracker: {engine.pending} pending, {engine.in_flight} polling,"
            f" {engine.ended} finished>"
        )

    async def __aenter__(self) -> Self:
        await self._session.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.leave(without_error=exc_type is None)

    @property
    def runs(self) -> Runs:
        """Starts runs of jobs, and follows them to their real end."""
        if self._runs is None:
            from onehouse_tracker.runs import Runs  # noqa: PLC0415 - not everyone has runs

            self._runs = Runs(
                self._session,
                self._client,
                self._policy,
                wall_clock=self._wall_clock,
                seed=self._seed,
            )
        return self._runs

    # --- Waiting -----------------------------------------------------------------------

    async def wait_all(
        self,
        request_ids: RequestIds,
        *,
        timeout: float | None = None,
        default_label: str | None = None,
        on_result: OnResult | None = None,
    ) -> Results:
        """
        Wait until every request has an outcome.

        Several callers may wait for the same request; it is polled once.  Cancelling this
        call stops the waiting, and the polling of what nobody else waits for.  What
        concerns the whole project is raised as a `ProjectError`, with the results so far
        and the IDs that are still open.

        Args:
            request_ids: What to wait for, from any iterable or async iterable: IDs, and what
                `submit` and `track` return, in any mixture.  Duplicates are polled once.  An
                async iterable is read while it produces.

            timeout: Seconds, on the event loop's clock.  `None` waits without limit.

            default_label: The label of requests that have none of their own.

            on_result: A plain function is called in another thread, a coroutine function on the
                event loop: with each `Result` as it is known, one at a time.  What it raises is
                logged, kept in `Results.callback_errors`, and disturbs nobody.  This call
                returns when the last callback has.

        Returns:
            One result per request, in the order given.  What was still pending at the
            deadline has the outcome `TIMED_OUT` and can be waited for again.

        Raises:
            InvalidRequestError: Something is not a request ID.  Nothing was asked yet, unless
                an async iterable produced it.

            ConfigError: The timeout is not a number of seconds from 0.

            AuthenticationError: The server refused our credentials.

            OutageError: Nothing answered for ``PollPolicy.patience`` seconds.

            JournalError: Something could not be written down, see ``on_journal_error``.

            TrackerClosedError: The tracker is not open, or was closed first.
        """
        return await self._wait_all(request_ids, timeout, default_label, on_result)

    async def _wait_all(
        self,
        request_ids: RequestIds,
        timeout: float | None,
        label: str | None,
        on_result: OnResult | None,
        *,
        on_each: Callable[[Result], None] | None = None,
    ) -> Results:
        """Wait as `wait_all` does; *on_each* sees each result at once, and must not block."""
        session = self._session
        engine = session.opened()

        def waiting(wait: Wait) -> AbstractAsyncContextManager[None]:
            return session.waiting(engine, wait, request_ids, timeout, label)

        return await collect(session, engine, waiting, on_result, on_each)

    def as_completed(
        self,
        request_ids: RequestIds,
        *,
        timeout: float | None = None,
        default_label: str | None = None,
    ) -> Completions:
        """
        Iterate over the results in the order in which the requests end.

        Following begins with this call, not with the first step of the iteration.

        Args:
            request_ids: What to wait for, as in `wait_all`.  An async iterable may never end:
                of what was delivered the last 10,000 IDs are remembered, and one that comes
                again after that is polled again.

            timeout: Seconds from now; what is pending then comes as `TIMED_OUT`.

            default_label: The label of requests that have none of their own.

        Returns:
            An async iterator that is also an async context manager.  It raises what
            `wait_all` raises, after the results that were known before.

        Raises:
            InvalidRequestError: Something is not a request ID.  Nothing was asked yet, unless
                an async iterable produced it.

            ConfigError: The timeout is not a number of seconds from 0.

            TrackerClosedError: The tracker is not open.
        """
        session = self._session
        engine = session.opened()
        arrived: deque[Result] = deque()
        wait = Wait(
            deliver=arrived.append,
            forgets=isinstance(request_ids, AsyncIterable),
            acknowledge=session.acknowledge,
        )
        leave = session.begin(engine, wait, request_ids, timeout, default_label)
        return Completions(wait, arrived, leave, session.journal_queue)

    def resume(self, *, timeout: float | None = None) -> Completions:
        """
        Go on with everything that the journal holds and nobody acknowledged.

        First come the results that earlier runs recorded, then, as they end, the requests
        that were pending.  These keep their labels and ages, and each gets its first look at
        a random moment, so that they do not all come at once.  What is added after
        this call does not come.

        A result is acknowledged, and never delivered by this method again: with
        `as_completed` and here, when the next one is asked for; with ``on_result``, when the
        callback returned without an error; with `wait_all` otherwise, and handles, by
        ``results.ack()`` and ``handle.ack()``, or when the tracker's block ends without an
        exception.  Where several wait for one request, the first acknowledgment counts.

        Args:
            timeout: Seconds from now; what is pending then comes as `TIMED_OUT`, and stays
                pending in the journal.  What earlier runs recorded comes in any case.

        Returns:
            What `as_completed` returns.

        Raises:
            ConfigError: The tracker has no journal.

            TrackerClosedError: The tracker is not open.

            JournalError: From the iterator: the journal cannot be read.
        """
        session = self._session
        engine = session.opened()
        check_timeout(timeout)
        journal_queue = session.journal_queue
        if journal_queue is None:
            raise ConfigError("there is nothing to resume from: give the tracker a journal")
        arrived: deque[Result] = deque()
        wait = Wait(deliver=arrived.append, acknowledge=session.acknowledge)
        engine.open(wait)
        resumption = Resumption(
            engine,
            journal_queue,
            wait,
            policy=self._policy,
            random=random.Random(self._seed).random,
            wall_clock=self._wall_clock,
            named=session.named,
        )
        resumption.start()
        timer: asyncio.TimerHandle | None = None
        if timeout is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_at(loop.time() + timeout, resumption.expire)
        return Completions(
            wait, arrived, partial(release, engine, wait, None, timer), journal_queue
        )

    def track(
        self,
        request_id: RequestLike,
        *,
        label: str | None = None,
        submitted_at: datetime | None = None,
    ) -> Handle:
        """
        Follow one request from now on.

        Args:
            request_id: Its ID, or a `Request`, a `Handle` or a `Result`.

            label: Your name for this kind of statement.

            submitted_at: When it was submitted, time-zone aware.  `None` counts from now.

        Returns:
            A handle: await it for the result.

        Raises:
            InvalidRequestError: It is not a request ID, or the time has no zone.

            TrackerClosedError: The tracker is not open.
        """
        session = self._session
        engine = session.opened()
        request = request_id if isinstance(request_id, Request) else Request(request_id)
        request = Request(
            request.request_id,
            label=request.label if label is None else label,
            submitted_at=request.submitted_at if submitted_at is None else submitted_at,
        )
        return session.track(engine, request, first_look=0.0)

    async def submit(self, statement: str, *, label: str | None = None) -> Handle:
        """
        Submit one statement within the budget, and follow it.

        A statement is sent once.  Only a refusal for its rate (429), after which nothing
        runs, is followed by another attempt.  Cancelling before the slot comes sends
        nothing; cancelling while the statement is on the wire leaves its fate unknown.

        SUCCESS on ``RUN JOB`` means that the run was started, not that the job finished.

        Args:
            statement: One SQL statement.

            label: Your name for this kind of statement.

        Returns:
            A handle: await it for the result.

        Raises:
            InvalidRequestError: There is no statement, it has a NUL character or bytes that
                are not Unicode in it, begins or ends with an invisible character, or the label
                is no text.  Nothing was sent.

            SubmissionRejectedError: The server refused it; nothing runs.

            SubmissionUnsentError: It never left; it is safe to submit it again.

            SubmissionUnknownError: It may or may not run.

            AuthenticationError: The server refused our credentials.

            JournalError: It could not be written down; ``pending`` holds the request ID if
                the server had accepted it by then.

            TrackerClosedError: The tracker is not open.  If it was closed after the
                server accepted the statement, ``pending`` holds the request ID.
        """
        session = self._session
        engine = session.opened()
        check_label(label)
        check_statement(statement)
        with engine.forecasts.coming((statement,)):
            request_id = await submit_once(
                engine,
                self._client,
                statement,
                timeout=self._policy.poll_timeout,
                label=label,
                journal_queue=session.journal_queue,
                under_way=session.submissions,
                accepted=partial(self._accepted, label),
            )
        if engine.closed_by is not None:
            raise TrackerClosedError(
                f"the tracker was closed, but the statement was accepted as request {request_id}",
                pending=(request_id,),
            )
        request = Request(request_id, label=label)
        return session.track(engine, request, first_look=self._policy.gap_min, statement=statement)

    async def submit_all(
        self, statements: Iterable[str], *, label: Label = None, in_order: bool = False
    ) -> StatementResults[Handle]:
        """
        Submit many statements within the rate limit, and track those that are accepted.

        They are sent concurrently, so a slow answer delays none of the others.  Each is sent
        once, as by `submit`.

        Args:
            statements: SQL statements.

            label: Your name for this kind of statement; or a function that gets a statement
                and returns its label.

            in_order: Send each statement when the one before was accepted.  The first that is
                not ends it: the rest is not sent.

        Returns:
            What became of each, in the order given; its ``handles`` are those of what was
            accepted.

        Raises:
            InvalidRequestError: One of them cannot be sent.  Nothing was sent.

            ProjectError: Nothing more can be sent.  `statements_of` of it, and of the
                `CancelledError` where this call was cancelled, says what became of each.
        """
        return await self._statements(statements, label).submit(in_order=in_order)

    async def execute(
        self, statement: str, *, label: str | None = None, timeout: float | None = None
    ) -> Result:
        """
        Submit one statement, and wait for its result.

        SUCCESS on ``RUN JOB`` means that the run was started, not that the job finished; see
        `Tracker.runs`.

        Args:
            statement: One SQL statement.

            label: Your name for this kind of statement.

            timeout: Seconds for all of it.  If the request is still pending then, its result has
                the outcome `TIMED_OUT`; if the statement was not sent by then, this raises
                `SubmissionUnsentError`.

        Raises:
            SubmissionError: It was refused, never sent, or its fate is unknown, as in `submit`.

            InvalidRequestError: It cannot be sent.

            ProjectError: As `wait_all` does.
        """
        [item] = await self.execute_all([statement], label=label, timeout=timeout)
        if item.error is not None:
            raise item.error
        if item.result is None:
            raise TrackerError(f"request {item.request_id} has no result")
        return item.result

    async def execute_all(
        self,
        statements: Iterable[str],
        *,
        label: Label = None,
        max_running: int | None = None,
        in_order: bool = False,
        stop_on_failure: bool = False,
        timeout: float | None = None,
        on_result: OnResult | None = None,
    ) -> StatementResults[Handle]:
        """
        Submit many statements, and wait until the requests of all have ended.

        They are sent concurrently within the rate limit, each once, as by `submit`.  What was
        not accepted raises nothing: the results say so, see
        `StatementResults.raise_for_failures`.

        Args:
            statements: SQL statements.

            label: Your name for this kind of statement; or a function that gets a statement
                and returns its label.

            max_running: How many may be open at once, from being sent to their end; `None` is
                any number.

            in_order: Send each statement when the one before has ended ok.  The first that is
                refused, of unknown fate or not ok ends it: the rest is not sent.

            stop_on_failure: Send nothing further once one is refused, of unknown fate or not ok.
                What was accepted by then is waited for.

            timeout: Seconds for all of it; `None` waits without limit.  What is pending then has
                the outcome `TIMED_OUT`, and what waits for its slot is not sent.  A statement
                on the wire gets its answer first (within `PollPolicy.poll_timeout`).

            on_result: A plain function is called in another thread, a coroutine function on the
                event loop: with the `Result` of each request, as in `wait_all`.

        Returns:
            What became of each, in the order given.

        Raises:
            InvalidRequestError: One of them cannot be sent.  Nothing was sent.

            ConfigError: A number makes no sense.

            ProjectError: As `wait_all` does.  `statements_of` of it, and of the
                `CancelledError` where this call was cancelled, says what became of each.
        """
        return await self._statements(statements, label).execute(
            in_order=in_order,
            max_running=max_running,
            stop_on_failure=stop_on_failure,
            timeout=timeout,
            on_result=on_result,
        )

    async def status(
        self, request_ids: Iterable[RequestLike], *, label: str | None = None
    ) -> dict[str, RequestStatus]:
        """
        Poll each request once, and say what the server says now.  Nothing is tracked.

        Polls wait for slots of the rate limit.  Until the server has answered once, one is sent
        at a time.  After a 429 a poll is sent again, five times at most; after any other
        failure it is not, and the error is in the status.

        Args:
            request_ids: Which requests: IDs, `Handle` and the like; each is polled once.

            label: The label of requests that have none of their own.

        Returns:
            The status of each request, by its ID, in the order given.

        Raises:
            InvalidRequestError: Something is not a request ID.  Nothing was sent.

            AuthenticationError: The server refused the credentials, before any other reply.

            OutageError: There was no reply: three polls failed first, or all did.

            TrackerClosedError: The tracker is not open, or was closed first.
        """
        check_label(label)
        return await self._status(checked(request_ids), label)

    async def _status(
        self,
        requests: Iterable[str | Request] | AsyncIterable[Request],
        label: str | None,
        show: Show | None = None,
    ) -> dict[str, RequestStatus]:
        """Poll each once as `status` does; *show* gets each status as soon as it is known."""
        polling = PollOnce(
            self._session, self._client, self._limiter, self._policy, self._wall_clock, show
        )
        return await polling.run(requests, label)

    def _statements(
        self,
        statements: Iterable[str],
        label: Label,
        known: Callable[[Statement], None] | None = None,
    ) -> Statements:
        return Statements(self._session, self._client, self._policy, statements, label, known)

    def _accepted(self, label: str | None, request_id: str) -> None:
        # At once: a journal that fails, or a cancellation now, must not hide what runs.
        if self._session.emit:
            now = asyncio.get_running_loop().time()
            self._session.emit(
                events.StatementSubmitted(at=now, request_id=request_id, label=label)
            )

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """
        Wait for one slot of the budget, for one HTTP request of your own.

        While polls are due, a poll goes first if its request has likely ended, and every tenth
        slot in any case.
        Cancelling gives up the place.

        Raises:
            TrackerClosedError: The tracker is not open, or was closed first.
        """
        await self._session.opened().slot()
        yield

    async def serve_page(self, port: int = 0, *, title: str = "onehouse-tracker") -> LivePage:
        """
        Show what happens on a page at ``http://127.0.0.1:port/``, live, for any browser.

        It shows what a report shows: the `report.ReportObserver` among this tracker's observers,
        or else a new one that knows what is tracked now.  A browser that
        is slow or gone never slows the polling.  The page closes with the tracker.

        Args:
            port: Where; 0 takes one that is free, see ``url`` of what is returned.

            title: Its heading.

        Returns:
            The page: close it earlier with ``aclose()``, or use it with ``async with``.

        Raises:
            ConfigError: The port is taken, or may not be used; or Jinja2 is missing.

            TrackerClosedError: The tracker is not open.
        """
        session = self._session
        engine = session.opened()
        from onehouse_tracker.report import ReportObserver  # noqa: PLC0415
        from onehouse_tracker.report.live_page import LivePage  # noqa: PLC0415 - a web server, for few

        recordings = (each for each in session.emit.observers if isinstance(each, ReportObserver))
        recording = next(recordings, None)
        if recording is None:
            recording = ReportObserver(limit=self._limiter.limit, wall_clock=self._wall_clock)
            engine.watch(recording)
        page = LivePage(recording, self.stats, title=title)
        await page.start(port)
        session.pages.push_async_callback(page.aclose)
        return page

    def time_left(self, request: RequestLike) -> TimeLeft | None:
        """
        How long a request will still take, by what earlier runs took.

        It costs less than a tenth of a millisecond, and no poll.

        Args:
            request: A request that is tracked: its ID, its `Handle` and the like.

        Returns:
            The median and a range of seconds; `None` where nothing is known: it is not tracked,
            there is no history, its name was never seen, nobody said when it was submitted, or
            tonight's polls contradict what earlier runs took.

        Raises:
            InvalidRequestError: It is not a request ID.

            TrackerClosedError: The tracker is not open.
        """
        engine = self._session.opened()
        now = asyncio.get_running_loop().time()
        return engine.forecasts.left(ids_of(checked([request]))[0], now)

    def stats(self) -> TrackerStats:
        """
        What the tracker is doing now.

        Raises:
            TrackerClosedError: The tracker is not open.
        """
        session = self._session
        engine = session.opened()
        limiter = self._limiter.stats()
        return TrackerStats(
            pending=engine.pending,
            in_flight=engine.in_flight,
            ended=engine.ended,
            polls=engine.polls,
            refusals=engine.refusals,
            outage=engine.outage,
            round_time=engine.pending / limiter.rate,
            limiter=limiter,
            overdue=engine.forecasts.overdue,
            left=engine.forecasts.left_of_all(asyncio.get_running_loop().time()),
            checks=engine.errands.sent,
            check_polls=engine.errands.polls,
        )


def _connected(limiter: RateLimiter, client: StatusSource) -> RateLimiter:
    """The limiter, with a connection for each slot where the client can hold one."""
    if isinstance(client, HoldingSource):
        return ConnectedLimiter(limiter, client.hold)
    return limiter


def _learning(history: History | None, client: StatusSource) -> Learning | None:
    """What remembers for the next run, unless this is a simulator or a test on this machine."""
    credentials = getattr(client, "credentials", None)
    if history is None or getattr(credentials, "is_on_loopback", False):
        return None
    from onehouse_tracker._engine.learning import Learning  # noqa: PLC0415 - loads SQLite

    return Learning(history, project_key_of(client) or "")
