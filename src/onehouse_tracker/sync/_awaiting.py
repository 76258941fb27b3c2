"""
What a blocking handle and iterator have in common, whether they wait for requests or for runs.
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
from typing import Any, Generic, Self, TypeVar

from onehouse_tracker import _awaiting
from onehouse_tracker._engine.open_tracker.validation import check_timeout
from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.errors import TrackerClosedError, TrackerError
from onehouse_tracker.sync._calls import Calls

__all__ = ["Arrivals", "Awaited"]

_log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")
InnerT = TypeVar("InnerT", bound=_awaiting.Awaited[Any, Any])
AwaitedT = TypeVar("AwaitedT", bound="Awaited[Any, Any]")


class Awaited(Generic[InnerT, ResultT]):
    """
    One thing that is waited for until it ends, `cancel` is called, or the tracker closes.

    It is used like a future of ``concurrent.futures``, by any number of threads.
    """

    __slots__ = ("_calls", "inner")

    inner: InnerT
    """The handle of the private loop; not for users."""

    def __init__(self, calls: Calls, inner: InnerT) -> None:
        self._calls = calls
        self.inner = inner

    def __repr__(self) -> str:
        return f"<sync {repr(self.inner).removeprefix('<')}"

    def done(self) -> bool:
        """Whether `result` returns, or raises, at once."""
        return self.inner.done()

    def cancelled(self) -> bool:
        """Whether `cancel` was called before the end was known."""
        return self.inner.cancelled()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """
        Wait until the handle is done: why there is no result, or `None` if there is one.

        What failed at the server has a result, which says so.

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

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
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
            self.inner.add_done_callback(lambda _: workers.run(level, call))

        try:
            self._calls.do(add)
        except TrackerClosedError:
            if not self.inner.done() or self._calls.thread.is_inherited:
                raise
            _call(callback, self)

    def result(self, timeout: float | None = None) -> ResultT:
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

        async def waited() -> ResultT:
            try:
                if not self.inner.done():
                    async with asyncio.timeout(timeout):
                        await self.inner
                result: ResultT = self.inner.result()
            except asyncio.CancelledError as error:
                if is_cancelled() or not self.inner.cancelled():
                    raise
                raise CancelledError(*error.args) from None  # that of threads
            return result

        try:
            return self._calls.call(waited)
        except TrackerClosedError:
            # What was known when the tracker closed stays known.
            known: ResultT | None = self.inner._known()  # noqa: SLF001 - the same, inside
            if known is None or self._calls.thread.is_inherited:
                raise
            return known

    def cancel(self) -> bool:
        """
        Stop waiting; what nobody else waits for is no longer asked for.

        At the server it still runs.  Returns False if the handle was done.

        Raises:
            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        return self._calls.do(self.inner.cancel)

    def ack(self) -> None:
        """
        Tell the journal that the result has arrived, and wait until that is on disk.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            TrackerError: What `result` would raise, or the journal cannot be written.
        """
        self._calls.call(self.inner.ack_and_wait)


def _call(callback: Callable[[AwaitedT], object], handle: AwaitedT) -> None:
    try:
        callback(handle)
    except Exception as error:  # noqa: BLE001 - it is the user's, and nobody waits for it
        # Its text may quote the response: the log names its type only.
        what = handle.inner._named()  # noqa: SLF001 - the same, inside
        _log.error("a done callback raised %s for %s", type(error).__name__, what)


class _Hand(Generic[ResultT]):
    """What one thread has of an iterator: results, with the keys that the journal knows."""

    __slots__ = ("given", "ready")

    def __init__(self) -> None:
        self.given: tuple[str | None, ResultT] | None = None
        """What it got last, and was not acknowledged yet."""
        self.ready: tuple[str | None, ResultT] | None = None
        """What it is about to get.  Set on the private loop, where nothing interrupts."""


class Arrivals(Iterator[ResultT]):
    """
    Results in the order in which they arrive.

    `Completions` says what it promises, and all of it holds for runs too.
    """

    def __init__(self, calls: Calls, inner: _awaiting.Arrivals[Any, ResultT]) -> None:
        self._calls = calls
        self._inner = inner
        self._here = threading.local()
        # What was taken for a thread that was interrupted before it had it.
        self._returned: deque[tuple[str | None, ResultT]] = deque()

    def __repr__(self) -> str:
        return f"<sync {repr(self._inner).removeprefix('<')}"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ResultT:
        """Wait for the next result.  Ctrl-C loses none that has not been handed out."""
        hand: _Hand[ResultT] | None = getattr(self._here, "hand", None)
        if hand is None:
            hand = self._here.hand = _Hand()
        taken: tuple[str | None, ResultT] | None = None
        try:
            self._calls.call(partial(self._take, hand))
            taken = hand.ready
            if taken is None:
                raise StopIteration  # noqa: TRY301 - as the protocol wants it
            hand.ready = None
            hand.given = taken
            # Together with the line before: no signal is handled in between.
            return taken[1]
        except BaseException:
            self._take_back(hand, taken)
            raise

    async def _take(self, hand: _Hand[ResultT]) -> None:
        """Acknowledge what the thread got last, and have a result ready for it, if one comes."""
        # Not its steps, which acknowledge for their task: each of these is another one.
        inner = self._inner
        if hand.given is not None:
            if (key := hand.given[0]) is not None:
                await inner._have_arrived((key,))  # noqa: SLF001 - the same, inside
            hand.given = None
        if hand.ready is None and not self._returned:
            hand.ready = await inner._take()  # noqa: SLF001 - the same, inside
        if hand.ready is None and self._returned:
            hand.ready = self._returned.popleft()

    def _take_back(self, hand: _Hand[ResultT], taken: tuple[str | None, ResultT] | None) -> None:
        """An interruption came: what is ready, or *taken*, was not handed out."""
        if taken is not None and hand.given is taken:
            hand.given = None
            hand.ready = taken
        if (ready := hand.ready or taken) is not None:
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
