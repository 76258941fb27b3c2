"""
What is written down of runs, so that a crash loses none and sends no statement twice.

planned → on disk → sent → run ID on disk → outcome on disk → told → acknowledged
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeAlias

from onehouse_tracker.errors import JournalError
from onehouse_tracker.journal import JournalRun, RunEntry
from onehouse_tracker.journal._runs import sha256_of

if TYPE_CHECKING:
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.writer import Then
    from onehouse_tracker.run_results import RunResult
    from onehouse_tracker.runs._followed import Followed

__all__ = ["RunJournal", "Take", "batch_hash"]

Take: TypeAlias = Callable[[Sequence[JournalRun] | JournalError], None]
"""Gets what was read, or the error because of which nothing was."""


def batch_hash(statements: Iterable[str]) -> str:
    """What tells one call from calls with other statements: 64 hexadecimal digits."""
    whole = hashlib.sha256()
    for statement in statements:
        whole.update(sha256_of(statement).encode())
    return whole.hexdigest()


class RunJournal:
    """
    The journal of a tracker, as its runs need it.

    Args:
        queue: Writes and reads; its journal keeps runs.

        wall_clock: Tells the date.
    """

    def __init__(self, queue: JournalQueue, wall_clock: Callable[[], datetime]) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._wall_clock = wall_clock

    @classmethod
    def of(cls, queue: JournalQueue | None, wall_clock: Callable[[], datetime]) -> Self | None:
        """The journal behind *queue*, if there is one and it keeps runs."""
        return cls(queue, wall_clock) if queue is not None and queue.keeps_runs else None

    async def plan(self, planned: Iterable[Followed]) -> None:
        """
        Write statements down before the first of them is sent.

        Raises:
            JournalError: They are not on disk; nothing may be sent.
        """
        entries = [self._entry(followed) for followed in planned]
        if entries:
            for entry in entries[:-1]:
                self._queue.put_run(entry)
            await self._queue.promised_run(entries[-1])

    def note(self, followed: Followed) -> None:
        """Write down what is known of it now; nobody waits for that."""
        self._queue.put_run(self._entry(followed))

    def record(self, followed: Followed, result: RunResult, then: Then) -> None:
        """Write its outcome down; *then* it may be told."""
        self._queue.put_run(self._entry(followed, result), then)
        if followed.request_id is not None and result.outcome.final:
            self.took_over(followed)

    def took_over(self, followed: Followed) -> None:
        """What its request said is on disk as a run: nobody needs the request again."""
        if followed.request_id is not None:
            self._queue.acknowledge((followed.request_id,))

    def acknowledge(self, keys: Iterable[str]) -> asyncio.Future[None]:
        """
        Write down that these results have arrived; what comes back need not be awaited.

        Raises:
            TrackerClosedError: The journal is closed, and some were not acknowledged.
        """
        return self._queue.acknowledge_runs(keys)

    def told(self, keys: Iterable[str]) -> None:
        """These results were handed out, and count as acknowledged when all ends well."""
        self._queue.told_runs(keys)

    def read_open(self, after: int, take: Take) -> None:
        """Pass open runs to *take*, behind number *after*; fewer than `CHUNK` are the last."""
        self._queue.read_open_runs(after, take)

    async def read_batch(self, batch: str) -> Sequence[JournalRun]:
        """
        The last call of this hash.

        Raises:
            JournalError: It cannot be read.
        """
        return await self._queue.read_batch_of_runs(batch)

    @property
    def chunk(self) -> int:
        """Runs that are read at a time."""
        return self._queue.CHUNK

    def _entry(self, followed: Followed, result: RunResult | None = None) -> RunEntry:
        run = followed.run
        wall = self._wall_clock()
        started_at = None
        if run is not None and run.is_age_known:
            started_at = wall - timedelta(seconds=max(0.0, self._loop.time() - run.born))
        return RunEntry(
            key=followed.key,
            statement_key=followed.statement_key,
            batch=followed.batch,
            position=followed.position,
            kind=None if followed.kind is None else followed.kind.name,
            job=followed.job,
            label=followed.label,
            statement=followed.statement,
            run_id=None if run is None else run.run_id,
            started_at=started_at,
            status=None if result is None else result.status,
            outcome=None if result is None else result.outcome,
            reason=None if result is None else result.reason or None,
            at=wall,
        )
