"""
Sends the checks of one tracker, and takes their answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from onehouse_tracker import events
from onehouse_tracker._checks import check_request_id
from onehouse_tracker._engine.classes import RequestClass
from onehouse_tracker._engine.tracked import Joining
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker._util.give_way import give_way
from onehouse_tracker.errors import (
    InvalidRequestError,
    ProjectError,
    SubmissionRejectedError,
    SubmissionUnsentError,
    ThrottledError,
    UnauthorizedError,
)
from onehouse_tracker.models import Outcome, Result, response_of
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.runs._chances import FirstGap
from onehouse_tracker.runs._reading import Listing, is_large, read_many, read_one

if TYPE_CHECKING:
    from onehouse_tracker._engine.engine import Engine
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker._engine.refusals import RefusalRow
    from onehouse_tracker.protocols import StatusSource, SubmissionSource
    from onehouse_tracker.runs._judge import Judge
    from onehouse_tracker.runs._plan import Plan
    from onehouse_tracker.runs._run import Run, Unit

__all__ = ["CHECKS", "Checks"]

CHECKS = RequestClass(
    "checks of runs",
    # The first gap is learned; then a check is nearly done.
    PollPolicy(gap_coefficient=0.5, gap_min=0.5, gap_max=5.0, idle_share=0.0, order="due"),
)
"""The polls of checks."""

CHECK_TIMEOUT = 60.0
"""Seconds after which a check that has no answer is given up."""

_DONE = frozenset({Outcome.SUCCEEDED, Outcome.PARTIALLY_SUCCEEDED})
_REFUSED = frozenset({Outcome.FAILED, Outcome.INVALID, Outcome.REJECTED, Outcome.NOT_FOUND})
_TOO_LARGE = "the body is larger than"


class Checks:
    """
    The planner of the engine whose statements check runs.

    Args:
        session: The tracker that is open.

        engine: Its engine.

        source: What statements are sent to.

        plan: Which check goes next.

        judge: What follows from its answer.

        timeout: Seconds that sending one may take.

        failed: Called when the project failed, or was closed.
    """

    def __init__(
        self,
        session: Session,
        engine: Engine,
        source: StatusSource,
        plan: Plan,
        judge: Judge,
        *,
        timeout: float,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._engine = engine
        self._source = cast("SubmissionSource", source)
        self._plan = plan
        self._judge = judge
        self._timeout = timeout
        self._failed = failed
        self._rows: dict[Unit, RefusalRow] = {}
        self._gaps = {
            (many, crowded): FirstGap(0.95 if crowded else 0.65)
            for many in (False, True)
            for crowded in (False, True)
        }
        self.wake = engine.plan(self)

    # --- What the engine asks -------------------------------------------------------------

    def wanted_at(self, now: float) -> float:
        """When the next check may be sent."""
        return self._plan.wanted_at(now)

    def value(self, now: float) -> float:
        """What the check is worth that would go now."""
        return self._plan.value(now)

    def take(self, now: float) -> Callable[[], Coroutine[None, None, None]] | None:
        """Take the check that goes now."""
        unit = self._plan.take(now)
        return None if unit is None else partial(self._send, unit, [*unit.members])

    def failed(self, error: BaseException) -> None:
        """Everyone who waits gets *error*."""
        self._failed(error)

    # --- One check --------------------------------------------------------------------------

    async def _send(self, unit: Unit, asked: list[Run]) -> None:
        sent_at = self._loop.time()
        try:
            async with asyncio.timeout(self._timeout):
                request_id = check_request_id(await self._source.submit(unit.statement))
        except asyncio.CancelledError:
            self._judge.failed(unit, asked, "it was cancelled", self._loop.time())
            if is_cancelled():
                raise
        except ThrottledError as error:
            self._throttled(unit, asked, sent_at, error)
        except UnauthorizedError as error:
            if self._engine.submission_unauthorized(error) is None:
                self._judge.refused(unit, error.reason, self._loop.time())
        except (SubmissionRejectedError, InvalidRequestError) as error:
            self._engine.accepted(sent_at, self._rows.pop(unit, None))
            self._judge.refused(unit, str(error), self._loop.time())
        except Exception as error:  # noqa: BLE001 - a check only reads: it is sent again later
            self._judge.failed(unit, asked, str(error) or type(error).__name__, self._loop.time())
        else:
            self._engine.accepted(sent_at, self._rows.pop(unit, None))
            self._follow(unit, asked, request_id)
        self.wake()

    def _throttled(
        self, unit: Unit, asked: list[Run], sent_at: float, error: ThrottledError
    ) -> None:
        try:
            row, until = self._engine.submission_throttled(self._rows.get(unit), sent_at, error)
        except (SubmissionUnsentError, ProjectError) as failure:
            self._rows.pop(unit, None)
            self._judge.failed(unit, asked, str(failure), self._loop.time())
        else:
            self._rows[unit] = row
            self._judge.held(unit, until, self._loop.time())

    def _follow(self, unit: Unit, asked: list[Run], request_id: str) -> None:
        if self._engine.closed_by is not None or self._engine.follows(request_id):
            # An ID that is tracked already is not new: whatever it is, it is no answer to this.
            self._judge.failed(unit, asked, "its request ID is not new", self._loop.time())
            return
        gap = self._gaps[unit.run is None, self._plan.crowded]
        began, planned = self._loop.time(), gap.seconds

        def ended(result: Result) -> None:
            timer.cancel()
            now = self._loop.time()
            first = now - began if result.polls == 1 else planned
            if result.outcome in _DONE and first < 1.3 * planned + 0.3:
                gap.learn(found=result.polls == 1)
            self._ended(unit, asked, result)

        wait = Wait(deliver=ended)
        self._engine.open(wait)
        self._engine.join(wait, Joining(request_id, first_look=planned, of_class=CHECKS))
        wait.fed()
        timer = self._loop.call_later(CHECK_TIMEOUT, self._engine.expire, wait)

    def _ended(self, unit: Unit, asked: list[Run], result: Result) -> None:
        now = self._loop.time()
        if self._session.emit:
            self._session.emit(
                events.CheckEnded(
                    at=now,
                    job=None if unit.group is None else unit.group.job,
                    run_id=None if unit.run is None else unit.run.run_id,
                    runs=len(asked),
                    polls=result.polls,
                    took=now - unit.sent_at,
                    outcome=str(result.outcome),
                )
            )
        reason = result.reason or str(result.outcome)
        if result.outcome in _DONE:
            if is_large(response_of(result)):
                # It takes so long that the loop must not wait for it.
                self._session.start(self._read_apart(unit, asked, result), "reads a large check")
                return
            self._read(unit, asked, result)
        elif result.outcome in _REFUSED:
            self._judge.refused(unit, reason, now)
        elif _TOO_LARGE in reason:
            self._judge.too_large(unit, asked, reason, now)
        else:
            self._judge.failed(unit, asked, reason, now)
        self.wake()

    def _read(self, unit: Unit, asked: list[Run], result: Result) -> None:
        response = response_of(result)
        run = unit.run
        if run is not None:
            kind = run.kind
            sighting = read_one(
                response, run.run_id, word_at=kind.word_at, prefix=kind.word_prefix
            )
            self._judge.described(unit, sighting, self._loop.time())
        elif unit.group is None:
            self._judge.witness(unit, self._loop.time())
        else:
            self._judge.listed(
                unit, asked, self._listing(unit, asked, response)(), self._loop.time()
            )

    async def _read_apart(self, unit: Unit, asked: list[Run], result: Result) -> None:
        if unit.group is None or unit.run is not None:
            self._read(unit, asked, result)
        else:
            reading = self._listing(unit, asked, response_of(result))
            listing = await asyncio.to_thread(reading, pause=give_way)
            self._judge.listed(unit, asked, listing, self._loop.time())
        self.wake()

    @staticmethod
    def _listing(unit: Unit, asked: list[Run], response: Any) -> Callable[..., Listing]:
        group = unit.group
        return partial(
            read_many,
            response,
            frozenset(run.run_id for run in asked),
            prefix=unit.kind.word_prefix,
            paths=group.paths if group is not None and group.confirmed else frozenset(),
        )
