"""
Everything that is followed for one tracker, and who waits for it.

It starts the tasks that send statements; the checks are the engine's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from onehouse_tracker._engine.open_tracker.inside import context_inside
from onehouse_tracker.errors import (
    ConfigError,
    InvalidRequestError,
    TrackerClosedError,
    TrackerError,
)
from onehouse_tracker.models import Outcome, Result
from onehouse_tracker.run_results import JobRun, RunOutcome
from onehouse_tracker.runs._chances import Chances
from onehouse_tracker.runs._checks import Checks
from onehouse_tracker.runs._followed import Followed, RunWait
from onehouse_tracker.runs._judge import Judge
from onehouse_tracker.runs._kinds import JOB_RUNS, WorkKind
from onehouse_tracker.runs._plan import Plan
from onehouse_tracker.runs._run import Ended, Run
from onehouse_tracker.runs._starting import Starter, what_started, why_not_started

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.session import Session
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
        engine = session.opened()
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._engine = engine
        self._wall_clock = wall_clock
        self._kinds = {JOB_RUNS.name: JOB_RUNS}
        chances = Chances()
        self._plan = Plan(policy.gap, chances)
        self.judge = Judge(
            self._plan,
            chances,
            policy,
            ended=self._ended,
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
        self._running: dict[Run, Followed] = {}
        self._starting: dict[Followed, None] = {}

    @property
    def followed(self) -> int:
        """How many runs and statements are followed."""
        return len(self._running) + len(self._starting)

    @property
    def closed(self) -> bool:
        """Whether nothing can be followed any more."""
        return self._engine.closed_by is not None

    def add_kind(self, kind: WorkKind) -> None:
        """Know one more kind of work."""
        if kind.name in self._kinds:
            raise ConfigError(f"there is a kind of work {kind.name!r} already")
        self._kinds[kind.name] = kind

    # --- What is followed ------------------------------------------------------------------

    def read(self, statement: str) -> tuple[WorkKind | None, str | None]:
        """
        What a statement starts: the kind of work and its name; nothing, if it starts none.

        Raises:
            InvalidRequestError: It starts something that could not be followed.
        """
        for kind in self._kinds.values():
            name = kind.starts(statement)
            if name is not None:
                return kind, name
        return None, None

    def statement(
        self, statement: str, label: str | None, *, allow_unfollowed: bool = False
    ) -> Followed:
        """
        A statement that is to be sent, which nobody waits for yet.

        Raises:
            InvalidRequestError: It starts something that could not be followed.
        """
        kind, job = self.read(statement)
        followed = Followed(
            at=self._loop.time(),
            label=label,
            statement=statement,
            kind=kind,
            job=job,
            allow_unfollowed=allow_unfollowed,
        )
        self._starting[followed] = None
        return followed

    def run(self, job_run: JobRun) -> Followed:
        """
        Follow a run; what is followed already is shared.

        Raises:
            InvalidRequestError: Nobody knows such a kind of work.
        """
        kind = self._kinds.get(job_run.kind)
        if kind is None:
            raise InvalidRequestError(
                f"run {job_run.run_id}: there is no kind of work {job_run.kind!r}"
            )
        run = self._plan.find(kind.name, job_run.job, job_run.run_id)
        if run is not None:
            return self._running[run]
        now = self._loop.time()
        followed = Followed(at=now, label=job_run.label, kind=kind, job=job_run.job)
        self._follow(followed, Run(kind, job_run.job, job_run.run_id, born=now), first=0.0)
        return followed

    def _follow(self, followed: Followed, run: Run, *, first: float) -> None:
        self._running[run] = followed
        followed.run = run
        self._plan.add(run, self._loop.time(), first=first)
        self._checks.wake()

    # --- From the statement to the run -------------------------------------------------------

    async def send(self, followed: Followed) -> None:
        """
        Send its statement; raises what `Tracker.submit` raises.

        Cancelling before the slot comes sends nothing.
        """
        try:
            await self._starter.send(followed)
        except BaseException:
            self._starting.pop(followed, None)
            raise

    def follow_request(self, followed: Followed) -> None:
        """Its statement is accepted: wait for the end of its request, and then of its run."""
        followed.task = self._session.start(
            self._until_started(followed), "onehouse-tracker run", context_inside(self._session)
        )

    def send_and_follow(self, followed: Followed, sent: Callable[[Followed], None]) -> None:
        """The same from the beginning, with a result in any case; *sent* is called between."""
        followed.task = self._session.start(
            self._start(followed, sent), "onehouse-tracker run", context_inside(self._session)
        )

    def never_sent(self, followed: Followed, why: str) -> None:
        """It is not to be sent any more; it was not sent yet."""
        self._settle(followed, RunOutcome.NOT_STARTED, why)
        if followed.task is not None:
            followed.task.cancel()

    async def _start(self, followed: Followed, sent: Callable[[Followed], None]) -> None:
        try:
            try:
                await self._starter.send(followed)
            finally:
                sent(followed)
        except TrackerError as error:
            known = why_not_started(error)
            if known is None:
                self._fail(followed, error)
            else:
                self._settle(followed, *known)
            return
        except asyncio.CancelledError:
            self._fail(followed, TrackerClosedError("the tracker was closed"))
            raise
        except Exception as error:  # noqa: BLE001 - of the source: nobody knows what it did
            outcome = RunOutcome.START_UNKNOWN if followed.was_sent else RunOutcome.NOT_STARTED
            self._settle(followed, outcome, f"{type(error).__name__}: {error}")
            return
        await self._until_started(followed)

    async def _until_started(self, followed: Followed) -> None:
        try:
            result = await self._starter.result(followed)
        except TrackerError as error:
            self._fail(followed, error)
            return
        except asyncio.CancelledError:
            self._fail(followed, TrackerClosedError("the tracker was closed; the requests go on"))
            raise
        self._started(followed, result)

    def _started(self, followed: Followed, result: Result) -> None:
        started = what_started(followed, result)
        if isinstance(started, tuple):
            self._settle(followed, *started)
            return
        self._starting.pop(followed, None)
        if followed.over or followed.kind is None or followed.job is None:
            return
        other = self._plan.find(followed.kind.name, followed.job, started)
        if other is not None:  # somebody waits for it already
            self._share(followed, self._running[other])
            return
        born = self._loop.time()
        self._follow(
            followed, Run(followed.kind, followed.job, started, born=born), first=_FIRST_CHECK
        )

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

    def _settle(self, followed: Followed, outcome: RunOutcome, error: str) -> None:
        self._starting.pop(followed, None)
        wall = self._wall_clock()
        followed.settle(
            followed.make_result(outcome, now=self._loop.time(), wall=wall, error=error)
        )

    def _fail(self, followed: Followed, error: BaseException) -> None:
        self._starting.pop(followed, None)
        followed.fail(error)

    def _failed(self, error: BaseException) -> None:
        """The project failed, or is closed: everything is forgotten, and everyone gets it."""
        everything = [*self._running.values(), *self._starting]
        self._running.clear()
        self._plan.clear()
        for followed in everything:
            if followed.run is not None:
                followed.fail(error)
        # What has no run yet has a waiter of its own in the engine, which learns of it.

    # --- Who waits -------------------------------------------------------------------------------

    def leave(self, wait: RunWait) -> None:
        """Let a waiter go; what nobody else waits for is not checked any more."""
        for position, followed in tuple(wait.open_members()):
            followed.waits.pop((wait, position), None)
            if not followed.waits:
                self._drop(followed)

    def expire(self, wait: RunWait) -> None:
        """Settle what *wait* still waits for with what can be said now."""
        wait.expired = True
        now, wall = self._loop.time(), self._wall_clock()
        for position, followed in tuple(wait.open_members()):
            result = followed.stopped(now=now, wall=wall)
            followed.waits.pop((wait, position), None)
            if not followed.waits:
                self._drop(followed)
            wait.settle(position, result)

    def _drop(self, followed: Followed) -> None:
        if followed.run is not None:
            if self._running.pop(followed.run, None) is not None:
                self._plan.remove(followed.run, self._loop.time())
                self._checks.wake()
            return
        self._starting.pop(followed, None)
        if followed.task is not None:
            followed.task.cancel()

    # --- Canceling ---------------------------------------------------------------------------

    async def cancel_run(self, followed: Followed) -> None:
        """
        Have the server cancel a run, then check it at once.

        Raises what `RunHandle.cancel_run` raises.
        """
        run, kind = followed.run, followed.kind
        if run is None or kind is None:
            raise InvalidRequestError("the run is not known yet, so nothing can be canceled")
        if kind.cancel is None:
            raise InvalidRequestError(f"a {kind.name} cannot be canceled")
        order = Followed(
            at=self._loop.time(),
            label=f"CANCEL {kind.name.upper()}",
            statement=kind.cancel(run.job, run.run_id),
        )
        await self._starter.send(order)
        result = await self._starter.result(order)
        said = result.status or str(result.outcome)
        followed.cancellation = (
            said if result.outcome is Outcome.SUCCEEDED else f"{said}: {result.reason}"
        )
        if run in self._running:
            self._plan.hurry(run, self._loop.time())
            self._checks.wake()
