"""
What is followed on behalf of those who wait: statements and runs, and what became of each.

Bookkeeping on one event loop: it starts no task and sends nothing.
"""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from onehouse_tracker._engine.waits import Changing
from onehouse_tracker.errors import ProjectError, TrackerError
from onehouse_tracker.run_results import RunOutcome, RunResult

if TYPE_CHECKING:
    from onehouse_tracker.models import Result
    from onehouse_tracker.runs._kinds import WorkKind
    from onehouse_tracker.runs._run import Run

__all__ = ["Followed", "RunWait", "new_key"]


def new_key() -> str:
    """Tells one run, or one attempt to send a statement, from every other one."""
    return uuid.uuid4().hex


class Followed:
    """
    One statement, or one run, from the moment that somebody wants to know its end.

    States: *unsent*, *sent* (no answer yet), *requested* (its request is tracked), *running* (the
    run is checked), *over*.  One that was given as a run begins as *running*.

    Args:
        at: The loop time.

        label: That of who came first.
    """

    def __init__(
        self,
        *,
        at: float,
        label: str | None,
        statement: str | None = None,
        kind: WorkKind | None = None,
        job: str | None = None,
        allow_unfollowed: bool = False,
        key: str | None = None,
    ) -> None:
        self.joined_at = at
        self.label = label
        self.statement = statement
        self.kind = kind
        self.job = job
        self.allow_unfollowed = allow_unfollowed
        self.key = new_key() if key is None else key
        """Its place in the journal."""
        self.statement_key: str | None = None
        """That of its statement, once it may be sent."""
        self.batch: str | None = None
        self.position: int | None = None
        """The call that it is part of, and its place there."""
        self.recorded: RunResult | None = None
        """Its outcome, on its way to the journal."""
        self.was_sent = False
        """Whether the statement may have reached the server."""
        self.request_id: str | None = None
        self.request: Result | None = None
        self.run: Run | None = None
        self.task: asyncio.Task[None] | None = None
        """What starts it."""
        self.cancellation: str | None = None
        self.result: RunResult | None = None
        self.error: BaseException | None = None
        self.waits: dict[tuple[RunWait, int], None] = {}

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.result is not None or self.error is not None

    def make_result(
        self, outcome: RunOutcome, *, now: float, wall: datetime | None, error: str = ""
    ) -> RunResult:
        """What is known of it now, as a result."""
        run, request = self.run, self.request
        bound = None
        if run is not None and run.seen_sent_at is not None and outcome.finished:
            bound = now - run.seen_sent_at
        elif run is None and request is not None:
            bound = request.delay_bound
        return RunResult(
            outcome=outcome,
            request=request,
            request_id=self.request_id,
            job=self.job,
            run_id=None if run is None else run.run_id,
            label=self.label,
            statement=self.statement,
            status=(None if request is None else request.status) if run is None else run.word,
            row=None if run is None else run.row,
            error=error,
            allow_unfollowed=self.allow_unfollowed,
            queued_at=None if run is None else run.queued_at,
            running_at=None if run is None else run.running_at,
            detected_at=None if outcome is RunOutcome.TIMED_OUT else wall,
            waited=now - self.joined_at,
            delay_bound=bound,
            checks=0 if run is None else run.checks,
            cancellation=self.cancellation,
        )

    def stopped(self, *, now: float, wall: datetime) -> RunResult:
        """What a waiter gets that stops now: what is still possible."""
        if self.recorded is not None:
            return self.recorded
        if self.run is not None:
            return self.make_result(RunOutcome.TIMED_OUT, now=now, wall=wall)
        if self.request_id is None and not self.was_sent:
            return self.make_result(
                RunOutcome.NOT_STARTED, now=now, wall=wall, error="it was not sent in time"
            )
        if self.kind is None and self.request_id is not None:
            return self.make_result(RunOutcome.TIMED_OUT, now=now, wall=wall)
        said = "the request has not ended" if self.request_id else "no answer came in time"
        return self.make_result(
            RunOutcome.START_UNKNOWN,
            now=now,
            wall=wall,
            error=f"{said}, so a run may be started",
        )

    def settle(self, result: RunResult) -> None:
        """It has its outcome: everyone who waits gets a copy."""
        if self.over:
            return
        self.result = result
        self._tell(lambda wait, position: wait.settle(position, result))

    def fail(self, error: BaseException) -> None:
        """Nothing can be learned any more: everyone who waits gets the error."""
        if self.over:
            return
        self.error = error
        self._tell(lambda wait, _: wait.fail(error))

    def _tell(self, tell: Callable[[RunWait, int], None]) -> None:
        waits, self.waits = self.waits, {}
        for wait, position in waits:
            tell(wait, position)


class RunWait(Changing):
    """
    What one call, one iterator, or one handle waits for.

    Args:
        on_each: Called with the position and the result of each as it ends; must not block.
    """

    def __init__(self, on_each: Callable[[int, RunResult], None] | None = None) -> None:
        super().__init__()
        self._on_each = on_each
        self.members: list[Followed | None] = []
        """What it waits for, by position."""
        self.labels: list[str | None] = []
        self.keys: list[str] = []
        """Their places in the journal."""
        self._results: list[RunResult | None] = []
        self._open = 0
        self.feeding = True
        """Whether more may come."""
        self.expired = False
        """Whether its deadline has passed."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.error is not None or not (self._open or self.feeding)

    @property
    def open(self) -> int:
        """How many have no result yet."""
        return self._open

    def results(self) -> list[RunResult]:
        """What is known, in the order given."""
        return [result for result in self._results if result is not None]

    def open_members(self) -> Iterator[tuple[int, Followed]]:
        """What has no result yet."""
        for position, followed in enumerate(self.members):
            if followed is not None and self._results[position] is None:
                yield position, followed

    def join(self, followed: Followed, label: str | None) -> int:
        """Wait for one more; return its position."""
        position = len(self.members)
        self.members.append(followed)
        self.labels.append(label)
        self.keys.append(followed.key)
        self._results.append(None)
        self._open += 1
        if followed.result is not None:
            self.settle(position, followed.result)
        elif followed.error is not None:
            self.fail(followed.error)
        else:
            followed.waits[self, position] = None
        return position

    def settle(self, position: int, result: RunResult) -> None:
        """One ended."""
        if self._results[position] is not None or self.error is not None:
            return
        label = self.labels[position]
        own = replace(result, label=result.label if label is None else label)
        self._results[position] = own
        self.members[position] = None
        self._open -= 1
        if self._on_each is not None:
            self._on_each(position, own)
        self.notify()

    def fed(self) -> None:
        """No more will come."""
        self.feeding = False
        if self.over:
            self.notify()

    def own_error(self) -> BaseException | None:
        """The error that ended this wait, as an object of the caller's own; `None` if none."""
        error = self.error
        if not isinstance(error, TrackerError):
            return error
        own = copy.copy(error)
        own.__cause__ = error.__cause__
        if isinstance(own, ProjectError):
            own.results = None
            own.pending = tuple(
                run_id
                for _, followed in self.open_members()
                if (run_id := followed.request_id if followed.run is None else followed.run.run_id)
            )
        return own
