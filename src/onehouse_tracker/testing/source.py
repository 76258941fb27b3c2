"""
A simulated project as a status source, without sockets, on the clock of whatever loop runs.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Literal

from onehouse_tracker.errors import SubmissionUnknownError, TransportError
from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse._http.body import too_large
from onehouse_tracker.onehouse._http.wire import HttpReply, read_status, read_submission
from onehouse_tracker.testing.faults import Draw, FaultKind
from onehouse_tracker.testing.records import Answer
from onehouse_tracker.testing.replies import http_reply
from onehouse_tracker.testing.simulated_project import SimulatedProject

__all__ = ["SimulatedSource"]

_MAX_BODY = 8 * 2**20


class SimulatedSource:
    """
    A `StatusSource` and `SubmissionSource` that asks a `SimulatedProject`.

    A request arrives at the server half a round trip after it was sent, and its reply is here
    half a round trip later.  Faults end in the errors that the real client raises for them.
    A call that is cancelled arrives all the same.  One source may serve any number of callers,
    on one loop at a time.

    Args:
        project: What to ask.

        round_trip: Seconds, constant or drawn.

        seed: Decides the round trips; they do not depend on the project's draws.
    """

    def __init__(
        self, project: SimulatedProject, *, round_trip: Draw | float = 0.08, seed: int = 0
    ) -> None:
        self.project = project
        self._round_trip = round_trip
        self._rng = Random(f"{seed} round trips")
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<SimulatedSource of {self.project!r}>"

    async def fetch(self, request_id: str) -> StatusReply:
        """
        Ask once.  Cancelling drops the reply; the poll counts at the server.

        Raises:
            StatusError: As the real client would raise it.
        """
        answer = await self._send("status", request_id)
        if answer.fault is None and answer.reply is not None:
            return answer.reply
        # As a date, Retry-After counts from a wall clock that shows the loop's time.
        now = asyncio.get_running_loop().time()
        reply = _as_it_comes(answer, now)
        if isinstance(reply, str):
            raise TransportError(reply, request_id=request_id)
        return read_status(reply, request_id, now=now)

    async def submit(self, statement: str) -> str:
        """
        Submit once and return the request ID.

        Cancelling drops the answer; the statement is executed all the same.

        Raises:
            SubmissionError: As the real client would raise it.

            ThrottledError: Refused for its rate only.

            UnauthorizedError: The credentials are refused.
        """
        answer = await self._send("submit", statement)
        if answer.fault is None:
            return answer.request_id
        now = asyncio.get_running_loop().time()
        reply = _as_it_comes(answer, now)
        if isinstance(reply, str):
            raise SubmissionUnknownError(reply)
        return read_submission(reply, now=now)

    def _send(self, kind: Literal["status", "submit"], subject: str) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self.project.begin(loop.time)
        trip = self._round_trip
        half = (trip if isinstance(trip, int | float) else trip(self._rng)) / 2
        # Two plain timers and one future: a task or a sleep more would double the cost of a
        # poll, and benchmarks send tens of millions.
        future: asyncio.Future[Answer] = loop.create_future()
        if half > 0:
            loop.call_at(loop.time() + half, self._arrive, kind, subject, future, half)
        else:
            self._arrive(kind, subject, future, 0.0)

        return future

    def _arrive(
        self,
        kind: Literal["status", "submit"],
        subject: str,
        future: asyncio.Future[Answer],
        half: float,
    ) -> None:
        loop = future.get_loop()
        now = loop.time()
        if kind == "status":
            answer = self.project.poll(subject, now)
        else:
            answer = self.project.submit(subject, now)
        fault = answer.fault
        if fault is not None:
            if fault.kind is FaultKind.HANG:
                return
            if fault.kind is FaultKind.DELAY:
                half += self.project.delay_of(fault)
        if half > 0:
            loop.call_at(now + half, _deliver, future, answer)
        else:
            _deliver(future, answer)


def _deliver(future: asyncio.Future[Answer], answer: Answer) -> None:
    # The caller may have been cancelled meanwhile.
    if not future.done():
        future.set_result(answer)


def _as_it_comes(answer: Answer, now: float) -> HttpReply | str:
    """The reply as the client reads it, or why there is none."""
    kind = None if answer.fault is None else answer.fault.kind
    if kind is FaultKind.RESET:
        return "connection closed before the reply"
    if kind is FaultKind.CUT:
        return "connection closed in the middle of the reply"
    if kind is FaultKind.HUGE:
        return too_large(_MAX_BODY)
    return http_reply(answer, now)
