"""
Everything that is followed for one tracker, and who waits for it.

It starts the tasks that send statements; the checks are the engine's.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from onehouse_tracker._engine.open_tracker.inside import context_inside
from onehouse_tracker._engine.open_tracker.validation import CLOCKS_DIFFER
from onehouse_tracker.errors import (
    InvalidRequestError,
    JournalError,
    TrackerClosedError,
    TrackerError,
)
from onehouse_tracker.models import Result
from onehouse_tracker.run_results import JobRun, RunOutcome, RunResult
from onehouse_tracker.runs._chances import Chances
from onehouse_tracker.runs._checks import Checks
from onehouse_tracker.runs._followed import Followed, RunWait, new_key
from onehouse_tracker.runs._forecasts import RunForecasts
from onehouse_tracker.runs._journal import RunJournal
from onehouse_tracker.runs._judge import Judge
from onehouse_tracker.runs._kinds import Kinds
from onehouse_tracker.runs._plan import Plan
from onehouse_tracker.runs._restored import take_known, what_happened
from onehouse_tracker.runs._run import Ended, Run
from onehouse_tracker.runs._run_log import RunLog
from onehouse_tracker.runs._starting import Starter, what_started

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker.journal import JournalRun
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.protocols import StatusSource

__all__ = ["Book"]

_FIRST_CHECK = 2.0
"""Seconds after the start of a run at which it is checked first: it lasts minutes."""


class Book:
    """
    What is followed, from statement to end.

    Args:
        session: The tracker, which is open.

        source: What statements are sent to.

        policy: Gaps, backoff and patience.

        wall_clock: Tells the date.

        seed: Makes the jitter reproducible.
    """

    def __init__(
        self,
        session: Session,
        source: StatusSource,
        policy: PollPolicy,
        *,
        wall_clock: Callable[[], datetime],
        seed: int | None,
    ) -> None:
        self._engine = engine = session.opened()
        self._loop = asyncio.get_running_loop()
        self.slots = engine.slots
        self._log = RunLog(session.emit, self._loop)
        self._session = session
        self._wall_clock = wall_clock
        self.kinds = Kinds()
        learning = session.learning
        chances = Chances(None if learning is None else learning.laws_of_jobs())
        self._plan = Plan(policy.gap, chances)
        self.judge = Judge(
            self._plan,
            chances,
            policy,
            ended=self._ended,
            overdue=lambda run, usual: self._log.overdue(self._running[run], run, usual),
            wall_clock=wall_clock,
            random=random.Random(seed).random,
        )
        self._starter = Starter(session, source, policy)
        self._checks = Checks(
            session,
            engine,
            source,
            self._plan,
            self.judge,
            timeout=policy.poll_timeout,
            failed=self._failed,
        )
        self.journal = RunJournal.of(session.journal_queue, wall_clock)
        """Where runs are written down, if anywhere."""
        self._running: dict[Run, Followed] = {}
        self._starting: dict[Followed, None] = {}
        self._writing: dict[Followed, None] = {}
        self._by_key: WeakValueDictionary[str, Followed] = WeakValueDictionary()
        self.forecasts = RunForecasts(
            self._running, self._starting, self._plan, self.kinds, chances, engine.forecasts
        )

    @property
    def running(self) -> int:
        """How many runs are followed, are being started, or wait for the disk."""
        return len(self._running) + len(self._starting) + len(self._writing)

    @property
    def closed(self) -> bool:
        """Whether nothing can be followed any more."""
        return self._engine.closed_by is not None

    # --- What is followed ------------------------------------------------------------------

    def statement(
        self,
        statement: str,
        label: str | None,
        *,
        allow_unfollowed: bool = False,
        key: str | None = None,
    ) -> Followed:
        """
        A statement that is to be sent, which nobody waits for yet; *key* is that in the journal.

        Raises:
            InvalidRequestError: It starts something that could not be followed.
        """
        kind, job = self.kinds.started_by(statement)
        followed = Followed(
            at=self._loop.time(),
            label=label,
            statement=statement,
            kind=kind,
            job=job,
            allow_unfollowed=allow_unfollowed,
            key=key,
        )
        self._by_key[followed.key] = followed
        return followed

    def run(self, job_run: JobRun) -> Followed:
        """
        Follow a run; what is followed already is shared.

        Raises:
            InvalidRequestError: Nobody knows such a kind of work.
        """
        kind = self.kinds.get(job_run.kind)
        if kind is None:
            raise InvalidRequestError(
                f"run {job_run.run_id}: there is no kind of work {job_run.kind!r}"
            )
        if run := self._plan.find(kind.name, job_run.job, job_run.run_id):
            return self._running[run]
        now, since = self._loop.time(), job_run.started_at
        age = -math.inf if since is None else (self._wall_clock() - since).total_seconds()
        key = f"{kind.name}/{job_run.job}/{job_run.run_id}"
        followed = Followed(at=now, label=job_run.label, kind=kind, job=job_run.job, key=key)
        born = now - max(0.0, age)  # in the future it is by another clock than ours
        run = Run(kind, job_run.job, job_run.run_id, born=born, is_age_known=age >= -CLOCKS_DIFFER)
        self._follow(followed, run, first=0.0)
        return followed

    def _follow(self, followed: Followed, run: Run, *, first: float) -> None:
        self._running[run] = followed
        followed.run = run
        self._plan.add(run, self._loop.time(), first=first)
        self._log.followed(followed, run)
        if self.journal is not None:
            self.journal.note(followed)
        self._checks.wake()

    # --- From the statement to the run -------------------------------------------------------

    async def send(self, followed: Followed) -> None:
        """
        Send its statement; raises what `Tracker.submit` raises.

        Cancelling before the slot comes sends nothing.
        """
        self._starting[followed] = None
        self._may_be_sent(followed)
        try:
            await self._starter.send(followed)
        except BaseException:
            self._starting.pop(followed, None)
            raise

    def _may_be_sent(self, followed: Followed) -> None:
        """From now on it may be sent: in the journal, its statement has a key of its own."""
        followed.statement_key = new_key()
        if self.journal is not None:
            self.journal.note(followed)

    def follow_request(self, followed: Followed) -> None:
        """Its statement is accepted: wait for the end of its request, and then of its run."""
        self._start_task(followed, self._until_started(followed))

    def _start_task(self, followed: Followed, work: Coroutine[Any, Any, None]) -> None:
        followed.task = self._session.start(
            work, "onehouse-tracker run", context_inside(self._session)
        )

    def send_and_follow(self, followed: Followed, sent: Callable[[Followed], None]) -> None:
        """The same from the beginning, with a result in any case; *sent* is called between."""
        self._starting[followed] = None
        self._start_task(followed, self._start(followed, sent))

    def never_sent(self, followed: Followed, why: str) -> None:
        """It is not to be sent any more; it was not sent yet."""
        self._settle(followed, RunOutcome.NOT_STARTED, why, record=False)
        if followed.task is not None:
            followed.task.cancel()

    async def _start(self, followed: Followed, sent: Callable[[Followed], None]) -> None:
        self._may_be_sent(followed)
        try:
            try:
                stopped = await self._starter.attempt(followed)
            finally:
                sent(followed)
        except (TrackerError, asyncio.CancelledError) as error:
            self._give_up(followed, error)
        else:
            if stopped is None:
                await self._until_started(followed)
            else:
                self._settle(followed, *stopped[:2], record=stopped.is_certain)

    def _give_up(self, followed: Followed, error: BaseException) -> None:
        """The project failed, or is closed, before its run was known."""
        if isinstance(error, asyncio.CancelledError):
            self._fail(followed, TrackerClosedError("the tracker was closed; what runs continues"))
            raise error
        self._fail(followed, error)

    async def _until_started(self, followed: Followed, age: float | None = None) -> None:
        try:
            result = await self._starter.result(followed, age=age)
        except (TrackerError, asyncio.CancelledError) as error:
            self._give_up(followed, error)
        else:
            self._started(followed, result, is_age_known=age is None)

    def _started(self, followed: Followed, result: Result, *, is_age_known: bool) -> None:
        started = what_started(followed, result)
        if isinstance(started, tuple):
            self._settle(followed, *started)
            return
        self._starting.pop(followed, None)
        if followed.over or followed.kind is None or followed.job is None:
            return
        if other := self._plan.find(followed.kind.name, followed.job, started):
            self._share(followed, self._running[other])  # somebody waits for it already
            return
        born = self._loop.time()  # long after the start, if that was before a crash
        run = Run(followed.kind, followed.job, started, born=born, is_age_known=is_age_known)
        self._follow(followed, run, first=_FIRST_CHECK)
        if self.journal is not None:
            self.journal.took_over(followed)

    def _share(self, followed: Followed, other: Followed) -> None:
        """Two ways led to one run: those who wait for *followed* wait for *other* too."""
        other.request_id, other.request = followed.request_id, followed.request
        other.statement = followed.statement
        waits, followed.waits = followed.waits, {}
        for wait, position in waits:
            wait.members[position] = other
            other.waits[wait, position] = None

    # --- How it ends ---------------------------------------------------------------------------

    def _ended(self, run: Run, ended: Ended) -> None:
        followed = self._running.pop(run, None)
        if followed is not None:
            self._settle(followed, ended.outcome, ended.error)

    def _settle(
        self, followed: Followed, outcome: RunOutcome, error: str, *, record: bool = True
    ) -> None:
        """Give everyone its outcome, once it is on disk."""
        self._starting.pop(followed, None)
        if followed.over or followed.recorded is not None:
            return
        now = self._loop.time()
        result = followed.make_result(outcome, now=now, wall=self._wall_clock(), error=error)
        if self.journal is None or not record or outcome is RunOutcome.UNREACHABLE:
            self._tell(followed, result)
            return
        followed.recorded = result

        def written(failure: object, _: float) -> None:
            self._writing.pop(followed, None)
            if not isinstance(failure, JournalError):  # else everyone has the error already
                self._tell(followed, result)

        self._writing[followed] = None
        self.journal.record(followed, result, written)

    def _tell(self, followed: Followed, result: RunResult) -> None:
        self._log.ended(result)
        followed.settle(result)

    def _fail(self, followed: Followed, error: BaseException) -> None:
        self._starting.pop(followed, None)
        followed.fail(error)

    def _failed(self, error: BaseException) -> None:
        """The project failed, or is closed: everything is forgotten, and everyone gets it."""
        running, writing = dict(self._running), tuple(self._writing)
        self._running.clear()
        self._writing.clear()
        self._plan.clear()
        for followed in (*running.values(), *writing):
            followed.fail(error)
        for run, followed in running.items():
            self._log.dropped(followed, run)
        # What has no run yet has a waiter of its own in the engine, which learns of it.

    # --- What an earlier run of this program left ----------------------------------------

    def restore(self, row: JournalRun, statement: str | None = None) -> Followed:
        """Follow again what the journal has; *statement* is its text, where that is known."""
        if (other := self._by_key.get(row.key)) is not None:
            return other
        now, kind = self._loop.time(), self.kinds.get(row.kind or "")
        followed = Followed(
            at=now, label=row.label, statement=statement, kind=kind, job=row.job, key=row.key
        )
        self._by_key[row.key] = followed
        if take_known(followed, row, is_kind_known=row.kind is None or kind is not None, now=now):
            return followed
        since = row.started_at or row.added_at
        age = max(0.0, (self._wall_clock() - since).total_seconds())
        if row.run_id is not None and kind is not None:
            is_age_known = row.started_at is not None
            run = Run(kind, row.job or "", row.run_id, born=now - age, is_age_known=is_age_known)
            if other_run := self._plan.find(kind.name, run.job, run.run_id):
                return self._running[other_run]
            self._follow(followed, run, first=0.0)
        elif row.request_id is not None:
            self._starting[followed] = None
            self._start_task(followed, self._until_started(followed, age))
        else:
            self._settle(followed, *what_happened(row))
        return followed

    # --- Who waits -------------------------------------------------------------------------------

    def leave(self, wait: RunWait) -> None:
        """Let a waiter go; what nobody else waits for is not checked any more."""
        for position, followed in tuple(wait.open_members()):
            followed.waits.pop((wait, position), None)
            if not followed.waits:
                self._drop(followed, timed_out=wait.expired)

    def expire(self, wait: RunWait) -> None:
        """Settle what *wait* still waits for with what can be said now."""
        wait.expired = True
        now, wall = self._loop.time(), self._wall_clock()
        waiting = tuple(wait.open_members())
        results = [followed.stopped(now=now, wall=wall) for _, followed in waiting]
        self.leave(wait)
        for (position, _), result in zip(waiting, results, strict=True):
            wait.settle(position, result)

    def _drop(self, followed: Followed, *, timed_out: bool) -> None:
        run = followed.run
        if run is not None:
            if self._running.pop(run, None) is not None:
                self._plan.remove(run, self._loop.time())
                self._checks.wake()
                self._log.dropped(followed, run, timed_out=timed_out)
            return
        self._starting.pop(followed, None)
        if followed.task is not None:
            followed.task.cancel()

    # --- Canceling ---------------------------------------------------------------------------

    async def cancel_run(self, followed: Followed) -> None:
        """Have the server cancel a run, then check it; it raises as `RunHandle.cancel_run`."""
        followed.cancellation = await self._starter.cancel(followed)
        if followed.run in self._running:
            self._plan.hurry(followed.run, self._loop.time())
            self._checks.wake()
