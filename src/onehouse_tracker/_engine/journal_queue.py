"""
What must be on disk before what: the rules by which nothing is lost in a crash.

added → on disk → polled → outcome on disk → told → acknowledged → that on disk
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeAlias

from onehouse_tracker import events
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
    ResultEntry,
    Settled,
)
from onehouse_tracker.models import Request, Result

__all__ = ["JournalQueue", "Take"]

Take: TypeAlias = Callable[[Sequence[Journalled] | JournalError], None]
"""Gets what was read, or the error because of which nothing was."""


class JournalQueue:
    """
    The journal, as the engine and those who wait see it.

    Attributes:
        sending: Held from the intent to submit a statement until its slot: what a crash
            leaves of unknown fate is then what was on the wire, and not all that waited.

    Args:
        journal: Where it is kept.

        strict: Whether a failure to write fails everyone who waits.

        emit: Is told of failures.

        wall_clock: Tells the date.
    """

    CHUNK = 2_000
    """Requests that are read at a time: taking them in blocks the loop for milliseconds."""

    def __init__(
        self,
        journal: Journal,
        *,
        strict: bool,
        emit: events.Emitter,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._writer = Writer(journal, strict=strict, emit=emit)
        self._wall_clock = wall_clock
        self._told: dict[str, bool] = {}  # whether it is final
        self._arrived: dict[str, bool] = {}
        self.sending = asyncio.Lock()

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
        """Say whom to tell of a failure that is everyone's, and that things went on."""
        self._writer.attach(on_failure=on_failure, on_written=on_written)

    async def aclose(self) -> None:
        """
        Write what has gathered, then close the journal.

        Cancelling ends the waiting, not the writing.  Raises nothing else.
        """
        await self._writer.aclose()

    def abandon(self) -> None:
        """Write what has gathered, and close the journal, while nobody waits for that."""
        self._writer.abandon()

    # --- Requests ------------------------------------------------------------------------

    def add(
        self, request_id: str, label: str | None, submitted_at: datetime | None, then: Then
    ) -> None:
        """Write down that a request is followed; *then* it may be asked about."""
        if self._told.get(request_id) is False:
            del self._told[request_id]  # it is asked anew: what was told is no longer the last
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

    def told(self, results: Iterable[Result]) -> None:
        """These were handed out, and count as acknowledged when all ends well."""
        for result in results:
            if result.outcome.finished:
                self._told[result.request_id] = result.outcome.final

    def acknowledge(self, request_ids: Iterable[str]) -> asyncio.Future[None]:
        """
        Write down that these results have arrived.

        Takes effect without being awaited; what comes back is done when it is on disk.

        Raises:
            TrackerClosedError: The journal is closed, and some were not acknowledged.
        """
        ids = tuple(request_ids)
        if self._writer.closed:
            if not all(request_id in self._arrived for request_id in ids):
                raise TrackerClosedError(
                    "the tracker was closed before the results were acknowledged;"
                    " resume() delivers them again"
                )
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        for request_id in ids:
            self._told.pop(request_id, None)
        return self._writer.promised(Acknowledged(ids, self._wall_clock()))

    async def acknowledge_told(self) -> None:
        """
        All ended well: whatever was handed out has arrived.

        Raises:
            JournalError: It is not on disk, so it will be delivered again.
        """
        self._arrived, self._told = self._told, {}
        if self._arrived:
            await self.acknowledge(self._arrived)

    # --- Statements ----------------------------------------------------------------------

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

            TrackerClosedError: The journal is closed.
        """
        self._check_open()
        await self._writer.promised(Intended(key, statement, label, self._wall_clock()))

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
