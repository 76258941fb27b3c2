"""
Writes to the journal off the event loop: all that has gathered at once, one job at a time.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from onehouse_tracker import events
from onehouse_tracker._engine.journal_job import Done, do
from onehouse_tracker._engine.serial import SerialExecutor
from onehouse_tracker.errors import JournalError, JournalWriteError
from onehouse_tracker.journal import Added, Entry, Journal
from onehouse_tracker.models import Result

__all__ = ["Then", "Writer"]

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_BATCH = 10_000
"""Entries per commit, at most: the first of a million need not wait for the last."""

Then: TypeAlias = Callable[[Result | JournalError | None, float], None]
"""Told that an entry is on disk: with the result that was there already, with nothing, or
with the error because of which it is not; and with the time."""

_Batch: TypeAlias = list[tuple[Entry, Then | None]]


class _Read(NamedTuple):
    """Something to be read."""

    behind: int
    """How many entries were put before: neither more nor fewer are written when it is read."""

    read: Callable[[], Any]
    take: Callable[[Any], None]
    """Gets what was read, or the error because of which nothing was."""


class Writer:
    """
    One journal, and what waits to be written to it.

    One job at a time is in its hands: it writes everything that has gathered, in order, then
    it reads at most once.  What follows from a job happens on the loop before the next job
    begins, so that a reader sees neither too little nor too much.

    Args:
        journal: Where it is kept.

        strict: Whether a failure to write is everyone's failure; otherwise all continues as if
            it had been written, and is missing in the journal.
    """

    def __init__(self, journal: Journal, *, strict: bool, emit: events.Emitter) -> None:
        self._loop = asyncio.get_running_loop()
        self._journal = journal
        self._strict = strict
        self._emit = emit
        self._executor: SerialExecutor | None = None
        self._own_executor: ThreadPoolExecutor | None = None
        self._queue: deque[tuple[Entry, Then | None]] = deque()
        self._put = 0
        self._reads: deque[_Read] = deque()
        self._busy = False
        self._scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self._unusable: JournalError | None = None
        self._lost = 0
        self._on_failure: Callable[[JournalError], None] | None = None
        self._on_written: Callable[[], None] | None = None
        self.closed = False

    # --- Life cycle --------------------------------------------------------------------

    async def open(self) -> None:
        """
        Open the journal.  Cancelling closes it again.

        Raises:
            JournalError: It cannot be used, and the writer is strict.
        """
        executor = self._journal.executor
        if executor is None:
            executor = self._own_executor = ThreadPoolExecutor(
                max_workers=1, thread_name_prefix="onehouse-tracker journal"
            )
        self._executor = SerialExecutor(executor)
        try:
            interrupted = await self._open(self._executor)
        except JournalError as error:
            if self._strict:
                self._release()
                raise
            self._unusable = error
            self._tell_failure(error, 0)
        except BaseException:
            self._close_behind(self._journal.close)
            self._release()
            raise
        else:
            if interrupted:
                self._report_interrupted(interrupted)

    async def _open(self, executor: SerialExecutor) -> int:
        try:
            opening = self._loop.run_in_executor(executor, self._journal.open)
        except RuntimeError as error:
            raise self._shut_down() from error
        try:
            # Not awaited itself: its own cancellation is not that of the waiter.
            await asyncio.wait([opening])
        except asyncio.CancelledError:
            opening.cancel()  # unless it runs: then it is closed behind it
            raise
        if opening.cancelled():
            raise self._shut_down()
        return opening.result()

    def _close_behind(self, close: Callable[[], object]) -> None:
        """Let *close* run when the job that runs now has ended; nobody waits for it."""
        if self._executor is None:
            return
        try:
            self._executor.submit(close).add_done_callback(
                lambda closing: close() if closing.cancelled() else None
            )
        except RuntimeError:  # it was shut down, and nothing runs in it
            close()

    def _shut_down(self) -> JournalWriteError:
        path = self._journal.name
        return JournalWriteError(f"journal {path}: its executor was shut down", path=path)

    def attach(
        self, *, on_failure: Callable[[JournalError], None], on_written: Callable[[], None]
    ) -> None:
        """Say who learns of a failure that is everyone's, and that things went on."""
        self._on_failure = on_failure
        self._on_written = on_written

    async def aclose(self) -> None:
        """
        Write what has gathered, then close the journal.

        Cancelling ends the waiting, not the writing.  Raises nothing else.
        """
        if self.closed:
            return
        self.closed = True
        executor = self._executor
        try:
            while self._unusable is None and (self._busy or self._queue):
                self._start_job()
                if self._busy:
                    self._idle = self._loop.create_future()
                    await self._idle
            if executor is not None:
                await self._close(executor)
            if self._own_executor is not None:
                # Its thread has nothing left to do: this waits for microseconds.
                self._own_executor.shutdown()
        except asyncio.CancelledError:
            self.abandon()
            raise
        finally:
            self._release()

    def abandon(self) -> None:
        """Write what has gathered, and close the journal, behind what runs; nobody waits."""
        self.closed = True
        if self._executor is not None:
            batch = list(self._queue)
            self._queue.clear()
            self._close_behind(partial(self._end_alone, [entry for entry, _ in batch]))
            # It is very likely written, but those who wait for it will not hear of it.
            path = self._journal.name
            self._go_on(batch, JournalWriteError(f"journal {path}: closed", path=path))
        self._release()

    async def _close(self, executor: SerialExecutor) -> None:
        try:
            closing = self._loop.run_in_executor(executor, self._journal.close)
        except RuntimeError:  # it was shut down: nobody else can use the journal now
            self._journal.close()
            return
        await asyncio.wait([closing])
        if closing.cancelled():
            self._journal.close()
        else:
            closing.result()

    def _end_alone(self, entries: list[Entry]) -> None:
        try:
            if entries and self._unusable is None:
                self._journal.write(entries)
        finally:
            self._journal.close()

    def _release(self) -> None:
        if self._own_executor is not None:
            self._own_executor.shutdown(wait=False)

    # --- What comes in -------------------------------------------------------------------

    def put(self, entry: Entry, then: Then | None) -> None:
        """Write *entry*, and *then* go on.  After closing nothing happens."""
        if not self.closed:
            self._queue.append((entry, then))
            self._put += 1
            self._soon()

    def promised(self, entry: Entry) -> asyncio.Future[None]:
        """
        Write *entry*; what comes back is done when it is on disk, and need not be awaited.

        Cancelling it ends the waiting, not the writing.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        # An error is told to all who wait, and logged, in any case.
        future.add_done_callback(_retrieve)
        self.put(entry, partial(_resolve, future))
        return future

    def read(self, read: Callable[[], _T], take: Callable[[_T | JournalError], None]) -> None:
        """
        Let the journal *read*, behind all that was put before and nothing else, and *take*
        what it brings.
        """
        if self._unusable is not None:
            take(copy.copy(self._unusable))
            return
        self._reads.append(_Read(self._put, read, take))
        self._soon()

    # --- One job -------------------------------------------------------------------------

    def _soon(self) -> None:
        # Not at once: what else this turn of the loop brings goes into the same commit.
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start_job)

    def _start_job(self) -> None:
        self._scheduled = False
        if self._busy or not (self._queue or (self._reads and not self.closed)):
            return
        if self._unusable is not None:
            self._do_without()
            return
        count = min(len(self._queue), _BATCH)
        read: _Read | None = None
        if self._reads:
            taken = self._put - len(self._queue)
            before = max(0, self._reads[0].behind - taken)
            if before <= count:
                count, read = before, self._reads.popleft()
        batch = [self._queue.popleft() for _ in range(count)]
        entries = [entry for entry, _ in batch]
        try:
            job = self._loop.run_in_executor(
                self._executor, do, self._journal, entries, read and read.read
            )
        except RuntimeError:
            self._refused(batch, read and read.take)
            if self._queue or self._reads:
                self._soon()
            return
        self._busy = True
        job.add_done_callback(partial(self._job_done, batch, read and read.take))

    def _refused(self, batch: _Batch, take: Callable[[Any], None] | None) -> None:
        """The executor was shut down: those who wait for this job must hear of it."""
        failure = self._shut_down()
        self._failed(failure, batch)
        if take is not None:
            take(copy.copy(failure))

    def _do_without(self) -> None:
        """The journal could not be opened, and the user wants to go on."""
        batch = list(self._queue)
        self._queue.clear()
        self._lost += len(batch)
        self._go_on(batch, None)

    def _job_done(
        self, batch: _Batch, take: Callable[[Any], None] | None, job: asyncio.Future[Done]
    ) -> None:
        self._busy = False
        try:
            if job.cancelled():  # by an executor that was shut down before the job began
                self._refused(batch, take)
                return
            done = job.result()
            if done.failure is None:
                self._recovered(len(batch))
                self._go_on(batch, None, done.known)
            else:
                self._failed(done.failure, batch)
            if take is not None and done.read is not None:
                take(done.read)
        finally:
            self._start_job()
            if not self._busy and self._idle is not None:
                idle, self._idle = self._idle, None
                _resolve(idle, None, 0.0)

    def _failed(self, failure: JournalError, batch: _Batch) -> None:
        self._tell_failure(failure, len(batch))
        if self._strict and self._on_failure is not None:
            self._on_failure(failure)
        self._go_on(batch, failure if self._strict else None)

    def _go_on(
        self,
        batch: _Batch,
        failure: JournalError | None,
        known: Mapping[str, Result] | None = None,
    ) -> None:
        now = self._loop.time()
        for entry, then in batch:
            if then is None:
                continue
            result = None
            # Only what was added can have been answered long ago.
            if known and isinstance(entry, Added):
                result = known.get(entry.request.request_id)
            then(failure or result, now)
        if self._on_written is not None:
            self._on_written()

    # --- What is told --------------------------------------------------------------------

    def _recovered(self, written: int) -> None:
        if not (self._lost and written):
            return
        lost, self._lost = self._lost, 0
        path = self._journal.name
        _log.warning("journal %s: works again; entries that are lost: %d", path, lost)
        if self._emit:
            self._emit(events.JournalRecovered(at=self._loop.time(), path=path, lost=lost))

    def _tell_failure(self, error: JournalError, lost: int) -> None:
        if not self._lost:
            # Once, until it works again: a full disk fails every batch.
            _log.warning("%s", error)
        self._lost += max(lost, 1)
        if self._emit:
            self._emit(
                events.JournalFailed(
                    at=self._loop.time(),
                    path=self._journal.name,
                    error=type(error).__name__,
                    message=str(error),
                    lost=lost,
                )
            )

    def _report_interrupted(self, count: int) -> None:
        path = self._journal.name
        _log.warning(
            "journal %s: an earlier run ended while it sent %d statements; they may or may not"
            " run, and are not sent again",
            path,
            count,
        )
        if self._emit:
            self._emit(events.SubmissionsInterrupted(at=self._loop.time(), path=path, count=count))


def _resolve(
    future: asyncio.Future[None],
    outcome: Result | JournalError | None,
    now: float,  # noqa: ARG001 - a `Then`
) -> None:
    if future.done():
        return
    if isinstance(outcome, JournalError):
        future.set_exception(copy.copy(outcome))
    else:
        future.set_result(None)


def _retrieve(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()
