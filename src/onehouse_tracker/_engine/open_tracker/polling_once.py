"""
Polls each of some requests once, without tracking them.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

from onehouse_tracker._engine.open_tracker.session import until_ended
from onehouse_tracker._engine.open_tracker.validation import joining_of
from onehouse_tracker._engine.source import Source
from onehouse_tracker.errors import (
    AuthenticationError,
    OutageError,
    ProjectError,
    RejectedError,
    StaleConnectionError,
    StatusError,
    ThrottledError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.models import ApiStatus, Request, StatusReply
from onehouse_tracker.results import RequestStatus, TimeLeft

if TYPE_CHECKING:
    from datetime import datetime

    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker.limiters import RateLimiter
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.protocols import StatusSource

__all__ = ["PollOnce", "Show"]

Show: TypeAlias = Callable[[RequestStatus], Awaitable[object]]
"""Gets each status as soon as it is known; its poll has not ended before it returns."""

_AT_ONCE = 100
"""Polls that are on the wire at one time, at most."""

_AGAIN = 5
"""Times that a poll is sent again after a 429, or a connection that was dead before it left."""

_GIVE_UP_AFTER = 3
"""Polls without a reply, before there was any: the others would fare no better."""


class PollOnce:
    """
    One poll for each of some requests.

    Until the server has answered once, one at a time is sent: wrong credentials, or a server
    that is away, cost three requests and not all of them.

    Args:
        session: The tracker.  Closing it ends the polls.

        client: What is polled.

        limiter: Is told of refusals.

        policy: How long a poll may take.

        wall_clock: Tells the date, to know how old a request is.

        show: Gets each status.  What it raises ends everything.
    """

    def __init__(
        self,
        session: Session,
        client: StatusSource,
        limiter: RateLimiter,
        policy: PollPolicy,
        wall_clock: Callable[[], datetime],
        show: Show | None = None,
    ) -> None:
        self._session = session
        self._engine = session.opened()
        self._source = Source(client, policy)
        self._limiter = limiter
        self._wall_clock = wall_clock
        self._show = show
        self._has_answered = False
        self._failures = 0
        self._last_error: StatusError | None = None
        self._found: dict[str, RequestStatus] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._failure: Exception | None = None

    async def run(
        self, requests: Iterable[str | Request] | AsyncIterable[Request], label: str | None
    ) -> dict[str, RequestStatus]:
        """Poll all, in order; see `Tracker.status`."""
        order: dict[str, None] = {}
        try:
            async with aclosing(_each(requests)) as each:
                async for request in each:
                    if request.request_id not in order:
                        order[request.request_id] = None
                        await self._start(request, request.label or label)
                    if self._failure is not None:
                        break
            if self._tasks and self._failure is None:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await until_ended(*self._tasks)
        if (closed_by := self._engine.closed_by) is not None:
            self._failure = copy.copy(closed_by)
        if self._failure is None and self._failures and not self._has_answered:
            self._failure = self._no_answer()
        if self._failure is not None:
            raise self._failure
        return {
            request_id: self._found.get(request_id) or _cancelled(request_id)
            for request_id in order
        }

    async def _start(self, request: Request, label: str | None) -> None:
        """Poll one, and return when the next one may be polled."""
        await self._engine.slot()
        task = self._session.start(
            self._poll(request, label), f"onehouse-tracker status of {request.request_id}"
        )
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        if not self._has_answered:
            await asyncio.wait([task])
        while len(self._tasks) >= _AT_ONCE:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _poll(self, request: Request, label: str | None) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        polls = 0
        try:
            while True:
                sent_at = loop.time()
                polls += 1
                answer = await self._source.ask(request.request_id)
                if isinstance(answer, ThrottledError):
                    self._limiter.throttled(sent_at, answer.retry_after)
                elif not isinstance(answer, StaleConnectionError):
                    break
                if polls > _AGAIN:
                    break
                await self._engine.slot()
        except ProjectError as failure:
            self._fail(failure)
            return
        if isinstance(answer, ProjectError):
            self._fail(answer)
            return
        error = None if isinstance(answer, StatusReply) else answer
        reply = answer if isinstance(answer, StatusReply) else StatusReply(None)
        left, overdue = self._forecast(request, label, reply)
        status = RequestStatus(
            request_id=request.request_id,
            label=label,
            status=reply.status,
            response=reply.response,
            error=error,
            polls=polls,
            took=loop.time() - began,
            left=left,
            overdue=overdue,
        )
        self._found[request.request_id] = status
        if self._show is not None:
            try:
                await self._show(status)
            except Exception as failure:  # noqa: BLE001 - raised by `run`
                self._fail(failure)
        self._judge(error)

    def _forecast(
        self, request: Request, label: str | None, reply: StatusReply
    ) -> tuple[TimeLeft | None, bool]:
        """How long it will still take, where it is pending and that is known."""
        if reply.status != ApiStatus.PENDING:
            return None, False
        joining = joining_of(request, label, 0.0, self._wall_clock)
        return self._engine.forecasts.of_pending(self._session.named(joining))

    def _judge(self, error: StatusError | None) -> None:
        """Take note whether the server answers at all."""
        if error is None or isinstance(error, RejectedError):
            self._has_answered = True
        elif not self._has_answered:
            self._failures += 1
            self._last_error = error
            if isinstance(error, UnauthorizedError):
                self._fail(
                    AuthenticationError(f"the server refuses the credentials: {error.reason}")
                )
            elif self._failures >= _GIVE_UP_AFTER:
                self._fail(self._no_answer())

    def _no_answer(self) -> OutageError:
        reason = "" if self._last_error is None else f": {self._last_error.reason}"
        return OutageError(f"no answer from the server{reason}")

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error


async def _each(
    requests: Iterable[str | Request] | AsyncIterable[Request],
) -> AsyncGenerator[Request, None]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
        return
    for item in requests:
        yield item if isinstance(item, Request) else Request(item)


def _cancelled(request_id: str) -> RequestStatus:
    """Its poll was cancelled by code that does not own it."""
    error = TransportError("the poll was cancelled", request_id=request_id)
    return RequestStatus(request_id=request_id, error=error)
