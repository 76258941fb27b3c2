"""
What must be on disk before what: the rules by which nothing is lost in a crash.

added → on disk → polled → outcome on disk → delivered → acknowledged → that on disk
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeAlias, TypeVar

from onehouse_tracker import events
from onehouse_tracker._engine.delivered import DeliveredFile
from onehouse_tracker._engine.write_ahead import WriteAhead
from onehouse_tracker._engine.writer import Then, Writer
from onehouse_tracker.errors import JournalError, TrackerClosedError
from onehouse_tracker.journal import (
    Accepted,
    Acknowledged,
    Added,
    Fate,
    Intended,
    Journal,
    Journalled,
    JournalRun,
    ResultEntry,
    RunEntry,
    RunsAcknowledged,
    RunsJournal,
    Settled,
)
from onehouse_tracker.models import Request, Result

__all__ = ["JournalQueue", "Take"]

_T = TypeVar("_T")

TakeRuns: TypeAlias = Callable[[Sequence[JournalRun] | JournalError], None]
"""The same for runs."""

Take: TypeAlias = Callable[[Sequence[Journalled] | JournalError], None]
"""Gets what was read, or the error because of which nothing was."""


class JournalQueue:
    """
    The journal, as the engine and those who wait see it.

    Attributes:
        write_ahead: Whose turn it is to write down a statement before its slot comes: what a
            crash leaves of unknown fate is what was on the wire and the next statement, and
            not all that waited.

    Args:
        journal: Where it is kept.

        strict: Whether a failure to write fails everyone who waits.

        emit: Is told of failures.

        wall_clock: Tells the date.

        limit: Slots per second.
    """

    CHUNK = 2_000
    """Requests that are read at a time: taking them in blocks the loop for milliseconds."""

    MOST_DELIVERED = 10_000
    """Delivered results that are remembered in memory; what is more is in a file."""

    def __init__(
        self,
        journal: Journal,
        *,
        strict: bool,
        emit: events.Emitter,
        wall_clock: Callable[[], datetime],
        limit: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._journal = journal
        self._writer = Writer(journal, strict=strict, emit=emit)
        self._wall_clock = wall_clock
        # What users have and did not acknowledge, and whether it is final.
        self._delivered: dict[str, bool] = {}
        self._delivered_file: DeliveredFile | None = None
        self._arrived: dict[str, bool] = {}
        self._told_runs: dict[str, None] = {}
        self._arrived_runs: dict[str, None] = {}
        self._all_arrived = False
        self.write_ahead = WriteAhead(limit)

    @property
    def path(self) -> str:
        """What errors call the journal."""
        return self._journal.name

    async def open(self) -> None:
        """
        Open the journal.  Cancelling closes it again.

        Raises:
            JournalError: It cannot be used, and the journal_queue is strict.
        """
        await self._writer.open()

    def attach(
        self, *, on_failure: Callable[[JournalError], None], on_written: Callable[[], None]
    ) -> None:
        """Say who learns of a failure that is everyone's, and that things went on."""
        self._writer.attach(on_failure=on_failure, on_written=on_written)

    async def aclose(self) -> None:
        """
        Write what has gathered, then close the journal.

        Cancelling ends the waiting, not the writing.  Raises nothing else.
        """
        try:
            await self._writer.aclose()
        finally:
            self._close_file()

    def abandon(self) -> None:
        """Write what has gathered, and close the journal, while nobody waits for that."""
        self._writer.abandon()
        self._close_file()

    def _close_file(self) -> None:
        file, self._delivered_file = self._delivered_file, None
        if file is not None:
            file.close()

    # --- Requests ------------------------------------------------------------------------

    def add(
        self, request_id: str, label: str | None, submitted_at: datetime | None, then: Then
    ) -> None:
        """Write down that a request is tracked; *then* it may be polled."""
        if self._delivered.get(request_id) is False:
            del self._delivered[request_id]  # it is polled again: that result is not its last
        request = Request(request_id, label=label, submitted_at=submitted_at)
        self._writer.put(Added(request, self._wall_clock()), then)

    def record(self, result: Result, then: Then) -> None:
        """Write an outcome down; *then* it may be told."""
        self._writer.put(ResultEntry(result, self._wall_clock()), then)

    def read_last_number(self, take: Callable[[int | JournalError], None]) -> None:
        """Pass the number of the last request that was added before this call to *take*."""
        self._writer.read(self._journal.last_number, take)

    def read_unacknowledged(self, after: int, take: Take) -> None:
        """Pass `CHUNK` results at most to *take*, behind number *after*; fewer are the last."""
        self._writer.read(partial(self._journal.unacknowledged, after, self.CHUNK), take)

    def read_pending(self, after: int, take: Take) -> None:
        """Pass `CHUNK` pending requests at most to *take*; fewer are the last."""
        self._writer.read(partial(self._journal.pending, after, self.CHUNK), take)

    # --- Deliveries ----------------------------------------------------------------------

    def delivered(self, results: Iterable[Result]) -> None:
        """Users have these from now on; they count as acknowledged if the tracker closes well."""
        for result in results:
            if result.outcome.finished:
                self._delivered[result.request_id] = result.outcome.final
        if len(self._delivered) > self.MOST_DELIVERED and not self._writer.closed:
            final = [request_id for request_id, is_final in self._delivered.items() if is_final]
            for request_id in final:
                del self._delivered[request_id]
            if self._delivered_file is None:
                self._delivered_file = DeliveredFile()
            self._writer.read(partial(self._delivered_file.add, final), _ignore)

    def acknowledge(self, request_ids: Iterable[str]) -> asyncio.Future[None]:
        """
        Write down that these results have arrived.

        Takes effect without being awaited; what comes back is done when it is on disk.

        Raises:
            TrackerClosedError: The journal is closed, and some were not acknowledged.
        """
        ids = tuple(request_ids)
        if self._writer.closed:
            return _arrived_before(ids, None if self._all_arrived else self._arrived)
        for request_id in ids:
            self._delivered.pop(request_id, None)
        if self._delivered_file is not None:
            self._writer.read(partial(self._delivered_file.discard, ids), _ignore)
        return self._writer.promised(Acknowledged(ids, self._wall_clock()))

    async def acknowledge_delivered(self) -> None:
        """
        All ended well: every result that was delivered has arrived.

        Raises:
            JournalError: It is not on disk, so it will be delivered again.
        """
        self._arrived_runs, self._told_runs = self._told_runs, {}
        if self._arrived_runs:
            self.put_run(RunsAcknowledged(tuple(self._arrived_runs), self._wall_clock()))
        self._arrived, self._delivered = self._delivered, {}
        if self._arrived:
            await self.acknowledge(self._arrived)
        while more := await self._take_from_file():
            await self._writer.promised(Acknowledged(more, self._wall_clock()))
            self._all_arrived = True

    async def _take_from_file(self) -> tuple[str, ...]:
        if self._delivered_file is None:
            return ()
        taken: asyncio.Future[tuple[str, ...] | JournalError]
        taken = asyncio.get_running_loop().create_future()
        read = partial(self._delivered_file.take, self.MOST_DELIVERED)
        self._writer.read(read, partial(_settle, taken))
        match await taken:
            case tuple() as ids:
                return ids
            case error:
                raise error

    # --- Runs ------------------------------------------------------------------------------

    @property
    def keeps_runs(self) -> bool:
        """Whether the journal also keeps runs."""
        return isinstance(self._journal, RunsJournal)

    def put_run(self, entry: RunEntry | RunsAcknowledged, then: Then | None = None) -> None:
        """Write down what is known of a run; *then* it may be used."""
        self._writer.put(entry, then)

    async def promised_run(self, entry: RunEntry) -> None:
        """
        Write down what is known of a run, and wait until it is on disk.

        Raises:
            JournalError: It is not on disk.

            TrackerClosedError: The journal is closed.
        """
        self._check_open()
        await self._writer.promised(entry)

    def told_runs(self, keys: Iterable[str]) -> None:
        """The results of these runs were handed out: they have arrived when all ends well."""
        self._told_runs.update(dict.fromkeys(keys))

    def acknowledge_runs(self, keys: Iterable[str]) -> asyncio.Future[None]:
        """What `acknowledge` does, of runs by their keys."""
        arrived = tuple(keys)
        if self._writer.closed:
            return _arrived_before(arrived, self._arrived_runs)
        for key in arrived:
            self._told_runs.pop(key, None)
        return self._writer.promised(RunsAcknowledged(arrived, self._wall_clock()))

    def read_open_runs(self, after: int, take: TakeRuns) -> None:
        """Pass `CHUNK` open runs at most to *take*, behind number *after*; fewer are the last."""
        if isinstance(self._journal, RunsJournal):
            self._writer.read(partial(self._journal.open_runs, after, self.CHUNK), take)

    async def read_batch_of_runs(self, batch: str) -> Sequence[JournalRun]:
        """
        The statements and runs of the last call of this hash, by position.

        Raises:
            JournalError: It cannot be read.
        """
        found: asyncio.Future[Sequence[JournalRun]] = asyncio.get_running_loop().create_future()

        def take(rows: Sequence[JournalRun] | JournalError) -> None:
            if found.done():
                return
            if isinstance(rows, JournalError):
                found.set_exception(rows)
            else:
                found.set_result(rows)

        if isinstance(self._journal, RunsJournal):
            self._writer.read(partial(self._journal.batch_of_runs, batch), take)
        else:
            take(())
        return await found

    # --- Statements ----------------------------------------------------------------------

    @staticmethod
    def new_key() -> str:
        """Tells one attempt to submit from every other one."""
        return uuid.uuid4().hex

    async def intend(self, key: str, statement: str, label: str | None) -> None:
        """
        Write down that a statement is about to be sent, for the first time or again.

        Cancelling ends the waiting, not the writing: settle it.

        Raises:
            JournalError: It is not on disk; nothing may be sent.

            TrackerClosedError: The journal is closed.
        """
        self._check_open()
        began_at = self._loop.time()
        await self._writer.promised(Intended(key, statement, label, self._wall_clock()))
        self.write_ahead.took(self._loop.time() - began_at)

    async def accept(self, key: str, request_id: str, label: str | None) -> None:
        """
        Write down which request a statement became.

        Cancelling ends the waiting, not the writing.

        Raises:
            JournalError: It is not on disk.

            TrackerClosedError: The journal is closed.
        """
        self._check_open()
        now = self._wall_clock()
        request = Request(request_id, label=label, submitted_at=now)
        await self._writer.promised(Accepted(key, request, now))

    def settle(self, key: str, fate: Fate, reason: str) -> None:
        """Write down that a statement was not accepted; nobody waits for that."""
        self._writer.put(Settled(key, fate, reason, self._wall_clock()), None)

    def _check_open(self) -> None:
        if self._writer.closed:
            raise TrackerClosedError("the tracker was closed")


def _settle(future: asyncio.Future[_T], value: _T) -> None:
    if not future.done():  # cancelling ends the waiting
        future.set_result(value)


def _ignore(_: object) -> None:
    """Nothing follows: an ID that could not be noted is delivered again after the next start."""


def _arrived_before(ids: Iterable[str], arrived: Container[str] | None) -> asyncio.Future[None]:
    """What acknowledging brings after closing: nothing new can arrive; `None` is everything."""
    if arrived is not None and not all(each in arrived for each in ids):
        raise TrackerClosedError(
            "the tracker was closed before the results were acknowledged;"
            " resume() delivers them again"
        )
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
