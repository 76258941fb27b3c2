"""
From a statement to the run that it starts: sends it, once, and waits for the run ID.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from onehouse_tracker import events
from onehouse_tracker._engine.open_tracker.submission import submit_once
from onehouse_tracker.errors import (
    InvalidRequestError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnsentError,
    ThrottledError,
    TrackerError,
)
from onehouse_tracker.models import Outcome, Request, response_of
from onehouse_tracker.protocols import SubmissionSource
from onehouse_tracker.run_results import RunOutcome

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker.models import Result, StatusReply
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.protocols import StatusSource
    from onehouse_tracker.runs._followed import Followed

__all__ = ["Starter", "what_started"]

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
        followed.request_id = await submit_once(
            session.opened(),
            source,
            statement,
            timeout=self._policy.poll_timeout,
            label=followed.label,
            journal_queue=session.journal_queue,
            under_way=session.submissions,
            accepted=partial(self._accepted, followed),
        )

    def _accepted(self, followed: Followed, request_id: str) -> None:
        followed.request_id = request_id
        if self._session.emit:
            now = asyncio.get_running_loop().time()
            self._session.emit(
                events.StatementSubmitted(at=now, request_id=request_id, label=followed.label)
            )

    async def result(self, followed: Followed) -> Result:
        """
        Wait until its request has ended.

        Raises:
            ProjectError: The project failed, or the tracker is closed.
        """
        session = self._session
        request = Request(followed.request_id or "", label=followed.label)
        handle = session.track(session.opened(), request, first_look=self._policy.gap_min)
        try:
            followed.request = await handle
        finally:
            handle.cancel()
        return followed.request


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


def why_not_started(error: TrackerError) -> tuple[RunOutcome, str] | None:
    """What an error of sending says about the run; `None` if it is about the whole project."""
    if isinstance(error, SubmissionRejectedError | SubmissionUnsentError | InvalidRequestError):
        return RunOutcome.NOT_STARTED, str(error)
    if isinstance(error, SubmissionError):
        return RunOutcome.START_UNKNOWN, str(error)
    return None
