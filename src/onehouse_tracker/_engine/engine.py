"""
The polling loop: one dispatcher that spends the budget on whatever deserves it most.

Here, and in the tracker, tasks are started.  What each reply means is `replies`' business.
"""

from __future__ import annotations

import asyncio
import copy
import math
import random
from functools import partial
from typing import TYPE_CHECKING

from onehouse_tracker import events
from onehouse_tracker._engine.demand import Demand
from onehouse_tracker._engine.ending import why_ended
from onehouse_tracker._engine.errands import Errands
from onehouse_tracker._engine.forecasts import Forecasts
from onehouse_tracker._engine.health import Health
from onehouse_tracker._engine.replies import Replies
from onehouse_tracker._engine.roster import Roster
from onehouse_tracker._engine.schedule.schedule import TICK
from onehouse_tracker._engine.schedules import Schedules
from onehouse_tracker._engine.sleeper import Sleeper
from onehouse_tracker._engine.slots import SlotQueue
from onehouse_tracker._engine.source import Answer, Source
from onehouse_tracker._engine.state import ProjectState
from onehouse_tracker._engine.turns import Turns
from onehouse_tracker.errors import ProjectError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from onehouse_tracker._engine.classes import Planner
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.refusals import RefusalRow
    from onehouse_tracker._engine.schedule.laws import Laws
    from onehouse_tracker._engine.tracked import Joining, Tracked
    from onehouse_tracker._engine.waits import Wait
    from onehouse_tracker.errors import ThrottledError, TrackerClosedError, UnauthorizedError
    from onehouse_tracker.limiters import RateLimiter
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.protocols import StatusSource

__all__ = ["Engine"]


class Engine:
    """
    Follows any number of requests with one dispatcher task and one task per poll in flight.

    `run` owns all tasks: no poll outlives it.  Everything that needs a slot waits in the
    dispatcher, and it alone waits on the limiter.
    """

    def __init__(
        self,
        source: StatusSource,
        limiter: RateLimiter,
        policy: PollPolicy,
        *,
        emit: events.Emitter,
        wall_clock: Callable[[], datetime],
        seed: int | None = None,
        journal_queue: JournalQueue | None = None,
        laws: Laws | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = Source(source, policy)
        self._limiter, self._emit = limiter, emit
        self._sleeper = Sleeper()
        self._wake = self._sleeper.wake
        self._schedule = Schedules(policy, limiter.limit, laws)
        self.errands = Errands(self._schedule)
        state = ProjectState(Health(policy.patience))
        self._health = state.health
        self._roster = Roster(
            self._schedule,
            self._health,
            emit=self._emit,
            wall_clock=wall_clock,
            journal_queue=journal_queue,
        )
        self.forecasts = Forecasts(self._roster, laws)
        self.forecasts.offer(emit.observers)
        self.slots = SlotQueue()
        """Who waits for a slot besides the polls; to get one, ask `slot`."""
        draw = random.Random(seed).random
        self._turns = Turns(state, self._schedule, self._roster, random=draw)
        self._replies = Replies(
            state,
            self._schedule,
            self._roster,
            self.slots,
            limiter=limiter,
            policy=policy,
            emit=self._emit,
            random=draw,
        )
        if journal_queue is not None:
            journal_queue.attach(on_failure=self._fail, on_written=self._wake)
        self.closed_by: TrackerClosedError | None = None
        """Why nothing is polled any more; `None` while it is."""
        at_once, connections = policy.polls_at_once(limiter.limit), self._source.max_connections
        self._demand = Demand(self._turns, self.slots, self.errands, at_once, connections)
        self.polls = 0

    # --- What the tracker asks for ---------------------------------------------------

    @property
    def in_flight(self) -> int:
        """How many polls are on the wire."""
        return len(self._demand.in_flight)

    @property
    def pending(self) -> int:
        """How many requests are followed that are reported."""
        return self._roster.reported

    @property
    def submitting(self) -> int:
        """How many statements are on the wire."""
        return self._demand.submitting

    def follows(self, request_id: str) -> bool:
        """Whether a request is followed."""
        return request_id in self._roster

    @property
    def ended(self) -> int:
        """How many requests had their outcome so far."""
        return self._roster.ended

    @property
    def refusals(self) -> int:
        """Replies 429 so far."""
        return self._replies.refusals

    @property
    def outage(self) -> bool:
        """Whether nothing succeeds any more."""
        return self._health.outage

    def open(self, wait: Wait) -> None:
        """Take in a waiter; a failure of the project reaches it from now on."""
        if self.closed_by is None:
            self._roster.open(wait)
        else:
            wait.fail(self.closed_by)

    def watch(self, observer: events.Observer) -> None:
        """Tell *observer* everything from now on, and at first what is followed."""
        self.forecasts.offer([observer])
        self._roster.introduce(observer)
        self._emit.add(observer)

    def join(self, wait: Wait, joining: Joining) -> None:
        """Follow one more request for *wait*, which is open and does not contain it yet."""
        if self.closed_by is None:
            self._roster.join(wait, joining, self._loop.time())
            self._wake()
        else:
            wait.enter(joining.request_id, joining.label)  # what the error names as open

    def leave(self, wait: Wait) -> None:
        """Let a waiter go; what nobody else waits for is not polled any more."""
        self._roster.leave(wait, self._loop.time())
        self._wake()

    def expire(self, wait: Wait) -> None:
        """Settle what *wait* still waits for as `TIMED_OUT`."""
        self._roster.expire(wait, self._loop.time())
        self._wake()

    @property
    def last_failure(self) -> ProjectError | None:
        """The last error that failed every waiter."""
        return self._replies.last_failure

    async def slot(self, *, submission: bool = False, at: float = -math.inf) -> None:
        """
        Wait for one slot of the budget; for a submission, not before the loop time *at*.

        A granted submission counts as in flight until `submitted` is called.  Cancelling
        gives up the place; a slot that was granted already is lost.
        """
        future = self.slots.join(submission=submission, at=at)
        if self.closed_by is not None:
            self.slots.fail_all(self.closed_by)  # or it would wait forever
        self._wake()
        try:
            await future
        except asyncio.CancelledError:
            granted = not future.cancelled() and future.exception() is None
            if submission and granted:
                self.submitted()  # granted and cancelled in the same turn of the loop
            raise
        except ProjectError as error:
            raise copy.copy(error) from error.__cause__
        if (closed_by := self.closed_by) is not None:  # granted and closed in the same turn
            if submission:
                self.submitted()
            raise copy.copy(closed_by) from closed_by.__cause__

    def submitted(self) -> None:
        """A submission that had its slot is over, whatever became of it."""
        self._demand.submitting -= 1
        self._wake()

    def accepted(self, sent_at: float, row: RefusalRow | None = None) -> None:
        """The server answered a submission sent at *sent_at*, after the refusals in *row*."""
        self._limiter.answered(sent_at)
        self._replies.good(sent_at, self._loop.time(), row)
        self._wake()

    def submission_throttled(
        self, row: RefusalRow | None, sent_at: float, error: ThrottledError
    ) -> tuple[RefusalRow, float]:
        """The server refused a submission for its rate: see `Replies.submission_throttled`."""
        return self._replies.submission_throttled(row, sent_at, error, self._loop.time())

    def submission_unauthorized(self, error: UnauthorizedError) -> ProjectError | None:
        """A submission was refused with 401 or 403: the error, if it concerns the project."""
        if self._health.proven:
            return None
        return self._replies.condemn(error, self._loop.time())

    def _fail(self, error: ProjectError) -> None:
        self._replies.fail(error, self._loop.time())

    def close(self, error: TrackerClosedError) -> None:
        """Fail everyone who waits for anything, and who will.  The first error counts."""
        if self.closed_by is not None:
            return
        self.closed_by = error
        self.slots.fail_all(error)
        self._roster.fail(error, self._loop.time())
        self._wake()

    def end(self, error: BaseException) -> None:
        """`run` ends because of *error*: unless it was closed, everyone is told why."""
        if self.closed_by is None:
            self.close(why_ended(error))

    # --- The dispatcher --------------------------------------------------------------

    async def run(self) -> None:
        """
        Poll until cancelled, which is safe at each await: asleep, at the limiter (one slot is
        lost at most), and while polls are in flight (they are cancelled and awaited).

        However it ends, everyone is told at once, and not when the last poll has ended.
        """
        async with asyncio.TaskGroup() as polls:
            try:
                while self.closed_by is None:
                    await self._until_slot_wanted()
                    await self._acquire()
                    self._use_slot(polls)
            except BaseException as error:
                self.end(error)
                raise
            raise asyncio.CancelledError  # which a library behind the limiter swallowed

    async def _acquire(self) -> None:
        planned = max(self._loop.time(), self._limiter.paused_until)
        await self._limiter.acquire()
        now = self._loop.time()
        self._health.woke(max(planned, self._limiter.paused_until), now)
        self._replies.note_budget(now)

    async def _until_slot_wanted(self) -> None:
        while True:
            now = self._loop.time()
            self._review(now)
            gives_up_at = self._health.gives_up_at
            if now >= gives_up_at:
                self._replies.give_up(now)
                continue
            wanted_at = self._demand.wanted_at(now)
            if wanted_at <= now + TICK:
                return
            planned = min(wanted_at, gives_up_at, self._turns.review_at())
            await self._sleeper.sleep_until(planned)
            self._health.woke(planned, self._loop.time())

    def _review(self, now: float) -> None:
        if self._turns.review(now):
            self._replies.outage_began(now)

    def overslept(self) -> bool:
        """Whether the dispatcher sleeps while something is due: never true once all is run."""
        now = self._loop.time()
        return self._sleeper.sleeps and self._demand.wanted_at(now) <= now

    def plan(self, planner: Planner) -> Callable[[], None]:
        """Send the statements of *planner*, the only one; return what it calls to be sooner."""
        self.errands.planner, self._roster.on_failure = planner, planner.failed
        return self._wake

    def _use_slot(self, polls: asyncio.TaskGroup) -> None:
        """Give the slot that was just granted to whatever deserves it at this moment."""
        now = self._loop.time()
        if self.closed_by is not None or self._limiter.paused_until > now:
            return  # all ended, or a pause began, after the slot was granted
        self._review(now)
        look_is_due = self._demand.look_wanted_at(now) <= now + TICK
        goes_first = look_is_due and self._demand.look_goes_first(now)
        granted = not goes_first and self._grant_slot(now)
        if look_is_due and not granted:
            self._start_poll(polls, now)
        # Otherwise nothing is due any more: the slot is dropped, never saved.

    def _grant_slot(self, now: float) -> bool:
        """Give the slot to a submission or to the user's own call, if one waits."""
        may_submit = self._demand.submission_wanted_at(now) <= now + TICK
        granted = self.slots.grant(submissions=may_submit)
        if granted:
            self._demand.submitting += 1
            self._demand.last_sent_at = now
            self._health.probe_sent(now)
        return granted is not None

    def _start_poll(self, polls: asyncio.TaskGroup, now: float) -> None:
        self.slots.granted = 0
        if self._start_errand(polls, now):
            return
        tracked = self._turns.take(now)
        if tracked is None:
            return
        if self._health.outage:
            # Each probe looks the name up again: the server may answer at another address.
            self._source.forget_connections()
        self.polls += tracked.of_class.reported
        self.errands.polls += not tracked.of_class.reported
        self._demand.in_flight.add(tracked)
        self._demand.last_sent_at = now
        tracked.asked = now
        self._roster.count_poll(tracked)
        task = polls.create_task(self._poll(tracked, now), name=f"poll {tracked.request_id}")
        # An eager task has begun to ask by now: it may have had its reply, or nobody may wait
        # for one any more.
        if not task.done():
            if self._roster.tracks(tracked):
                tracked.task = task
            else:
                task.cancel()
            # Not a `finally` in the poll: a task cancelled before its first step runs none.
            task.add_done_callback(partial(self._poll_ended, tracked, now))

    def _start_errand(self, polls: asyncio.TaskGroup, now: float) -> bool:
        """Send a statement of the planner, if it goes before the polls that are due."""
        if self._demand.errand_wanted_at(now) > now + TICK:
            return False
        poll_is_due = self._demand.poll_wanted_at(now) <= now + TICK
        send = self.errands.take(now, poll_is_due=poll_is_due)
        if send is None:
            return False
        self._demand.submitting += 1
        self._demand.last_sent_at = now
        self._health.probe_sent(now)
        task = polls.create_task(self.errands.run(send, self.end), name="errand")
        task.add_done_callback(lambda _: self.submitted())
        return True

    def _poll_ended(self, tracked: Tracked, sent_at: float, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            return
        self._poll_over(tracked)
        if tracked.task is task and self.closed_by is None and self._roster.tracks(tracked):
            # Cancelled by somebody who does not own it, and somebody waits for its answer.
            failure = TransportError("the poll was cancelled", request_id=tracked.request_id)
            self._receive(tracked, failure, sent_at)

    def _poll_over(self, tracked: Tracked) -> None:
        self._demand.in_flight.discard(tracked)
        self._wake()

    # --- One poll --------------------------------------------------------------------

    async def _poll(self, tracked: Tracked, sent_at: float) -> None:
        answer = await self._source.ask(tracked.request_id)
        self._poll_over(tracked)
        if self._roster.tracks(tracked):  # or else nobody waits for it any more
            self._receive(tracked, answer, sent_at)

    def _receive(self, tracked: Tracked, answer: Answer, sent_at: float) -> None:
        tracked.task = None
        try:
            self._replies.receive(tracked, answer, sent_at, self._loop.time())
        except BaseException as error:
            self.end(error)
            raise
