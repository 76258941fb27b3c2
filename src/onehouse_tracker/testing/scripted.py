"""
A status source that says exactly what its script says, and remembers when it was asked.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from onehouse_tracker.errors import NotFoundError, StatusError
from onehouse_tracker.models import ApiStatus, StatusReply

__all__ = ["After", "ScriptedSource", "Step", "hang"]


@dataclass(frozen=True, slots=True)
class After:
    """A step that takes its time."""

    seconds: float
    """Seconds from asking to the reply, in place of the source's latency."""

    step: Step
    """What is replied then."""


Step: TypeAlias = (
    "str | StatusReply | BaseException | type[BaseException] | After"
    " | Callable[[str], Awaitable[StatusReply]]"
)
"""One reply: a status word (`ApiStatus` or any other), a whole reply, an error (raised afresh,
so that nobody shares it), `After`, or a coroutine function that gets the request ID."""


async def hang(request_id: str) -> StatusReply:  # noqa: ARG001 - the signature of a step
    """Never answer: a step for polls that must run into their timeout.  Can be cancelled."""
    never: asyncio.Future[StatusReply] = asyncio.get_running_loop().create_future()
    return await never


class ScriptedSource:
    """
    A `StatusSource` and `SubmissionSource` whose every reply is written down beforehand.

    Args:
        script: The replies per request ID, in the order in which they are asked for.  The
            last one is repeated forever.

        latency: Seconds from asking to the reply.

        submissions: What `submit` returns or raises, in order; used up once each.

    Raises:
        ValueError: A script is empty.

    Attributes:
        calls: Every poll in sending order: seconds on the loop's clock, rounded to the
            microsecond, and the request ID.

        submitted: Every submission in sending order: seconds and the statement.

        in_flight: Polls that are being answered now, by request ID.

        max_in_flight: The largest number of polls that were answered at one time.

        overlaps: IDs that were polled while a poll of theirs was still out.
    """

    def __init__(
        self,
        script: Mapping[str, Sequence[Step]],
        *,
        latency: float = 0.0,
        submissions: Sequence[str | BaseException] = (),
    ) -> None:
        self._script = {request_id: tuple(steps) for request_id, steps in script.items()}
        for request_id, steps in self._script.items():
            if not steps:
                raise ValueError(f"the script of {request_id!r} is empty")
        self._asked = dict.fromkeys(self._script, 0)
        self._latency = latency
        self._submissions = iter(submissions)
        self.calls: list[tuple[float, str]] = []
        self.submitted: list[tuple[float, str]] = []
        self.in_flight: dict[str, int] = {}
        self.max_in_flight = 0
        self.overlaps: list[str] = []

    def __repr__(self) -> str:
        return f"<ScriptedSource: {len(self._script)} requests, {len(self.calls)} calls>"

    def times(self, request_id: str) -> list[float]:
        """When *request_id* was polled, in seconds on the loop's clock."""
        return [at for at, asked in self.calls if asked == request_id]

    async def fetch(self, request_id: str) -> StatusReply:
        """
        Reply with the next step of the script.  Cancelling drops the reply; the step is used.

        Raises:
            NotFoundError: The script does not know *request_id*.

            BaseException: What the script says.
        """
        self.calls.append((_now(), request_id))
        others = self.in_flight.get(request_id, 0)
        if others:
            self.overlaps.append(request_id)
        self.in_flight[request_id] = others + 1
        self.max_in_flight = max(self.max_in_flight, sum(self.in_flight.values()))
        try:
            return await self._reply(self._next_step(request_id), request_id)
        finally:
            self.in_flight[request_id] -= 1
            if not self.in_flight[request_id]:
                del self.in_flight[request_id]

    async def submit(self, statement: str) -> str:
        """
        Take note of *statement* and return the next request ID of ``submissions``.

        Raises:
            BaseException: What ``submissions`` says.

            AssertionError: More was submitted than the script has answers for.
        """
        self.submitted.append((_now(), statement))
        if self._latency:
            await asyncio.sleep(self._latency)
        answer = next(self._submissions, None)
        if answer is None:
            raise AssertionError(f"no answer in the script for submission {len(self.submitted)}")
        if isinstance(answer, BaseException):
            raise copy.copy(answer)
        return answer

    def _next_step(self, request_id: str) -> Step:
        steps = self._script.get(request_id)
        if steps is None:
            return NotFoundError("not in the script", http_status=404, grpc_status=5)
        place = self._asked[request_id]
        self._asked[request_id] = place + 1
        return steps[min(place, len(steps) - 1)]

    async def _reply(self, step: Step, request_id: str) -> StatusReply:
        latency = self._latency
        while isinstance(step, After):
            latency, step = step.seconds, step.step
        if latency:
            await asyncio.sleep(latency)
        if isinstance(step, str):
            # Plain, because the wire brings plain words: code must not rely on the enum.
            return StatusReply(step.value if isinstance(step, ApiStatus) else step)
        if isinstance(step, StatusReply):
            return step
        if isinstance(step, type | BaseException):
            raise _fresh(step, request_id)
        return await step(request_id)


def _now() -> float:
    # The virtual clock may have crept on by a tenth of a microsecond.
    return round(asyncio.get_running_loop().time(), 6)


def _fresh(error: BaseException | type[BaseException], request_id: str) -> BaseException:
    # Each time another object: a traceback grows with every raise, and waiters must not
    # share one.
    if isinstance(error, type):
        if issubclass(error, StatusError):
            return error("as the script says", request_id=request_id)
        return error()
    fresh = copy.copy(error)
    if isinstance(fresh, StatusError) and not fresh.request_id:
        fresh.request_id = request_id
    return fresh
