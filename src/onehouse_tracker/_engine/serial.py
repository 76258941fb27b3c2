"""
One job after the other, in the order given, on an executor that may have many threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["SerialExecutor"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SerialExecutor(Executor):
    """
    Runs jobs on another executor, never two at a time.

    What closes a file waits here behind what opened it, also where nobody awaits the opening
    any more.  One job of the other executor at a time runs everything that has gathered.  If
    the other executor cancels that job, everything that has gathered is cancelled.

    Args:
        executor: Where the jobs run.  It is not shut down here.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._queue: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._running = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """
        Run *fn* when everything that was submitted before has ended.

        Raises:
            RuntimeError: The executor was shut down.
        """
        future: Future[_T] = Future()
        entry = (future, partial(fn, *args, **kwargs))
        with self._lock:
            self._queue.append(entry)
            if self._running:
                return future
            self._running = True
        try:
            runner = self._executor.submit(self._run)
        except BaseException:
            self._cancel_all()
            raise
        runner.add_done_callback(self._ended)
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running = False
                    return
                future, work = self._queue.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it belongs to the waiter
                future.set_exception(error)
            else:
                future.set_result(result)

    def _ended(self, runner: Future[None]) -> None:
        if runner.cancelled():
            self._cancel_all()

    def _cancel_all(self) -> None:
        with self._lock:
            entries = tuple(self._queue)
            self._queue.clear()
            self._running = False
        for future, _ in entries:
            future.cancel()
            future.set_running_or_notify_cancel()
