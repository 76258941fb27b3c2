"""
Asks once about each request, and tells where it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from onehouse_tracker.cli._codes import CommandError, ExitCode, most_serious
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._logging import configure
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._output import PENDING, Item, result_row
from onehouse_tracker.cli._sources import requests_from
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import (
    NotFoundError,
    RejectedError,
    StaleConnectionError,
    StatusError,
    ThrottledError,
    UnauthorizedError,
)
from onehouse_tracker.limiters import RateLimiter, limiter_from
from onehouse_tracker.models import OUTCOME_OF, ApiStatus, Outcome, Request, Result, StatusReply
from onehouse_tracker.onehouse.client import OnehouseClient

__all__ = ["status"]

_GIVE_UP_AFTER = 3  # failures before any good reply
_REFUSALS_BORNE = 5


async def status(
    terminal: Terminal, settings: CommandSettings, arguments: Sequence[str], given: Input
) -> ExitCode:
    """
    Ask once about each request, within the budget, and print where it stands.

    A request that is pending is no failure here.

    Raises:
        CommandError: Something is no request ID, the file cannot be read, the server refuses
            the credentials or cannot be reached.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    configure(verbose=settings.verbose)
    requests = await requests_from(arguments, given)
    client = OnehouseClient.from_env(profile=settings.profile)
    limiter = limiter_from(
        settings.limiter,
        project=client.credentials.project_key,
        limit=settings.limit,
        share=settings.share,
    )
    standings: list[_Standing] = []
    writer = writer_of(terminal, settings.output)

    async def show(standing: _Standing) -> None:
        standings.append(standing)
        if writer.at_once:
            await writer.line(standing.item())

    try:
        async with client:
            await limiter.start()
            try:
                await _Survey(client, limiter, settings.label, show).run(requests)
            finally:
                await limiter.aclose()
    finally:
        standings.sort(key=lambda standing: standing.number)
        if not writer.at_once:
            for standing in standings:
                await writer.line(standing.item())
        await writer.finish()

    return most_serious(
        ExitCode.NOT_OK for standing in standings if not (standing.pending or standing.ok)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What one question brought."""

    number: int
    request: Request
    label: str | None
    polls: int
    took: float
    status: str | None = None
    response: Any = None
    error: StatusError | None = None

    @property
    def pending(self) -> bool:
        return self.status == ApiStatus.PENDING

    @property
    def ok(self) -> bool:
        return self.outcome is not None and self.outcome.ok

    @property
    def outcome(self) -> Outcome | None:
        if self.pending:
            return None
        if isinstance(self.error, NotFoundError):
            return Outcome.NOT_FOUND
        if isinstance(self.error, RejectedError | UnauthorizedError):
            return Outcome.REJECTED
        if self.error is not None:
            return Outcome.UNREACHABLE
        return OUTCOME_OF.get(self.status or "", Outcome.UNRECOGNIZED)

    def result(self) -> Result:
        """The same as a `Result`; of a pending request only its data can be used."""
        return Result(
            request_id=self.request.request_id,
            outcome=self.outcome or Outcome.TIMED_OUT,
            label=self.label,
            status=self.status,
            response=self.response,
            error=self.error,
            polls=self.polls,
            waited=self.took,
        )

    def item(self) -> Item:
        result = self.result()
        data, row = result.to_dict(), result_row(result)
        if self.pending:
            data.update(outcome=None, ok=None, reason=None)
            row = {**row, "OUTCOME": PENDING, "REASON": ""}
        return Item(data, row)


class _Survey:
    """One question about each request."""

    def __init__(
        self,
        client: OnehouseClient,
        limiter: RateLimiter,
        label: str | None,
        show: Callable[[_Standing], Coroutine[Any, Any, None]],
    ) -> None:
        self._client = client
        self._limiter = limiter
        self._label = label
        self._show = show
        self._answered = False
        self._failures = 0

    async def run(self, requests: AsyncIterable[Request]) -> None:
        """Poll all.  Until the server has answered once, one poll at a time."""
        try:
            async with asyncio.TaskGroup() as questions:
                number = 0
                async for request in _each(requests):
                    number += 1
                    await self._limiter.acquire()
                    question = questions.create_task(self._ask(number, request))
                    if not self._answered:
                        await asyncio.wait([question])
        except ExceptionGroup as group:
            # Whatever went wrong first has ended the rest.
            raise group.exceptions[0] from None
        if self._failures and not self._answered:
            raise CommandError("no answer from the server", ExitCode.PROJECT)

    async def _ask(self, number: int, request: Request) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        polls = 0
        while True:
            sent_at = loop.time()
            reply: StatusReply | None = None
            error: StatusError | None = None
            polls += 1
            try:
                reply = await self._client.fetch(request.request_id)
            except ThrottledError as refusal:
                self._limiter.throttled(sent_at, refusal.retry_after)
                error = refusal
            except StatusError as failure:
                error = failure
            again = isinstance(error, ThrottledError | StaleConnectionError)
            if not again or polls > _REFUSALS_BORNE:
                break
            await self._limiter.acquire()
        await self._show(
            _Standing(
                number=number,
                request=request,
                label=request.label or self._label,
                polls=polls,
                took=loop.time() - began,
                status=None if reply is None else reply.status,
                response=None if reply is None else reply.response,
                error=error,
            )
        )
        self._judge(error)

    def _judge(self, error: StatusError | None) -> None:
        """
        Stop where the next question would fare no better.

        Raises:
            CommandError: The credentials are refused, or nobody answers.
        """
        if error is None or isinstance(error, RejectedError):
            self._answered = True
        elif not self._answered:
            self._failures += 1
            if isinstance(error, UnauthorizedError):
                raise CommandError(
                    f"the server refuses the credentials: {error.reason}", ExitCode.PROJECT
                )
            if self._failures >= _GIVE_UP_AFTER:
                raise CommandError(f"no answer from the server: {error.reason}", ExitCode.PROJECT)


async def _each(requests: AsyncIterable[Request]) -> AsyncIterator[Request]:
    """Each request once."""
    seen: set[str] = set()
    async for request in requests:
        if request.request_id not in seen:
            seen.add(request.request_id)
            yield request
