"""
An event loop whose clock jumps: an hour of sleeping costs no time, and times are exact.
"""

# An event loop drives its handles, and nobody else may: hence the private names.
# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError as JobCancelledError
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures import Future as Job
from contextvars import Context
from heapq import heapify, heappop, heappush
from math import inf, isnan
from typing import Any, NoReturn, ParamSpec, TypeVar, TypeVarTuple

__all__ = ["DeadlockError", "InlineExecutor", "VirtualClockLoop"]

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Ts = TypeVarTuple("_Ts")

_TICKS_PER_SECOND = 10_000_000
_TICKS_PER_MICROSECOND = 10
_FOREVER = 1e15
_FEW_CANCELLED = 100
_SHOWN_TASKS = 10


class DeadlockError(RuntimeError):
    """Nothing is left that could ever wake the loop: a real loop would hang here."""


class VirtualClockLoop(asyncio.BaseEventLoop):
    """
    An event loop that jumps to its next timer whenever nothing is ready.

    Made for ``asyncio.Runner(loop_factory=VirtualClockLoop).run(...)``; with a seed,
    ``loop_factory=lambda: VirtualClockLoop(seed=7)``.

    Time.  Timers fall on whole microseconds, so three sleeps of 0.1 end at exactly 0.3 and
    no rounding error grows.  A timer that is due at once fires without moving the clock.  If
    that happens a second time at the same instant, the clock creeps on by 0.1 microseconds:
    code that waits for a floating-point remainder (aiolimiter does) would otherwise spin.
    The next timer is rounded to the microsecond again, so the creep never adds up.

    Threads.  What `run_in_executor` starts runs in real threads and takes no virtual time:
    the clock stands still until it is done, and several jobs are delivered in the order in
    which they were started.  Jobs whose future was cancelled are not waited for.  A job that
    needs the clock to move can never end; after ``thread_patience`` real seconds that is a
    `DeadlockError`.  Threads that the loop did not start are not waited for.

    It runs no sockets: the clock would jump while a reply is on its way.

    Args:
        seed: Shuffles what is ready to run, the same way for the same seed.  `None` runs it
            first come, first served.  Use it with fakes only: real transports rely on order.

        start: What the clock shows first, in seconds, from 0 to 1e15.

        thread_patience: Real seconds that one job in a thread may take.

    Raises:
        DeadlockError: From the running loop, where nothing is left to wake it.
    """

    _ready: deque[asyncio.Handle]
    _default_executor: Executor | None
    _stopping: bool

    def __init__(
        self, seed: int | None = None, start: float = 0.0, *, thread_patience: float = 30.0
    ) -> None:
        super().__init__()
        self._ticks = round(start * 1e6) * _TICKS_PER_MICROSECOND
        self._now = self._ticks / _TICKS_PER_SECOND
        self._crept_to = False
        # The number keeps timers of one instant in the order in which they were set, and
        # the comparison of two entries away from the handles, whose own one is slow.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._cancelled_timers = 0
        self._random = None if seed is None else random.Random(seed)
        self._jobs: deque[tuple[Job[Any], asyncio.Future[Any]]] = deque()
        self._woken = threading.Event()
        self._thread_patience = thread_patience

    def __repr__(self) -> str:
        return f"<VirtualClockLoop: {self._now:g} s, {len(self._timers)} timers>"

    def time(self) -> float:
        """Seconds on the virtual clock."""
        return self._now

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call *callback* at *when* seconds, rounded to the microsecond; infinity is never."""
        self._refuse_if_closed()
        if isnan(when):
            raise ValueError("a timer needs a time, not NaN")
        ticks: float = inf
        if when < _FOREVER:
            ticks = round(when * 1e6) * _TICKS_PER_MICROSECOND
            when = ticks / _TICKS_PER_SECOND
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heappush(self._timers, (ticks, self._timer_count, timer))
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run *func* in a real thread; the clock stands still until it is done."""
        self._refuse_if_closed()
        if executor is None:
            if self._default_executor is None:
                self._default_executor = ThreadPoolExecutor(thread_name_prefix="virtual-clock")
            executor = self._default_executor
        job = executor.submit(func, *args)
        future: asyncio.Future[_T] = self.create_future()
        future.add_done_callback(lambda done: job.cancel() if done.cancelled() else None)
        job.add_done_callback(lambda _: self._woken.set())
        self._jobs.append((job, future))
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Wait, in real time, for the threads of the default executor to end."""
        if self._default_executor is not None:
            self._default_executor.shutdown()

    async def getaddrinfo(self, *_: object, **__: object) -> NoReturn:
        """Refuse: this loop runs no sockets."""
        raise _no_sockets()

    async def create_connection(self, *_: object, **__: object) -> NoReturn:
        """Refuse: this loop runs no sockets."""
        raise _no_sockets()

    async def create_server(self, *_: object, **__: object) -> NoReturn:
        """Refuse: this loop runs no sockets."""
        raise _no_sockets()

    async def sock_connect(self, *_: object) -> NoReturn:
        """Refuse: this loop runs no sockets."""
        raise _no_sockets()

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        if self._cancelled_timers > _FEW_CANCELLED and self._cancelled_timers * 2 > len(timers):
            timers[:] = [entry for entry in timers if not entry[2].cancelled()]
            heapify(timers)
            self._cancelled_timers = 0
        while timers and timers[0][2].cancelled():
            heappop(timers)
            self._cancelled_timers -= 1
        if not ready and not self._stopping:
            self._let_something_happen()

        while timers and timers[0][0] <= self._ticks:
            timer = heappop(timers)[2]
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer.cancelled():
                self._cancelled_timers -= 1
            else:
                ready.append(timer)

        if self._random is not None and len(ready) > 1:
            # Only what is ready now: a thread may append meanwhile.
            batch = [ready.popleft() for _ in range(len(ready))]
            self._random.shuffle(batch)
            ready.extendleft(batch)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _let_something_happen(self) -> None:
        while self._jobs and self._jobs[0][1].done():
            self._jobs.popleft()
        if self._jobs:
            self._finish_a_job()
            return
        when = self._timers[0][0] if self._timers else inf
        if when == inf:
            raise DeadlockError(self._describe("nothing is left to wake it"))
        if when > self._ticks:
            self._ticks = int(when)
            self._crept_to = False
        elif self._crept_to:
            self._ticks += 1
        else:
            self._crept_to = True
        self._now = self._ticks / _TICKS_PER_SECOND

    def _finish_a_job(self) -> None:
        job, future = self._jobs[0]
        while not job.done() and not self._ready:
            if not self._woken.wait(self._thread_patience):
                raise DeadlockError(self._describe("a thread does not finish"))
            # A wake-up between the wait and this line is seen by the condition above.
            self._woken.clear()
        if not job.done():
            return
        self._jobs.popleft()
        try:
            future.set_result(job.result())
        except JobCancelledError:
            future.cancel()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the waiter's
            future.set_exception(error)

    def _refuse_if_closed(self) -> None:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")

    def _describe(self, trouble: str) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=asyncio.Task.get_name)
        lines = [f"{task.get_name()} in {_place(task)}" for task in tasks[:_SHOWN_TASKS]]
        if len(tasks) > _SHOWN_TASKS:
            lines.append(f"and {len(tasks) - _SHOWN_TASKS} more")
        return f"at {self._now:g} s {trouble}; waiting: {', '.join(lines) or 'no task'}"

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle._scheduled:  # type: ignore[attr-defined]
            self._cancelled_timers += 1

    def _write_to_self(self) -> None:
        self._woken.set()

    def _process_events(self, event_list: object) -> None:
        """Nothing to do: there are no sockets, so there are no events."""


class InlineExecutor(Executor):
    """An executor that does the work at once, in the calling thread: no threads, no surprises."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Job[_T]:
        """Call *fn* now; the future that comes back is done."""
        job: Job[_T] = Job()
        try:
            job.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the waiter's
            job.set_exception(error)
        return job


def _place(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack(limit=1)
    if not stack:  # pragma: no cover - only coroutines that were compiled to C have no frame
        return "no frame"
    code = stack[-1].f_code
    return f"{code.co_name} ({code.co_filename.rpartition('/')[2]}:{stack[-1].f_lineno})"


def _no_sockets() -> RuntimeError:
    return RuntimeError(
        "VirtualClockLoop runs no sockets: its clock would jump while a reply is on its way."
        " Use SimulatedSource or ScriptedSource here, or a real loop."
    )
