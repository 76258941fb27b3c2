"""
One opened tracker: everything between the entering and the leaving of its block.

With the engine it starts all tasks of a tracker, and owns each of them.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import Context
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from onehouse_tracker import events
from onehouse_tracker._engine.engine import Engine
from onehouse_tracker._engine.open_tracker.feeding import (
    AT_ONCE,
    feed,
    join_in_steps,
    tell_if_cancelled,
)
from onehouse_tracker._engine.open_tracker.inside import context_inside, refuse_inside
from onehouse_tracker._engine.open_tracker.memory import Memory
from onehouse_tracker._engine.open_tracker.submission import Submissions
from onehouse_tracker._engine.open_tracker.teardown import expire, expire_after, release
from onehouse_tracker._engine.open_tracker.validation import (
    RequestIds,
    check_timeout,
    check_wait,
    checked,
    joining_of,
)
from onehouse_tracker._engine.open_tracker.wait_events import announced
from onehouse_tracker._engine.open_tracker.workers import Workers
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker._util.cancelling import running_loop
from onehouse_tracker._util.interruption import let_out
from onehouse_tracker.errors import TrackerClosedError
from onehouse_tracker.handles import Handle
from onehouse_tracker.limiters import RateLimiter
from onehouse_tracker.models import Request
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.protocols import OpenableSource, StatusSource, WarmableSource
from onehouse_tracker.results import Results

if TYPE_CHECKING:
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.learning import Learning
    from onehouse_tracker._engine.tracked import Joining
    from onehouse_tracker.journal import Journal

__all__ = ["Session", "start_task", "until_ended"]

T = TypeVar("T")

_SERVED_BY_ONE = 2
"""Requests that one connection can serve without ever being late."""


class Session:
    """
    The engine, the journal, the tasks and the worker thread of one tracker.

    States: *new*, *open* (`engine` is set), *closed*.  Closed is final; an engine that fails
    closes it too.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that can be chosen
        self,
        source: StatusSource,
        limiter: RateLimiter,
        policy: PollPolicy,
        *,
        journal: Journal | None,
        journal_is_strict: bool,
        observers: Sequence[events.Observer],
        wall_clock: Callable[[], datetime],
        seed: int | None,
        learning: Learning | None = None,
    ) -> None:
        self.engine: Engine | None = None
        self.closed = False
        self._failure: TrackerClosedError | None = None
        """Why the engine ended though nobody closed it."""
        self.journal_queue: JournalQueue | None = None
        self.emit = events.Emitter(observers, let_out)
        self._source = source
        self._limiter = limiter
        self._policy = policy
        self._journal = journal
        self._journal_is_strict = journal_is_strict
        self._wall_clock = wall_clock
        self._seed = seed
        self.learning = learning
        self._loop: asyncio.AbstractEventLoop | None = None
        # Looked up once, and gone once used: joining asks for it with every request.
        self._warm_up_source = source.warm_up if isinstance(source, WarmableSource) else None
        self._stack = AsyncExitStack()
        self.pages = AsyncExitStack()
        """Closes the live pages."""
        # In order, so that a run on a virtual clock can be repeated.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.submissions = Submissions()
        self.workers = Workers(self)
        self._memory = Memory()

    async def enter(self) -> None:
        """Start everything; a failed start undoes itself."""
        if self.closed or self.engine is not None:
            raise TrackerClosedError("a tracker can be entered only once; make a new one")
        async with AsyncExitStack() as stack:
            await self._limiter.start()
            stack.push_async_callback(self._limiter.aclose)
            journal_queue = await self._open_journal(stack)
            if self.learning is not None:
                # Closed after the engine: what its last polls taught is written too.
                stack.push_async_callback(self.learning.aclose)
                await self.learning.open()
            # Closed after the engine: the last that a page tells is how it all ended.
            self.pages = await stack.enter_async_context(AsyncExitStack())
            if isinstance(self._source, OpenableSource):
                if not self._source.is_open:
                    # Closed before the journal, which records the fate of statements on the wire.
                    stack.push_async_callback(self.submissions.until_all_ended)
                await self._source.__aenter__()
                stack.push_async_exit(self._source)
            engine = Engine(
                self._source,
                self._limiter,
                self._policy,
                emit=self.emit,
                wall_clock=self._wall_clock,
                seed=self._seed,
                journal_queue=journal_queue,
                laws=None if self.learning is None else self.learning.laws,
            )
            task = asyncio.create_task(
                engine.run(), name="onehouse-tracker engine", context=context_inside(self)
            )
            task.add_done_callback(partial(self._engine_ended, engine))
            stack.push_async_callback(self._stop, task)
            self.engine = engine
            self._loop = asyncio.get_running_loop()
            self._stack = stack.pop_all()

    async def leave(self, *, without_error: bool) -> None:
        """
        Stop everything; without an error, all results that were delivered count as acknowledged.

        Raises:
            RuntimeError: It was called from a callback, or from another task of this tracker,
                for which closing waits.
        """
        refuse_inside(self)
        async with self._stack:
            if without_error and self.journal_queue is not None:
                await self.journal_queue.acknowledge_delivered()

    async def _open_journal(self, stack: AsyncExitStack) -> JournalQueue | None:
        if self._journal is None:
            return None
        from onehouse_tracker._engine.journal_queue import JournalQueue  # noqa: PLC0415 - loads SQLite

        journal_queue = JournalQueue(
            self._journal,
            strict=self._journal_is_strict,
            emit=self.emit,
            wall_clock=self._wall_clock,
            limit=self._limiter.limit,
        )
        await journal_queue.open()
        # Pushed before the engine, so closed after it: its last words are written.
        stack.push_async_callback(self._close_journal, journal_queue)
        self.journal_queue = journal_queue
        return journal_queue

    async def _close_journal(self, journal_queue: JournalQueue) -> None:
        """Let what will not be sent be written down as such.  Cancelling ends the waiting."""
        try:
            await self.submissions.until_none_waits()
        except BaseException:
            journal_queue.abandon()
            raise
        await journal_queue.aclose()

    async def _stop(self, task: asyncio.Task[None]) -> None:
        """
        Stop everything that was started.

        A second cancellation takes effect when all tasks have ended: they were cancelled
        before, so only what takes its time to be cancelled is waited for.
        """
        engine, self.engine, self.closed = self.engine, None, True
        task.cancel()
        if engine is not None:
            self._failure = engine.closed_by
            engine.close(TrackerClosedError("the tracker was closed; the requests go on"))
        for other in self._tasks:
            other.cancel()
        try:
            await until_ended(task, *self._tasks)
        except BaseException:
            self.workers.abandon()
            raise
        await self.workers.aclose()

    def _engine_ended(self, engine: Engine, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.engine is engine and error is not None:
            # Nobody has closed it: what it told those who waited, it tells those who come.
            self.engine, self.closed = None, True
            engine.end(error)
            self._failure = engine.closed_by

    def opened(self) -> Engine:
        """The engine, if it may be used now; else `TrackerClosedError` says why not."""
        engine = self.engine
        failure = self._failure if engine is None else engine.closed_by
        if failure is not None:
            raise copy.copy(failure) from failure.__cause__
        if engine is None:
            raise TrackerClosedError(
                "the tracker is closed"
                if self.closed
                else "the tracker is not open: use `async with tracker:`"
            )
        if self._loop is not running_loop():
            raise TrackerClosedError(
                "the tracker is open on another event loop: a thread, such as that of a plain"
                " on_result, reaches it with `loop.call_soon_threadsafe`"
            )
        return engine

    @asynccontextmanager
    async def waiting(
        self,
        engine: Engine,
        wait: Wait,
        request_ids: RequestIds,
        timeout: float | None,
        label: str | None,
    ) -> AsyncIterator[None]:
        """Wait for *request_ids* while the block runs; very many join in several turns."""
        check_timeout(timeout)
        began = asyncio.get_running_loop().time()
        rest: list[str | Request] = []
        if not isinstance(request_ids, AsyncIterable):
            request_ids = checked(request_ids)
            request_ids, rest = request_ids[:AT_ONCE], request_ids[AT_ONCE:]
        leave = self.begin(engine, wait, request_ids, None if rest else timeout, label, rest)
        timer: asyncio.TimerHandle | None = None
        try:
            await join_in_steps(wait, rest, label, partial(self.join, engine, wait, label))
            if rest and timeout is not None:  # it may be over: now all can have their outcome
                timer = asyncio.get_running_loop().call_at(began + timeout, expire, engine, wait)
            with announced(self.emit, wait, label):
                yield
        finally:
            if timer is not None:
                timer.cancel()
            leave()

    def begin(
        self,
        engine: Engine,
        wait: Wait,
        request_ids: RequestIds,
        timeout: float | None,
        label: str | None,
        more: Sequence[str | Request] = (),
    ) -> Callable[[], None]:
        """Start waiting, and return what ends it; *more* are to join afterwards."""
        check_wait(timeout, label)
        feeder: asyncio.Task[None] | None = None
        if isinstance(request_ids, AsyncIterable):
            engine.open(wait)
            feeder = self.start(
                feed(wait, request_ids, partial(self.join, engine, wait, label)),
                "onehouse-tracker feeder",
                context_inside(self),
            )
            feeder.add_done_callback(
                partial(tell_if_cancelled, wait, "reads the iterable of request IDs")
            )
        else:
            requests = checked(request_ids)
            engine.open(wait)
            for request in requests:
                self.join(engine, wait, label, request)
            if not more:
                wait.fed()
        timer = expire_after(timeout, engine, wait)
        return partial(release, engine, wait, feeder, timer)

    def join(
        self,
        engine: Engine,
        wait: Wait,
        label: str | None,
        request: str | Request,
        first_look: float = 0.0,
        statement: str | None = None,
    ) -> None:
        """Wait for one more request with *wait*, polled first in *first_look* seconds."""
        joining = joining_of(request, label, first_look, self._wall_clock)
        joining = self.named(joining, statement)
        if wait.has(joining.request_id, joining.label):
            return
        # What is followed has no outcome yet, so none of its handles, maybe thousands, can tell.
        is_new = not engine.follows(joining.request_id)
        remembered = self._memory.outcome(joining.request_id) if is_new else None
        if remembered is None:
            engine.join(wait, joining)
            self._warm_up(engine)
        else:
            wait.enter(joining.request_id, joining.label)
            wait.settle(remembered)

    def named(self, joining: Joining, statement: str | None = None) -> Joining:
        """Say what earlier runs of the same are remembered by, if they are."""
        return joining if self.learning is None else self.learning.named(joining, statement)

    def _warm_up(self, engine: Engine) -> None:
        """Have connections ready as soon as more requests are followed than one can serve."""
        warm_up = self._warm_up_source
        if warm_up is not None and engine.pending > _SERVED_BY_ONE:
            self._warm_up_source = None
            self.start(_warmed(warm_up), "onehouse-tracker warm-up", context_inside(self))

    def handed_out(self, wait: Wait) -> Results:
        """The results of *wait*, which the user has from now on."""
        results = wait.results()
        if self.journal_queue is not None:
            self.journal_queue.delivered(results.values())
        return results

    @property
    def acknowledge(self) -> Callable[[Iterable[str]], Awaitable[None]] | None:
        """Writes down what arrived, if there is a journal."""
        return None if self.journal_queue is None else self.journal_queue.acknowledge

    def track(
        self, engine: Engine, request: Request, *, first_look: float, statement: str | None = None
    ) -> Handle:
        """Follow one request, polled first in *first_look* seconds, for a handle."""
        wait = Wait(acknowledge=self.acknowledge)
        engine.open(wait)
        self.join(engine, wait, request.label, request, first_look, statement)
        wait.fed()
        handle = Handle(request.request_id, request.label, wait, engine.leave, self.journal_queue)
        if wait.over:
            engine.leave(wait)
        self._memory.add(handle)
        return handle

    def start(
        self, coroutine: Coroutine[Any, Any, None], name: str, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Start a task that is cancelled and awaited at the end, if it has not ended before."""
        return start_task(coroutine, name, self._tasks, context)


def start_task(
    coroutine: Coroutine[Any, Any, T],
    name: str,
    owned: dict[asyncio.Task[Any], None],
    context: Context | None = None,
) -> asyncio.Task[T]:
    """Start a task for the owner of *owned*, where it stays until it has ended."""
    task = asyncio.create_task(coroutine, name=name, context=context)
    owned[task] = None
    task.add_done_callback(owned.pop)
    return task


async def until_ended(*tasks: asyncio.Task[Any]) -> None:
    """Wait until all have ended and their callbacks ran; cancelling cancels them and waits too."""
    have_ended = all(task.done() for task in tasks)
    await asyncio.gather(*tasks, return_exceptions=True)
    if tasks and have_ended:
        # From Python 3.12 on, `gather` does not wait at all then, and the callbacks are still to
        # come.  They come before this continues, even if it is cancelled now.
        await asyncio.sleep(0)


async def _warmed(warm_up: Callable[[], Awaitable[object]]) -> None:
    with suppress(Exception):  # whatever is wrong with the source, the polls say it better
        await warm_up()
