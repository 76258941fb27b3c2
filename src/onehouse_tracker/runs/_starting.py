"""
From a statement to the run that it starts: sends it, once, and waits for the run ID.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from onehouse_tracker import events
from onehouse_tracker._engine.classes import OF_USERS, RequestClass
from onehouse_tracker._engine.open_tracker.submission import submit_once
from onehouse_tracker._engine.tracked import Joining
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import (
    InvalidRequestError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnsentError,
    ThrottledError,
    TrackerError,
)
from onehouse_tracker.models import Outcome, response_of
from onehouse_tracker.protocols import SubmissionSource
from onehouse_tracker.run_results import RunOutcome
from onehouse_tracker.runs._chances import FirstGap
from onehouse_tracker.runs._followed import Followed

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker.models import Result, StatusReply
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.protocols import StatusSource

__all__ = ["Starter", "Stopped", "what_started"]

_NOTHING_RUNS = frozenset({Outcome.FAILED, Outcome.INVALID})
_ENDED_WELL = frozenset({Outcome.SUCCEEDED, Outcome.PARTIALLY_SUCCEEDED})


class _Watched:
    """The source, for one statement: it notes whether the statement may have been sent."""

    def __init__(self, source: SubmissionSource, followed: Followed) -> None:
        self._source = source
        self._followed = followed

    async def fetch(self, request_id: str) -> StatusReply:
        """Not used here: only the statement goes this way."""
        raise NotImplementedError(request_id)

    async def submit(self, statement: str) -> str:
        """Send it."""
        self._followed.was_sent = True
        try:
            return await self._source.submit(statement)
        except (ThrottledError, SubmissionRejectedError, SubmissionUnsentError):
            self._followed.was_sent = False
            raise


class Stopped(NamedTuple):
    """Why a statement came no further."""

    outcome: RunOutcome
    error: str
    is_certain: bool = True
    """Whether it is worth writing down: what was never sent can still be sent."""


class Starter:
    """
    Sends statements within the rate limit and follows their requests to the end.

    Args:
        session: The tracker.

        source: What statements are sent to.

        policy: How long sending may take.
    """

    def __init__(self, session: Session, source: StatusSource, policy: PollPolicy) -> None:
        self._session = session
        self._source = source
        self._policy = policy
        # Nobody waits for the run ID: the run lasts minutes, and other statements wait for slots.
        self._class = RequestClass("that start runs", policy, reported=True)
        self._gap = FirstGap(0.7)

    async def send(self, followed: Followed) -> None:
        """
        Send its statement, once, when a slot comes.

        Cancelling before the slot comes sends nothing.

        Raises:
            SubmissionError: It was refused, never sent, or of unknown fate.

            ProjectError: The project failed, or the tracker is closed.
        """
        session = self._session
        source = self._source
        statement = followed.statement or ""
        if isinstance(source, SubmissionSource):
            source = _Watched(source, followed)
        engine = session.opened()
        with engine.forecasts.coming((statement,)):
            followed.request_id = await submit_once(
                engine,
                source,
                statement,
                timeout=self._policy.poll_timeout,
                label=followed.label,
                journal_queue=session.journal_queue,
                under_way=session.submissions,
                accepted=partial(self._accepted, followed),
                key=followed.statement_key,
            )

    async def attempt(self, followed: Followed) -> Stopped | None:
        """
        Send its statement, once; return what follows if it was not accepted.

        Raises:
            ProjectError: The project failed, or the tracker is closed.
        """
        try:
            await self.send(followed)
        except SubmissionUnsentError as error:
            return Stopped(RunOutcome.NOT_STARTED, str(error), is_certain=False)
        except (SubmissionRejectedError, InvalidRequestError) as error:
            return Stopped(RunOutcome.NOT_STARTED, str(error))
        except SubmissionError as error:
            return Stopped(RunOutcome.START_UNKNOWN, str(error))
        except TrackerError:
            raise
        except Exception as error:  # noqa: BLE001 - of the source: nobody knows what it did
            outcome = RunOutcome.START_UNKNOWN if followed.was_sent else RunOutcome.NOT_STARTED
            return Stopped(outcome, f"{type(error).__name__}: {error}", is_certain=False)
        return None

    def _accepted(self, followed: Followed, request_id: str) -> None:
        followed.request_id = request_id
        if self._session.emit:
            now = asyncio.get_running_loop().time()
            self._session.emit(
                events.StatementSubmitted(at=now, request_id=request_id, label=followed.label)
            )

    async def result(self, followed: Followed, *, age: float | None = None) -> Result:
        """
        Wait until its request has ended.

        Args:
            followed: What waits.

            age: Seconds since it was submitted by an earlier run of this program; it is polled
                whatever the journal knows, which may have kept no response.

        Raises:
            ProjectError: The project failed, or the tracker is closed.
        """
        engine = self._session.opened()
        request_id, starts_run = followed.request_id or "", followed.kind is not None
        planned = self._gap.seconds if starts_run else self._policy.gap_min
        joining = Joining(
            request_id,
            followed.label,
            age or 0.0,
            planned if age is None else 0.0,
            on_disk=age is not None,
            of_class=self._class if starts_run else OF_USERS,
            start_known=age is None and not starts_run,
        )
        learning = self._session.learning
        if learning is not None:
            joining = learning.named(joining, followed.statement)
        wait = Wait()
        engine.open(wait)
        engine.join(wait, joining)
        wait.fed()
        try:
            await wait.until_over()
        finally:
            engine.leave(wait)
        wait.raise_error()
        followed.request = wait.results()[request_id]
        if starts_run and age is None and followed.request.outcome.final:
            self._gap.learn(found=followed.request.polls == 1)
        return followed.request

    async def cancel(self, followed: Followed) -> str:
        """
        Have the server cancel a run; return what it said.

        Raises:
            InvalidRequestError: The run is not known, or such work cannot be canceled.

            SubmissionError: The statement was refused, never sent, or is of unknown fate.

            ProjectError: The project failed, or the tracker is closed.
        """
        run, kind = followed.run, followed.kind
        if run is None or kind is None:
            raise InvalidRequestError("the run is not known yet, so nothing can be canceled")
        if kind.cancel is None:
            raise InvalidRequestError(f"a {kind.name} cannot be canceled")
        order = Followed(
            at=asyncio.get_running_loop().time(),
            label=f"CANCEL {kind.name.upper()}",
            statement=kind.cancel(run.job, run.run_id),
        )
        await self.send(order)
        result = await self.result(order)
        said = result.status or str(result.outcome)
        return said if result.outcome is Outcome.SUCCEEDED else f"{said}: {result.reason}"


def what_started(followed: Followed, result: Result) -> tuple[RunOutcome, str] | str:
    """
    What the end of a request says about the run that it was to start.

    Returns:
        The run ID; or, where there is no run to follow, the outcome and why.
    """
    kind = followed.kind
    if kind is None:
        return RunOutcome(result.outcome.value), ""
    if result.outcome in _NOTHING_RUNS:
        return RunOutcome.NOT_STARTED, ""
    if result.outcome not in _ENDED_WELL:
        said = result.reason or "no reason given"
        return RunOutcome.START_UNKNOWN, f"its request ended {result.outcome} ({said})"
    run_id = kind.identity_in(response_of(result))
    if run_id is None:
        return RunOutcome.STARTED, "started, but no run ID came back, so it cannot be followed"
    return run_id
