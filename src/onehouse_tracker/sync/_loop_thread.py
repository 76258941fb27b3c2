"""
An event loop in a thread of its own, for callers that block.

Who owns what: the thread owns the loop, and one coroutine on it owns the context: it enters
it, waits until it is told to leave, leaves it, and ends what still runs.  Callers own nothing
but their call, which they cancel if they cannot wait for its end.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - what it does at exit is registered before ours
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, NoReturn, TypeVar

from onehouse_tracker.errors import TrackerClosedError
from onehouse_tracker.sync._latch import GLANCE, Latch
from onehouse_tracker.sync._one_call import Call

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """
    Keeps one asynchronous context open on a private event loop, and runs calls there.

    The thread starts with `open`, or with the first call, and ends with `close`, or when the
    interpreter exits.  Any number of threads may call at once.

    Args:
        context: Entered and left on the private loop; once.

        name: The name of the thread.
    """

    def __init__(self, context: AbstractAsyncContextManager[object], *, name: str) -> None:
        self._context = context
        self._name = name
        # The child of a fork has the object but not the thread.  Before the thread starts
        # there is nothing to miss: such an object is as good in the child.
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._takes_calls = True
        self._exiting = False
        self._entered = Latch()
        self._leave: asyncio.Event | None = None
        self._is_told_to_leave = False
        self._cause: BaseException | None = None
        self._broken_by: BaseException | None = None
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting = 0

    @property
    def closed(self) -> bool:
        """Whether every call from now on raises `TrackerClosedError`."""
        return not self._takes_calls or self._is_told_to_leave or self.is_inherited

    @property
    def is_inherited(self) -> bool:
        """Whether it was opened by the process that forked this one."""
        return self._pid is not None and self._pid != os.getpid()

    @property
    def _is_started(self) -> bool:
        # Ctrl-C may come between the making of a thread and its start.
        return self._thread is not None and self._thread.ident is not None

    def open(self) -> None:
        """
        Start the thread and enter the context, unless that was done.

        Raises:
            TrackerClosedError: It is closed, or belongs to the parent process.

            BaseException: What entering the context raised.
        """
        if self.is_inherited:
            raise TrackerClosedError(
                "the tracker belongs to the process that forked this one; make a new one here"
            )
        with self._lock:
            if not self._is_started and self._takes_calls:
                self._pid = os.getpid()
                # A daemon, so that nothing can keep the interpreter from ending; what must
                # be done before it ends, `_close_all` does.
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no more threads
                    self._takes_calls = False
                    raise
        if not self._is_started:
            self._refuse()
        self._entered.wait()
        if self._failure is not None and self._leave is None:
            raise self._failure
        if not self._takes_calls:
            self._refuse()

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """
        Run the coroutine that *work* makes on the private loop, and wait for its end.

        It sees the caller's context variables.  If the caller is interrupted, by Ctrl-C, the
        coroutine is cancelled, and the interruption continues when it has ended; a second one
        does not wait for that.

        Raises:
            TrackerClosedError: It is closed, was closed meanwhile, or belongs to the parent
                process.

            RuntimeError: It was called on the private loop, which would wait for itself.

            BaseException: What the coroutine raised.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a blocking call on the tracker's own event loop would wait for itself:"
                " make on_result a plain function"
            )
        self.open()
        call = Call(work, self)
        try:
            self._schedule(call)
            call.wait()
        except BaseException:
            # Behind the start in the loop's queue, if that was ever put there.
            if self._post(call.abandon):
                call.wait()
            raise
        finally:
            self._hung_up(call)

        try:
            return call.outcome()
        except TrackerClosedError as error:
            if self._broken_by is not None:
                error.message = self.why_closed().message
                raise error from self._broken_by
            raise

    def close_soon(self, cause: BaseException | None = None) -> None:
        """
        Begin to close, without waiting.  Takes no lock: a finalizer may call it anywhere.

        Args:
            cause: The exception that ends the context, if it is one.
        """
        if self.is_inherited or self._is_told_to_leave:
            return
        self._cause = cause
        self._is_told_to_leave = True
        loop, leave = self._loop, self._leave
        if loop is not None and leave is not None:
            with suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(leave.set)

    def close(self, cause: BaseException | None = None) -> None:
        """
        Leave the context, end all calls, and wait until the thread has ended.

        Closing twice does no harm; neither does closing what belongs to the parent process.
        On the private loop itself it does not wait.

        Args:
            cause: The exception that ends the context, if it is one.

        Raises:
            BaseException: What leaving the context raised; the first to close gets it.
        """
        if self.is_inherited:
            return
        self.close_soon(cause)
        with self._lock:
            thread = self._thread
            if not self._is_started:
                self._takes_calls = False
        if thread is None or thread is threading.current_thread():
            return
        while thread.is_alive():
            thread.join(GLANCE)
        failure, self._failure = self._failure, None
        if failure is not None and self._leave is not None:
            raise failure

    # --- In the caller's thread ----------------------------------------------------------

    def _schedule(self, call: Call[Any]) -> None:
        with self._lock:
            accepted = self._takes_calls and self._loop is not None
            if accepted:
                call.is_counted = call.holds_up_exit
                self._waiting += call.is_counted
        if not accepted or not self._post(call.start):
            self._refuse()

    def _refuse(self) -> NoReturn:
        if self._exiting and threading.current_thread().daemon:
            # The interpreter is about to freeze this thread; an error would only be noise.
            threading.Event().wait()
        raise self.why_closed()

    def why_closed(self) -> TrackerClosedError:
        """What to raise where a call has no outcome because of the closing."""
        if self._broken_by is None:
            return TrackerClosedError("the tracker is closed")
        failure = TrackerClosedError(
            f"{type(self._broken_by).__name__} ended the tracker's event loop; the requests go on"
        )
        failure.__cause__ = self._broken_by
        return failure

    def _post(self, callback: Callable[[], None]) -> bool:
        # Under the lock: once the thread has said that it takes no calls, none comes.
        with self._lock:
            if not self._takes_calls or self._loop is None:
                return False
            self._loop.call_soon_threadsafe(callback)
            return True

    def _hung_up(self, call: Call[Any]) -> None:
        with self._lock:
            if call.is_counted:
                call.is_counted = False
                self._waiting -= 1
                self._idle.notify_all()

    def close_at_exit(self) -> None:
        """
        Close before the interpreter ends.

        Threads that the interpreter waits for get what they wait for first; of daemons it
        does not wait for, none is woken only to report an error.
        """
        try:
            with self._idle:
                self._idle.wait_for(lambda: not self._waiting)
        finally:
            self._exiting = True
            # Whether all went well nobody can tell here: nothing counts as acknowledged.
            self.close_soon(_AtExit())
            thread = self._thread
            if thread is not None:
                thread.join(_PATIENCE_AT_EXIT)

    # --- In the thread -------------------------------------------------------------------

    def _run(self) -> None:
        _running.add(self)
        loop = asyncio.new_event_loop()
        try:
            serving = loop.create_task(self._serve())
            while not serving.done():
                try:
                    loop.run_until_complete(serving)
                except BaseException as error:  # noqa: BLE001 - told to all who wait
                    # `SystemExit` and `KeyboardInterrupt` go right through a loop.  Somebody
                    # waits for each call: so the loop runs on until all have been told.
                    self._broken_by = error
                    self.close_soon(error)
            loop.run_until_complete(loop.shutdown_asyncgens())
            # From Python 3.12 on no thread starts while the interpreter ends, and this needs
            # one; closing the loop lets go of idle workers too.
            with suppress(RuntimeError):
                loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
            _running.discard(self)

    async def _serve(self) -> None:
        try:
            await self._context.__aenter__()
        except BaseException as error:  # noqa: BLE001 - raised in the threads that wait for it
            self._failure = error
            with self._lock:
                self._takes_calls = False
            self._entered.set()
            return
        self._leave = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._entered.set()
        # Looked at after `_loop` was set: a call to leave before that had nothing to end.
        if not self._is_told_to_leave:
            await self._leave.wait()
        cause = self._cause
        try:
            await self._context.__aexit__(
                None if cause is None else type(cause),
                cause,
                getattr(cause, "__traceback__", None),
            )
        except BaseException as error:  # noqa: BLE001 - raised in the thread that closes
            if error is not cause:
                self._failure = error
        with self._lock:
            self._takes_calls = False
        await asyncio.sleep(0)  # what was posted before that has started now
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Take note of a call's task, to end it when the context is left."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def may_wake(self, call: Call[Any]) -> bool:
        """Whether the caller should learn of the end."""
        return not (self._exiting and call.is_daemon)


class _AtExit(BaseException):
    """Ends the context when the interpreter exits."""


_PATIENCE_AT_EXIT: Final = 5.0
"""Seconds for closing when the interpreter exits; then it exits all the same."""

_running: Final[set[LoopThread]] = set()
_inherited: Final[list[LoopThread]] = []


def _close_all() -> None:
    for owner in tuple(_running):
        owner.close_at_exit()


def _forked() -> None:
    # Their threads are gone.  Kept, never touched: the loops' descriptors are shared with the
    # parent, and finalizers in the child would close connections under its feet.
    _inherited.extend(_running)
    _running.clear()


def _before_threads_end(callback: Callable[[], None]) -> None:
    # Not `atexit`, which comes after the thread pools were shut down: closing may need one.
    # What comes last here runs first, and the pools' own callback came with their import.
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(callback)
    except RuntimeError:  # imported while the interpreter ends
        atexit.register(callback)


_before_threads_end(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
