"""
Sees to it that things are on disk before anyone acts on them, many at a time.

It stands between the event loop and the journal: what is to be written in one turn of the
loop, or while the writer is busy, is written together, and costs one wait for the disk.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from onehouse_tracker import events
from onehouse_tracker.errors import JournalError, JournalWriteError, TrackerClosedError
from onehouse_tracker.journal import (
    Accepted,
    Acknowledged,
    Added,
    Entry,
    Intended,
    Journal,
    Journalled,
    Recorded,
    Settled,
)
from onehouse_tracker.journal._protocol import Fate
from onehouse_tracker.models import Request, Result

__all__ = ["Recorder"]

_log = logging.getLogger(__name__)

_BATCH = 10_000
"""Entries per commit, at most: the first of a million need not wait for the last."""

_CHUNK = 2_000
"""Requests that are read at a time: taking them in blocks the loop for some milliseconds."""

Then: TypeAlias = Callable[[Result | JournalError | None, float], None]
"""Told that an entry is on disk: with the result that was there already, with nothing, or
with the error because of which it is not; and with the time."""

Take: TypeAlias = Callable[[Sequence[Journalled] | JournalError], None]
"""Gets what was read, or the error because of which nothing was."""


class Recorder:
    """
    The journal, as the event loop sees it.

    One job at a time is in the writer's hands: it writes everything that has gathered, in
    order, then it reads at most once.  What follows from a job happens on the loop before
    the next job begins, so that whoever reads sees neither too little nor too much.

    Args:
        journal: Where it is kept.

        strict: Whether a failure to write fails everyone who waits; otherwise tracking goes
            on, and what could not be written is missing in the journal.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        strict: bool,
        emit: events.Emitter,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._journal = journal
        self._strict = strict
        self._emit = emit
        self._wall_clock = wall_clock
        self._executor: Executor | None = journal.executor
        self._own_executor: ThreadPoolExecutor | None = None
        self._queue: deque[tuple[Entry, Then | None]] = deque()
        self._reads: deque[tuple[Callable[[], Sequence[Journalled]], Take]] = deque()
        self._busy = False
        self._scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self._unusable: JournalError | None = None
        self._closed = False
        self._lost = 0
        self._told: dict[str, None] = {}
        self._arrived: dict[str, None] = {}
        self._on_failure: Callable[[JournalError], None] | None = None
        self._on_written: Callable[[], None] | None = None
        self.sending = asyncio.Lock()
        """Held from the intent to submit a statement until its slot: what a crash leaves of
        unknown fate is then what was on the wire, and not all that waited."""

    # --- Life cycle --------------------------------------------------------------------

    async def open(self) -> None:
        """
        Open the journal.  Cancelling closes it again.

        Raises:
            JournalError: It cannot be used, and the recorder is strict.
        """
        if self._executor is None:
            self._executor = self._own_executor = ThreadPoolExecutor(
                max_workers=1, thread_name_prefix="onehouse-tracker journal"
            )
        opening = self._loop.run_in_executor(self._executor, self._journal.open)
        try:
            forsaken = await opening
        except JournalError as error:
            if self._strict:
                self._release()
                raise
            self._unusable = error
            self._tell_failure(error, 0)
        except BaseException:
            self._executor.submit(self._journal.close)
            self._release()
            raise
        else:
            if forsaken:
                self._tell_forsaken(forsaken)

    def attach(
        self, *, on_failure: Callable[[JournalError], None], on_written: Callable[[], None]
    ) -> None:
        """Say whom to tell of a failure, and of every batch that is on disk."""
        self._on_failure = on_failure
        self._on_written = on_written

    async def aclose(self) -> None:
        """
        Write what has gathered, then close the journal.

        A second cancellation ends the waiting, not the writing.  Raises nothing.
        """
        if self._closed:
            return
        self._closed = True
        executor = self._executor
        try:
            while self._unusable is None and (self._busy or self._queue):
                self._start_job()
                if self._busy:
                    self._idle = self._loop.create_future()
                    await self._idle
            if executor is not None:
                await self._loop.run_in_executor(executor, self._journal.close)
        except asyncio.CancelledError:
            if executor is not None:
                entries = [entry for entry, _ in self._queue]
                self._queue.clear()
                executor.submit(self._end_without_us, entries)
            raise
        finally:
            self._release()

    def _end_without_us(self, entries: list[Entry]) -> None:
        try:
            if entries and self._unusable is None:
                self._journal.write(entries)
        finally:
            self._journal.close()

    def _release(self) -> None:
        if self._own_executor is not None:
            self._own_executor.shutdown(wait=False)

    # --- What is written -----------------------------------------------------------------

    def add(
        self, request_id: str, label: str | None, submitted_at: datetime | None, then: Then
    ) -> None:
        """Write down that a request is followed; *then* it may be asked about."""
        request = Request(request_id, label=label, submitted_at=submitted_at)
        self._put(Added(request, self._wall_clock()), then)

    def record(self, result: Result, then: Then) -> None:
        """Write an outcome down; *then* it may be told."""
        self._put(Recorded(result, self._wall_clock()), then)

    def told(self, results: Iterable[Result]) -> None:
        """These were handed out, and count as acknowledged when all ends well."""
        for result in results:
            if result.outcome.finished:
                self._told[result.request_id] = None

    def acknowledge(self, request_ids: Iterable[str]) -> asyncio.Future[None]:
        """
        Write down that these results have arrived.

        Takes effect without being awaited; what comes back is done when it is on disk.

        Raises:
            TrackerClosedError: The journal is closed, and some were not acknowledged.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        ids = tuple(request_ids)
        if self._closed:
            if not all(request_id in self._arrived for request_id in ids):
                raise TrackerClosedError(
                    "the tracker was closed before the results were acknowledged;"
                    " resume() delivers them again"
                )
            future.set_result(None)
            return future
        for request_id in ids:
            self._told.pop(request_id, None)
        # Nobody need await it: an error is told to all waiters, and logged, in any case.
        future.add_done_callback(_retrieve)
        self._put(Acknowledged(ids, self._wall_clock()), partial(_resolve, future))
        return future

    async def acknowledge_told(self) -> None:
        """
        All ended well: whatever was handed out has arrived.

        Raises:
            JournalError: It is not on disk, so it will be delivered again.
        """
        self._arrived, self._told = self._told, {}
        if self._arrived:
            await self.acknowledge(self._arrived)

    @staticmethod
    def new_key() -> str:
        """Tells one attempt to submit from every other one."""
        return uuid.uuid4().hex

    async def intend(self, key: str, statement: str, label: str | None) -> None:
        """
        Write down that a statement is about to be sent.

        Cancelling ends the waiting, not the writing: settle it.

        Raises:
            JournalError: It is not on disk; nothing may be sent.
        """
        await self._written(Intended(key, statement, label, self._wall_clock()))

    async def accept(self, key: str, request_id: str, label: str | None) -> None:
        """
        Write down which request a statement became.

        Cancelling ends the waiting, not the writing.

        Raises:
            JournalError: It is not on disk.
        """
        now = self._wall_clock()
        await self._written(Accepted(key, Request(request_id, label=label, submitted_at=now), now))

    def settle(self, key: str, fate: Fate, reason: str) -> None:
        """Write down that a statement was not accepted; nobody waits for that."""
        self._put(Settled(key, fate, reason, self._wall_clock()), None)

    # --- What is read --------------------------------------------------------------------

    def read_unacknowledged(self, after: int, take: Take) -> None:
        """Pass `CHUNK` results at most to *take*, behind number *after*; fewer are the last."""
        self._read(partial(self._journal.unacknowledged, after, self.CHUNK), take)

    def read_pending(self, after: int, take: Take) -> None:
        """Pass `CHUNK` pending requests at most to *take*; fewer are the last."""
        self._read(partial(self._journal.pending, after, self.CHUNK), take)

    CHUNK = _CHUNK

    # --- How it is done ------------------------------------------------------------------

    def _put(self, entry: Entry, then: Then | None) -> None:
        if self._closed:
            return
        self._queue.append((entry, then))
        self._soon()

    async def _written(self, entry: Entry) -> None:
        if self._closed:
            raise TrackerClosedError("the tracker was closed")
        future: asyncio.Future[None] = self._loop.create_future()
        self._put(entry, partial(_resolve, future))
        await future

    def _read(self, read: Callable[[], Sequence[Journalled]], take: Take) -> None:
        if self._unusable is not None:
            take(copy.copy(self._unusable))
            return
        self._reads.append((read, take))
        self._soon()

    def _soon(self) -> None:
        # Not at once: what else this turn of the loop brings goes into the same commit.
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start_job)

    def _start_job(self) -> None:
        self._scheduled = False
        if self._busy or not (self._queue or (self._reads and not self._closed)):
            return
        if self._unusable is not None:
            self._skip()
            return
        executor = self._executor
        if executor is None:  # pragma: no cover - `open` comes first
            return
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
        read, take = self._reads.popleft() if self._reads else (None, None)
        job = self._loop.run_in_executor(
            executor, _do, self._journal, [entry for entry, _ in batch], read
        )
        self._busy = True
        job.add_done_callback(partial(self._job_done, batch, take))

    def _skip(self) -> None:
        """The journal could not be opened, and the user wants to go on without it."""
        batch = list(self._queue)
        self._queue.clear()
        self._lost += len(batch)
        now = self._loop.time()
        for _, then in batch:
            if then is not None:
                then(None, now)
        self._progress()

    def _job_done(
        self,
        batch: list[tuple[Entry, Then | None]],
        take: Take | None,
        job: asyncio.Future[_Done],
    ) -> None:
        self._busy = False
        if job.cancelled():
            self._end_waiting()
            return
        found, failure, read = job.result()
        try:
            if failure is None:
                self._written_down(batch, found)
            else:
                self._failed(failure, batch)
            if take is not None and read is not None:
                take(read)
            self._progress()
        finally:
            self._start_job()
            if not self._busy:
                self._end_waiting()

    def _written_down(
        self, batch: list[tuple[Entry, Then | None]], found: dict[str, Result]
    ) -> None:
        self._recovered(len(batch))
        now = self._loop.time()
        for entry, then in batch:
            if then is not None:
                # Only what was added can have been answered long ago.
                known = None
                if found and isinstance(entry, Added):
                    known = found.get(entry.request.request_id)
                then(known, now)

    def _end_waiting(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)

    def _failed(self, error: JournalError, batch: list[tuple[Entry, Then | None]]) -> None:
        self._tell_failure(error, len(batch))
        if self._strict and self._on_failure is not None:
            self._on_failure(error)
        now = self._loop.time()
        for _, then in batch:
            if then is not None:
                then(error if self._strict else None, now)

    def _recovered(self, written: int) -> None:
        lost, self._lost = (self._lost, 0) if written else (0, self._lost)
        if lost:
            _log.warning("journal %s: works again; %d entries are lost", self._journal.name, lost)
            if self._emit:
                self._emit(
                    events.JournalRecovered(
                        at=self._loop.time(), path=self._journal.name, lost=lost
                    )
                )

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

    def _tell_forsaken(self, count: int) -> None:
        _log.warning(
            "journal %s: an earlier run ended while it sent %d statements; they may or may not"
            " run, and are not sent again",
            self._journal.name,
            count,
        )
        if self._emit:
            self._emit(
                events.StatementsUnaccountedFor(
                    at=self._loop.time(), path=self._journal.name, count=count
                )
            )

    def _progress(self) -> None:
        if self._on_written is not None:
            self._on_written()


_Done: TypeAlias = (
    "tuple[dict[str, Result], JournalError | None, Sequence[Journalled] | JournalError | None]"
)


def _do(
    journal: Journal, entries: list[Entry], read: Callable[[], Sequence[Journalled]] | None
) -> _Done:
    """Write, then read: this runs in the writer's thread."""
    found: dict[str, Result] = {}
    failure: JournalError | None = None
    got: Sequence[Journalled] | JournalError | None = None
    try:
        if entries:
            found = dict(journal.write(entries))
    except JournalError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - a journal of the user's own may raise anything
        failure = _wrapped(journal, error)
    try:
        if read is not None:
            got = read()
    except JournalError as error:
        got = error
    except Exception as error:  # noqa: BLE001
        got = _wrapped(journal, error)
    return found, failure, got


def _wrapped(journal: Journal, error: Exception) -> JournalError:
    failure = JournalWriteError(
        f"journal {journal.name}: failed with {type(error).__name__}", path=journal.name
    )
    failure.__cause__ = error
    return failure


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


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
