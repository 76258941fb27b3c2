"""
Calls the user's ``on_result``, off the polling path and one result at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from onehouse_tracker import events
from onehouse_tracker._engine.open_tracker.inside import inside
from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.errors import JournalError
from onehouse_tracker.models import Result

if TYPE_CHECKING:
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.open_tracker.session import Session

__all__ = ["Callbacks", "OnResult"]

_log = logging.getLogger(__name__)

OnResult = Callable[[Result], object] | Callable[[Result], Awaitable[object]]
"""What ``on_result`` may be: a plain function or a coroutine function of one result."""


class Callbacks:
    """
    A queue of results, and the loop that hands them to one callback.

    Args:
        callback: Coroutine functions run on the event loop, plain ones in a thread.

        session: What the calls belong to: its observers are told when the callback raises, its
            journal_queue when it returned without an error.

        interrupt: Is told of an exception that is to end the program, such as `SystemExit`;
            then nothing more is called.

    Attributes:
        errors: What the callback raised, by request ID.

        failure: Why something could not be acknowledged; `None` if all could.

        interruption: What *interrupt* was told.
    """

    def __init__(
        self,
        callback: OnResult,
        session: Session,
        interrupt: Callable[[BaseException], object],
    ) -> None:
        self._callback = callback
        self._is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
            getattr(callback, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        self._session = session
        self._workers = session.workers
        self._level = session.workers.level()
        self._emit = session.emit
        self._journal_queue = session.journal_queue
        self._interrupt = interrupt
        self._queue: asyncio.Queue[Result | None] = asyncio.Queue()
        self.errors: dict[str, Exception] = {}
        self.failure: JournalError | None = None
        self.interruption: BaseException | None = None

    def put(self, result: Result) -> None:
        """Queue one result."""
        self._queue.put_nowait(result)

    def finish(self) -> None:
        """No more results will come: `run` returns when those queued are done."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """
        Call the callback for each result, one at a time, until `finish`.

        Cancelling interrupts an async callback; a plain one runs to its end in its thread.
        """
        while (result := await self._queue.get()) is not None:
            raised = await self._call(result)
            if isinstance(raised, KeyboardInterrupt | SystemExit):
                # Raised where somebody waits, and not here: in our own task it would break
                # the event loop under everyone else.
                self.interruption = raised
                self._interrupt(raised)
                return
            if raised is not None:
                error = _as_exception(raised)
                self.errors[result.request_id] = error
                # The exception's text may quote the response: the log names its type only.
                _log.error(
                    "on_result raised %s for request %s", type(error).__name__, result.request_id
                )
                if self._emit:
                    self._emit(
                        events.CallbackFailed(
                            at=asyncio.get_running_loop().time(),
                            request_id=result.request_id,
                            error=type(error).__name__,
                        )
                    )
            elif self._journal_queue is not None and result.outcome.finished:
                await self._acknowledge(self._journal_queue, result)

    async def _acknowledge(self, journal_queue: JournalQueue, result: Result) -> None:
        # Before the next call: at most one result is delivered and not acknowledged.
        try:
            await journal_queue.acknowledge((result.request_id,))
        except JournalError as error:
            self.failure = error

    async def _call(self, result: Result) -> BaseException | None:
        """Call back once, and return what that raised."""
        try:
            with inside(self._session):
                if self._is_async:
                    answer = self._callback(result)
                else:
                    answer = await self._workers.run(
                        self._level, partial(_call_plain, self._callback, result)
                    )
                if isinstance(answer, _Raised):
                    return answer.error
                # A lambda or a partial around a coroutine function shows it by its answer only.
                if inspect.isawaitable(answer):
                    await answer
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            # It awaited something that others cancelled: that is its own trouble.
            failure = RuntimeError("on_result was cancelled from within")
            failure.__cause__ = error
            return failure
        except BaseException as error:  # noqa: BLE001 - it is the user's
            return error
        return None


class _Raised(NamedTuple):
    """What a plain callback raised."""

    error: BaseException


def _call_plain(callback: Callable[[Result], object], result: Result) -> object:
    # Returned and not raised: a future takes no StopIteration, and who awaits it would hang.
    try:
        return callback(result)
    except BaseException as error:  # noqa: BLE001 - it is the user's
        return _Raised(error)


def _as_exception(error: BaseException) -> Exception:
    # Extensions panic with what is no `Exception`: who is told of it expects one.
    if isinstance(error, Exception):
        return error
    failure = RuntimeError(f"on_result raised {type(error).__name__}")
    failure.__cause__ = error
    return failure
