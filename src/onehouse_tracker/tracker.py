"""
The tracker: what users hold in their hands.
"""

from __future__ import annotations

import asyncio
import random
import weakref
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast, final

from onehouse_tracker import events
from onehouse_tracker._announcements import announced
from onehouse_tracker._callbacks import Callbacks, OnResult
from onehouse_tracker._engine import Engine
from onehouse_tracker._intake import check, check_timeout, checked
from onehouse_tracker._resumption import Resumption
from onehouse_tracker._submission import submit_once
from onehouse_tracker._tracked import Joining
from onehouse_tracker._waits import Wait
from onehouse_tracker.errors import ConfigError, InvalidRequestError, TrackerClosedError
from onehouse_tracker.gates import Gate, LocalGate, gate_from
from onehouse_tracker.gates._connected import ConnectedGate
from onehouse_tracker.handles import Completions, Handle
from onehouse_tracker.logs import with_logs
from onehouse_tracker.models import Request, Result, StatusSource
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.results import Results
from onehouse_tracker.stats import TrackerStats

if TYPE_CHECKING:
    from onehouse_tracker._recorder import Recorder
    from onehouse_tracker.journal import Journal

__all__ = ["Completions", "Handle", "Tracker", "TrackerStats"]

_SERVED_BY_ONE = 2
"""Requests that one connection can serve without ever being late."""

RequestIds = Iterable[str | Request] | AsyncIterable[str | Request]
OnJournalError = Literal["raise", "warn"]


@final
class Tracker:
    """
    Follows requests until each has its outcome, within one project's budget.

    Use it with ``async with``; it can be entered once.  All methods belong to the event
    loop on which it was entered.  Leaving the block stops all polling: whoever still
    waits gets a `TrackerClosedError`.

    Args:
        source: Whom to ask.  It is not opened and not closed here.

        gate: Hands out the budget.  `None` is a `LocalGate` of 10 requests a second.

        policy: When to ask again.

        journal: Keeps what must survive a crash, see `resume`.  `None` keeps nothing.

        on_journal_error: ``"raise"`` fails every waiter with `JournalError` where the journal
            cannot be used; ``"warn"`` logs it, emits `JournalFailed`, and goes on without.

        observers: Told what happens, on the polling path.  A `LogObserver` is added.

        wall_clock: Tells the date, for `Result.detected_at` and `Request.submitted_at`.

        seed: Makes the jitter reproducible.
    """

    def __init__(
        self,
        source: StatusSource,
        *,
        gate: Gate | None = None,
        policy: PollPolicy | None = None,
        journal: Journal | None = None,
        on_journal_error: OnJournalError = "raise",
        observers: Sequence[events.Observer] = (),
        wall_clock: Callable[[], datetime] | None = None,
        seed: int | None = None,
    ) -> None:
        self._source = source
        self._owns_source = False
        self._gate = _connected(gate or LocalGate(project=_project_key(source)), source)
        self._policy = policy or PollPolicy()
        if on_journal_error not in {"raise", "warn"}:
            raise ConfigError(f'on_journal_error is "raise" or "warn", not {on_journal_error!r}')
        self._journal = journal
        self._journal_is_strict = on_journal_error == "raise"
        self._recorder: Recorder | None = None
        self._observers = with_logs(observers)
        self._emit = events.Emitter(self._observers)
        self._wall_clock = wall_clock or _utc_now
        self._seed = seed
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._warm = False
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._executor: ThreadPoolExecutor | None = None
        self._handles: weakref.WeakValueDictionary[str, Handle] = weakref.WeakValueDictionary()

    @classmethod
    def from_env(
        cls,
        *,
        limit: float = 10.0,
        share: float = 1.0,
        gate: Gate | str | None = None,
        policy: PollPolicy | None = None,
        journal: Journal | None = None,
        on_journal_error: OnJournalError = "raise",
        observers: Sequence[events.Observer] = (),
        **settings: Any,
    ) -> Self:
        """
        A tracker for Onehouse, configured like the vendor's own tools.

        Each credential comes from the keyword, the environment variable, or the profile
        file, in this order; see `Credentials.from_env`.

        Args:
            limit: Requests per second of the whole project [vendor documentation: 10].

            share: Our part of it, more than 0 and at most 1.

            gate: Hands out the budget.  A word makes one of `limit` and `share`: ``local`` (as
                by default), ``host``, ``host:PATH``, or the URL of a Redis; see `gate_from`.

            policy: When to ask again.

            journal: Keeps what must survive a crash, see `resume`.

            on_journal_error: What follows where the journal cannot be used.

            observers: Told what happens, on the polling path.

            **settings: Keywords of `OnehouseClient.from_env`, e.g. ``profile="staging"``.

        Raises:
            ConfigError: Credentials are missing, all of them are named at once; or there is
                no such gate.
        """
        from onehouse_tracker.client import OnehouseClient  # noqa: PLC0415 - heavy, and only here

        client = OnehouseClient.from_env(**settings)
        if gate is None or isinstance(gate, str):
            key = client.credentials.project_key
            gate = gate_from(gate or "local", project=key, limit=limit, share=share)
        tracker = cls(
            client,
            gate=gate,
            policy=policy,
            journal=journal,
            on_journal_error=on_journal_error,
            observers=observers,
        )
        tracker._owns_source = True
        return tracker

    def __repr__(self) -> str:
        engine = self._engine
        if engine is None:
            return f"<Tracker: {'closed' if self._closed else 'not open'}>"
        return (
            f"<Tracker: {engine.pending} pending, {engine.in_flight} polling,"
            f" {engine.ended} finished>"
        )

    # --- Life cycle --------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._closed or self._engine is not None:
            raise TrackerClosedError("a tracker can be entered only once; make a new one")
        async with AsyncExitStack() as stack:
            if self._owns_source:
                # Only `from_env` sets it, and its client is a context manager.
                await stack.enter_async_context(cast("Any", self._source))
            await self._gate.start()
            stack.push_async_callback(self._gate.aclose)
            recorder = await self._open_journal(stack)
            engine = Engine(
                self._source,
                self._gate,
                self._policy,
                observers=self._observers,
                wall_clock=self._wall_clock,
                seed=self._seed,
                recorder=recorder,
            )
            task = asyncio.create_task(engine.run(), name="onehouse-tracker engine")
            task.add_done_callback(partial(self._engine_ended, engine))
            stack.push_async_callback(self._stop, task)
            self._engine = engine
            self._loop = asyncio.get_running_loop()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with self._stack:
            if exc_type is None and self._recorder is not None:
                await self._recorder.acknowledge_told()

    async def _open_journal(self, stack: AsyncExitStack) -> Recorder | None:
        if self._journal is None:
            return None
        from onehouse_tracker._recorder import Recorder  # noqa: PLC0415 - loads SQLite

        recorder = Recorder(
            self._journal,
            strict=self._journal_is_strict,
            emit=self._emit,
            wall_clock=self._wall_clock,
        )
        await recorder.open()
        # Pushed before the engine, so closed after it: its last words are written.
        stack.push_async_callback(recorder.aclose)
        self._recorder = recorder
        return recorder

    async def _stop(self, task: asyncio.Task[None]) -> None:
        """
        Stop everything this tracker started.

        A second cancellation ends the waiting here, not the stopping: all tasks were
        cancelled by then and end on their own.
        """
        engine, self._engine, self._closed = self._engine, None, True
        task.cancel()
        if engine is not None:
            engine.close(TrackerClosedError("the tracker was closed; the requests go on"))
        tasks = {task, *self._tasks}
        for other in self._tasks:
            other.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._executor is not None:
            # A plain callback that is running cannot be interrupted, so wait off the loop.
            await asyncio.to_thread(self._executor.shutdown)

    def _engine_ended(self, engine: Engine, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._engine, self._closed = None, True
        failure = TrackerClosedError(
            f"the polling loop failed ({type(error).__name__}); the requests go on"
        )
        failure.__cause__ = error
        engine.close(failure)

    def _open(self) -> Engine:
        if self._engine is None:
            raise TrackerClosedError(
                "the tracker is closed"
                if self._closed
                else "the tracker is not open: use `async with tracker:`"
            )
        if self._loop is not _running_loop():
            raise TrackerClosedError(
                "the tracker is open on another event loop: a thread, such as that of a plain"
                " on_result, reaches it with `loop.call_soon_threadsafe`"
            )
        return self._engine

    # --- Waiting -----------------------------------------------------------------------

    async def wait_all(
        self,
        request_ids: RequestIds,
        *,
        timeout: float | None = None,
        label: str | None = None,
        on_result: OnResult | None = None,
    ) -> Results:
        """
        Wait until every request has an outcome.

        Several callers may wait for the same request; it is polled once.  Cancelling this
        call stops the waiting, and the polling of what nobody else waits for.

        Args:
            request_ids: What to wait for, from any iterable or async iterable.  Duplicates
                are asked about once.  An async iterable is followed while it produces.

            timeout: Seconds, on the event loop's clock.  `None` waits without limit.

            label: The label of those that bring none of their own.

            on_result: Called with each `Result` as it is known, one at a time: coroutine
                functions as a task, plain functions in a worker thread.  What it raises is
                logged, kept in `Results.callback_errors`, and disturbs nobody.  This call
                returns when the last callback has.

        Returns:
            One result per request, in the order given.  What was still pending at the
            deadline has the outcome `TIMED_OUT` and can be waited for again.

        Raises:
            InvalidRequestError: Something is not a request ID; nothing was asked yet.

            AuthenticationError: The server refused our credentials.

            OutageError: Nothing answered for ``PollPolicy.patience`` seconds.

            JournalError: Something could not be written down, see ``on_journal_error``.

            TrackerClosedError: The tracker is not open, or was closed first.

            The last four carry the results so far and the IDs that are still open.
        """
        engine = self._open()
        if on_result is None:
            wait = Wait(acknowledge=self._acknowledge)
            async with self._waiting(engine, wait, request_ids, timeout, label):
                await wait.until_over()
            wait.raise_error()
            return self._handed_out(wait)
        callbacks = Callbacks(on_result, self._callback_executor, self._emit, self._recorder)
        wait = Wait(tee=callbacks.put, acknowledge=self._acknowledge)
        caller = self._start(callbacks.run(), "onehouse-tracker callbacks")
        try:
            async with self._waiting(engine, wait, request_ids, timeout, label):
                await wait.until_over()
            callbacks.finish()
            # Not awaited itself: closing cancels it, and that cancels nobody who waits here.
            await asyncio.wait([caller])
        finally:
            await _cancel_and_wait(caller)
        wait.error = wait.error or callbacks.failure
        if caller.cancelled() and wait.error is None:
            wait.error = TrackerClosedError("the tracker was closed before every callback had run")
        wait.raise_error()
        return Results(
            wait.results().values(),
            callback_errors=callbacks.errors,
            acknowledge=self._acknowledge,
        )

    def as_completed(
        self,
        request_ids: RequestIds,
        *,
        timeout: float | None = None,
        label: str | None = None,
    ) -> Completions:
        """
        Iterate over the results in the order in which the requests end.

        Following begins with this call, not with the first step of the iteration.

        Args:
            request_ids: What to wait for, as in `wait_all`.

            timeout: Seconds from now; what is pending then comes as `TIMED_OUT`.

            label: The label of those that bring none of their own.

        Returns:
            An async iterator that is also an async context manager.  It raises what
            `wait_all` raises, after the results that were known before.

        Raises:
            InvalidRequestError: Something is not a request ID; nothing was asked yet.

            TrackerClosedError: The tracker is not open.
        """
        engine = self._open()
        arrived: deque[Result] = deque()
        wait = Wait(deliver=arrived.append, acknowledge=self._acknowledge)
        release = self._begin(engine, wait, request_ids, timeout, label)
        return Completions(wait, arrived, release, self._recorder)

    def resume(self, *, timeout: float | None = None) -> Completions:
        """
        Go on with everything that the journal holds and nobody acknowledged.

        First come the results that earlier runs recorded, then, as they end, the requests
        that were pending.  These keep their labels and ages, and each gets its first look at
        a random moment, so that they do not all come at once.  What is added after this call
        is not part of it.

        A result is acknowledged, and never delivered by this method again: with
        `as_completed` and here, when the next one is asked for; with ``on_result``, when the
        callback returned without an error; with `wait_all` otherwise, and handles, by
        ``results.ack()`` and ``handle.ack()``, or when the tracker's block ends without an
        exception.  Where several wait for one request, the first acknowledgement counts.

        Args:
            timeout: Seconds from now; what is pending then comes as `TIMED_OUT`, and stays
                pending in the journal.

        Returns:
            What `as_completed` returns.

        Raises:
            ConfigError: The tracker has no journal.

            TrackerClosedError: The tracker is not open.

            JournalError: From the iterator: the journal cannot be read.
        """
        engine = self._open()
        check_timeout(timeout)
        recorder = self._recorder
        if recorder is None:
            raise ConfigError("there is nothing to resume from: give the tracker a journal")
        arrived: deque[Result] = deque()
        wait = Wait(deliver=arrived.append, acknowledge=self._acknowledge)
        engine.open(wait)
        Resumption(
            engine,
            recorder,
            wait,
            policy=self._policy,
            random=random.Random(self._seed).random,
            wall_clock=self._wall_clock,
        ).start()
        timer = _expire_after(timeout, engine, wait)
        release = partial(_release, engine, wait, None, timer)
        return Completions(wait, arrived, release, recorder)

    def track(
        self,
        request_id: str | Request,
        *,
        label: str | None = None,
        submitted_at: datetime | None = None,
    ) -> Handle:
        """
        Follow one request from now on.

        Args:
            request_id: Its ID, or a `Request`.

            label: Your name for this kind of statement.

            submitted_at: When it was submitted, time-zone aware.  `None` counts from now.

        Returns:
            A handle: await it for the result.

        Raises:
            InvalidRequestError: It is not a request ID, or the time has no zone.

            TrackerClosedError: The tracker is not open.
        """
        engine = self._open()
        request = request_id if isinstance(request_id, Request) else Request(request_id)
        request = Request(
            request.request_id,
            label=request.label if label is None else label,
            submitted_at=request.submitted_at if submitted_at is None else submitted_at,
        )
        return self._track(engine, request, first_look=0.0)

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
            InvalidRequestError: There is no statement.

            SubmissionRejectedError: The server refused it; nothing runs.

            SubmissionUnsentError: It never left; it is safe to submit it again.

            SubmissionUnknownError: It may or may not run.

            AuthenticationError: The server refused our credentials.

            JournalError: It could not be written down; ``pending`` holds the request ID if
                the server had accepted it by then.

            TrackerClosedError: The tracker is not open.  If it was closed after the
                server accepted the statement, ``pending`` holds the request ID.
        """
        engine = self._open()
        if not isinstance(statement, str) or not statement.strip():
            raise InvalidRequestError("a statement is a str that is not empty")
        request = Request(
            await submit_once(
                engine,
                self._source,
                statement,
                timeout=self._policy.poll_timeout,
                label=label,
                recorder=self._recorder,
            ),
            label=label,
        )
        if self._engine is not engine:
            raise TrackerClosedError(
                f"the tracker was closed, but the statement was accepted as request"
                f" {request.request_id}",
                pending=(request.request_id,),
            )
        if self._emit:
            self._emit(
                events.StatementSubmitted(
                    at=asyncio.get_running_loop().time(),
                    request_id=request.request_id,
                    label=label,
                )
            )
        return self._track(engine, request, first_look=self._policy.gap_min)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """
        Wait for one slot of the budget, for one HTTP request of your own.

        While polls are due, submissions and slots get at most every second one.
        Cancelling gives up the place.

        Raises:
            TrackerClosedError: The tracker is not open, or was closed first.
        """
        await self._open().slot()
        yield

    def stats(self) -> TrackerStats:
        """
        What the tracker is doing now.

        Raises:
            TrackerClosedError: The tracker is not open.
        """
        engine = self._open()
        gate = self._gate.stats()
        return TrackerStats(
            pending=engine.pending,
            in_flight=engine.in_flight,
            ended=engine.ended,
            polls=engine.polls,
            refusals=engine.refusals,
            outage=engine.outage,
            round_time=engine.pending / gate.rate,
            gate=gate,
        )

    # --- How it is done ------------------------------------------------------------------

    @asynccontextmanager
    async def _waiting(
        self,
        engine: Engine,
        wait: Wait,
        request_ids: RequestIds,
        timeout: float | None,
        label: str | None,
    ) -> AsyncIterator[None]:
        release = self._begin(engine, wait, request_ids, timeout, label)
        try:
            with announced(self._emit, wait, label):
                yield
        finally:
            release()

    def _begin(
        self,
        engine: Engine,
        wait: Wait,
        request_ids: RequestIds,
        timeout: float | None,
        label: str | None,
    ) -> Callable[[], None]:
        """Start waiting, and return what ends it."""
        check_timeout(timeout)
        feeder: asyncio.Task[None] | None = None
        if isinstance(request_ids, AsyncIterable):
            engine.open(wait)
            feeder = self._start(
                self._feed(engine, wait, request_ids, label), "onehouse-tracker feeder"
            )
        else:
            requests = checked(request_ids)
            engine.open(wait)
            for request in requests:
                self._join(engine, wait, request, label)
            wait.fed()
        timer = _expire_after(timeout, engine, wait)
        return partial(_release, engine, wait, feeder, timer)

    async def _feed(
        self,
        engine: Engine,
        wait: Wait,
        request_ids: AsyncIterable[str | Request],
        label: str | None,
    ) -> None:
        try:
            async for item in request_ids:
                if wait.over:
                    return
                self._join(engine, wait, check(item), label)
            wait.fed()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # It awaited something that others cancelled.  Nobody cancelled whoever waits.
            failure = RuntimeError("the iterable of request IDs was cancelled from within")
            failure.__cause__ = error
            wait.fail(failure)
        except Exception as error:  # noqa: BLE001
            # The user's own iterable failed: whoever waits for it is told so.
            wait.fail(error)

    def _join(
        self,
        engine: Engine,
        wait: Wait,
        request: str | Request,
        label: str | None,
        first_look: float = 0.0,
    ) -> None:
        if isinstance(request, str):
            joining = Joining(request, label, first_look=first_look)
        else:
            age, submitted_at = 0.0, request.submitted_at
            if submitted_at is not None:
                age = max(0.0, (self._wall_clock() - submitted_at).total_seconds())
            label = request.label if request.label is not None else label
            joining = Joining(request.request_id, label, age, first_look, submitted_at)
        if joining.request_id in wait:
            return
        remembered = self._remembered(joining.request_id)
        if remembered is None:
            engine.join(wait, joining)
            self._warm_up(engine)
        else:
            wait.enter(joining.request_id, joining.label)
            wait.settle(remembered)

    def _warm_up(self, engine: Engine) -> None:
        """Have connections ready as soon as more requests are followed than one can serve."""
        warm_up = getattr(self._source, "warm_up", None)
        if warm_up is not None and not self._warm and engine.pending > _SERVED_BY_ONE:
            self._warm = True
            self._start(warm_up(), "onehouse-tracker warm-up")

    def _remembered(self, request_id: str) -> Result | None:
        """The outcome that a handle still holds, if there is one."""
        handle = self._handles.get(request_id)
        return None if handle is None else handle.remembered()

    def _handed_out(self, wait: Wait) -> Results:
        results = wait.results()
        if self._recorder is not None:
            self._recorder.told(results.values())
        return results

    @property
    def _acknowledge(self) -> Callable[[Iterable[str]], Awaitable[None]] | None:
        return None if self._recorder is None else self._recorder.acknowledge

    def _track(self, engine: Engine, request: Request, *, first_look: float) -> Handle:
        wait = Wait(acknowledge=self._acknowledge)
        engine.open(wait)
        self._join(engine, wait, request, request.label, first_look)
        wait.fed()
        handle = Handle(request.request_id, request.label, wait, engine.leave, self._recorder)
        if wait.over:
            engine.leave(wait)
        self._handles[request.request_id] = handle
        return handle

    def _callback_executor(self) -> Executor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(
                max_workers=1, thread_name_prefix="onehouse-tracker callback"
            )
        return self._executor

    def _start(self, coroutine: Any, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _expire_after(timeout: float | None, engine: Engine, wait: Wait) -> asyncio.TimerHandle | None:
    if timeout is None:
        return None
    loop = asyncio.get_running_loop()
    return loop.call_at(loop.time() + timeout, engine.expire, wait)


def _release(
    engine: Engine,
    wait: Wait,
    feeder: asyncio.Task[None] | None,
    timer: asyncio.TimerHandle | None,
) -> None:
    """End a wait: a plain function, so that a finalizer can hold it."""
    if timer is not None:
        timer.cancel()
    if feeder is not None:
        feeder.cancel()
    engine.leave(wait)
    wait.end()


async def _cancel_and_wait(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _connected(gate: Gate, source: StatusSource) -> Gate:
    """The gate, with a connection for each slot where the source has connections."""
    warm_up = getattr(source, "warm_up", None)
    return gate if warm_up is None else ConnectedGate(gate, warm_up)


def _project_key(source: StatusSource) -> str | None:
    """What tells Onehouse projects apart; sources of other kinds have no such key."""
    credentials = getattr(source, "credentials", None)
    return getattr(credentials, "project_key", None)


def _utc_now() -> datetime:
    return datetime.now(UTC)
