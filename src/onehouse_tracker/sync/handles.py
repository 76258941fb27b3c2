"""
What the blocking tracker hands out: a handle for one request, an iterator for many.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from types import TracebackType
from typing import Self, final

from onehouse_tracker import handles
from onehouse_tracker._engine.open_tracker.validation import check_timeout
from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.errors import TrackerClosedError, TrackerError
from onehouse_tracker.models import Result
from onehouse_tracker.sync._calls import Calls

__all__ = ["Completions", "Handle"]

_log = logging.getLogger(__name__)


@final
class Handle:
    """
    One request that is tracked until it ends, `cancel` is called, or the tracker closes.

    It is used like a future of ``concurrent.futures``, by any number of threads.  As with any
    future, the request is tracked whether you keep the handle or not: only `cancel` ends that.
    The handle keeps its tracker from being garbage-collected, and can be given wherever a
    request ID can.
    """

    __slots__ = ("_calls", "_inner")

    def __init__(self, calls: Calls, inner: handles.Handle) -> None:
        self._calls = calls
        self._inner = inner

    def __repr__(self) -> str:
        return f"<sync Handle {self.request_id}: {'done' if self._inner.done() else 'pending'}>"

    @property
    def request_id(self) -> str:
        """The request."""
        return self._inner.request_id

    @property
    def label(self) -> str | None:
        """The label it was tracked with."""
        return self._inner.label

    def done(self) -> bool:
        """Whether `result` returns, or raises, at once."""
        return self._inner.done()

    def cancelled(self) -> bool:
        """Whether `cancel` was called before the request ended."""
        return self._inner.cancelled()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """
        Wait until the handle is done: why there is no result, or `None` if there is one.

        A request that failed has a result, which says so.

        Args:
            timeout: Seconds; `None` waits without limit.

        Raises:
            TimeoutError: It is still pending; the handle is still waiting.

            concurrent.futures.CancelledError: `cancel` was called first.
        """
        try:
            self.result(timeout)
        except (TimeoutError, CancelledError):
            raise
        except TrackerError as error:
            return error
        return None

    def add_done_callback(self, callback: Callable[[Handle], object]) -> None:
        """
        Call *callback* with this handle when it is done; soon, if it is done already.

        It is called in a thread of the tracker, where plain ``on_result`` functions are called
        too, one at a time; if the tracker is closed already, in this one.  What it raises is
        logged.

        Raises:
            TrackerClosedError: The tracker belongs to the parent process.
        """
        workers = self._calls.tracker._session.workers  # noqa: SLF001 - the same, inside

        def add() -> None:
            level = workers.level()
            call = partial(_call, callback, self)
            self._inner.add_done_callback(lambda _: workers.run(level, call))

        try:
            self._calls.do(add)
        except TrackerClosedError:
            if not self._inner.done() or self._calls.thread.is_inherited:
                raise
            _call(callback, self)

    def result(self, timeout: float | None = None) -> Result:
        """
        Wait for the result.  Each caller gets a result, or an exception, of its own.

        Args:
            timeout: Seconds; `None` waits without limit.

        Raises:
            TimeoutError: It is still pending; the handle is still waiting.

            concurrent.futures.CancelledError: `cancel` was called first.

            ProjectError: Credentials, an outage, the journal; or the tracker was closed first.
        """
        check_timeout(timeout)

        async def waited() -> Result:
            try:
                if self._inner.done():
                    return self._inner.result()
                async with asyncio.timeout(timeout):
                    return await self._inner
            except asyncio.CancelledError as error:
                if is_cancelled() or not self._inner.cancelled():
                    raise
                raise CancelledError(*error.args) from None  # that of threads

        try:
            return self._calls.call(waited)
        except TrackerClosedError:
            # What was known when the tracker closed stays known.
            result = self._inner._known()  # noqa: SLF001 - the same, inside
            if result is None or self._calls.thread.is_inherited:
                raise
            return result

    def cancel(self) -> bool:
        """
        Stop waiting; if nobody else waits for the request, it is no longer polled.

        The request itself continues at the server.  Returns False if the handle was done.

        Raises:
            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        return self._calls.do(self._inner.cancel)

    def ack(self) -> None:
        """
        Tell the journal that the result has arrived, and wait until that is on disk.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            TrackerError: What `result` would raise, or the journal cannot be written.
        """
        self._calls.call(self._inner.ack_and_wait)


def _call(callback: Callable[[Handle], object], handle: Handle) -> None:
    try:
        callback(handle)
    except Exception as error:  # noqa: BLE001 - it is the user's, and nobody waits for it
        # Its text may quote the response: the log names its type only.
        kind = type(error).__name__
        _log.error("a done callback raised %s for request %s", kind, handle.request_id)


class _Hand:
    """What one thread has of an iterator."""

    __slots__ = ("given", "ready")

    def __init__(self) -> None:
        self.given: Result | None = None
        """What it got last, and was not acknowledged yet."""
        self.ready: Result | None = None
        """What it is about to get.  Set on the private loop, where nothing interrupts."""


@final
class Completions(Iterator[Result]):
    """
    Results in the order in which the requests end.

    A plain iterator and a context manager.  Leaving the ``with`` block, or `close`, stops the
    polling of what nobody else waits for.  As with any iterator, dropping it is the same, as a
    bare ``break`` does, but you cannot tell when.  Several threads may take from one iterator:
    each result goes to one of them.

    With a journal, a thread that asks for the next result acknowledges the one it got before.

    Raises:
        ProjectError: After the results that were known before it; ``pending`` names the
            requests that are still open.
    """

    def __init__(self, calls: Calls, inner: handles.Completions) -> None:
        self._calls = calls
        self._inner = inner
        self._here = threading.local()
        # What was taken for a thread that was interrupted before it had it.
        self._returned: deque[Result] = deque()

    def __repr__(self) -> str:
        return f"<sync {repr(self._inner).removeprefix('<')}"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result:
        """Wait for the next result.  Ctrl-C loses none that has not been handed out."""
        hand: _Hand | None = getattr(self._here, "hand", None)
        if hand is None:
            hand = self._here.hand = _Hand()
        result: Result | None = None
        try:
            self._calls.call(partial(self._take, hand))
            result = hand.ready
            if result is None:
                raise StopIteration  # noqa: TRY301 - as the protocol wants it
            hand.ready = None
            hand.given = result
            # Together with the line before: no signal is handled in between.
            return result  # noqa: TRY300
        except BaseException:
            self._take_back(hand, result)
            raise

    async def _take(self, hand: _Hand) -> None:
        """Acknowledge what the thread got last, and have a result ready for it, if one comes."""
        if hand.given is not None:
            await self._calls.acknowledge(hand.given)
            hand.given = None
        if hand.ready is None and not self._returned:
            # Not its next step, which acknowledges for its task: each of these is another one.
            hand.ready = await self._inner._take()  # noqa: SLF001 - the same, inside
        if hand.ready is None and self._returned:
            hand.ready = self._returned.popleft()

    def _take_back(self, hand: _Hand, result: Result | None) -> None:
        """An interruption came: what is ready, or *result*, was not handed out."""
        if result is not None and hand.given is result:
            hand.given = None
            hand.ready = result
        if (ready := hand.ready or result) is not None:
            hand.ready = None
            self._returned.append(ready)

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
