"""
Submits many statements, and waits for their requests.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from onehouse_tracker import events
from onehouse_tracker._checks import check_label, check_statement, check_statements_listed
from onehouse_tracker._engine.open_tracker.batch import Batch, Statement
from onehouse_tracker._engine.open_tracker.collecting import collect
from onehouse_tracker._engine.open_tracker.submission import submit_once
from onehouse_tracker._engine.open_tracker.teardown import expire, release
from onehouse_tracker._engine.open_tracker.validation import check_max_running, check_timeout
from onehouse_tracker._engine.open_tracker.wait_events import announced
from onehouse_tracker.errors import ConfigError, InvalidRequestError, ProjectError
from onehouse_tracker.handles import Handle
from onehouse_tracker.models import Request, Result
from onehouse_tracker.protocols import SubmissionSource
from onehouse_tracker.results import Results
from onehouse_tracker.statement_results import (
    StatementResult,
    StatementResults,
    StatementState,
    attach,
)

if TYPE_CHECKING:
    from onehouse_tracker._engine.engine import Engine
    from onehouse_tracker._engine.open_tracker.callbacks import OnResult
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker._engine.waits import Wait
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.protocols import StatusSource

__all__ = ["Label", "Statements"]

Label: TypeAlias = str | Callable[[str], str | None] | None


class Statements:
    """
    The statements of one call, and what is known of each.

    Args:
        session: The tracker.

        client: Where they are sent.

        policy: How long sending may take, and when an accepted one is polled first.

        statements: In the order in which they are sent.

        label: Their label, or a function that returns the label of one.

        known: Told of each statement whose state is known; it must not block.

    Raises:
        ConfigError: The client cannot submit statements.

        InvalidRequestError: Something is not a statement, or the label not a string.  Nothing
            was sent.

        TrackerClosedError: The tracker is not open.
    """

    def __init__(
        self,
        session: Session,
        client: StatusSource,
        policy: PollPolicy,
        statements: Iterable[str],
        label: Label,
        known: Callable[[Statement], None] | None = None,
    ) -> None:
        self._session = session
        self._engine: Engine = session.opened()
        self._client = client
        self._policy = policy
        self._known = known
        self._batch: Batch | None = None
        if not isinstance(client, SubmissionSource):
            raise ConfigError(f"{type(client).__name__} cannot submit statements")
        self._all = [
            Statement(number, text, label(text) if callable(label) else label)
            for number, text in enumerate(_checked(statements), 1)
        ]
        for item in self._all or [Statement(0, "", None if callable(label) else label)]:
            check_label(item.label)
        self._handles: dict[Statement, Handle] = {}
        self._results: dict[str, Result] = {}

    @property
    def items(self) -> list[Statement]:
        """What is known of each so far."""
        return self._all

    def handle(self, statement: Statement) -> Handle | None:
        """The handle of one that `submit` had accepted."""
        return self._handles.get(statement)

    def stop(self) -> None:
        """Send nothing further.  What is on the wire gets its answer."""
        if self._batch is not None:
            self._batch.stop("it was not sent, because sending was stopped")

    async def submit(
        self, *, in_order: bool, stop_on_failure: bool = False
    ) -> StatementResults[Handle]:
        """Submit all; see `Tracker.submit_all`."""

        def accepted(statement: Statement) -> None:
            if batch.failure is None and self._engine.closed_by is None:
                request = Request(statement.request_id or "", label=statement.label)
                self._handles[statement] = self._session.track(
                    self._engine,
                    request,
                    first_look=self._policy.gap_min,
                    statement=statement.text,
                )
            batch.ended(statement, ok=statement.error is None)

        batch = Batch(
            self._all,
            self._send,
            accepted=accepted,
            max_running=1 if in_order else None,
            stop_on_failure=in_order or stop_on_failure,
            known=self._known,
        )
        self._batch = batch
        try:
            with (
                self._engine.forecasts.coming(batch),
                self._engine.slots.backlog.add(batch.backlog),
            ):
                await batch.run()
            if (closed_by := self._engine.closed_by) is not None:
                batch.fail(copy.copy(closed_by))
            batch.raise_failure()
        except BaseException as error:
            for handle in self._handles.values():
                handle.cancel()  # nobody has it
            self._handles.clear()
            if isinstance(error, ProjectError):
                error.pending = tuple(each.request_id for each in self._all if each.request_id)
            attach(error, self._told())
            raise
        return self._told()

    async def execute(
        self,
        *,
        in_order: bool,
        max_running: int | None,
        stop_on_failure: bool,
        timeout: float | None,
        on_result: OnResult | None,
    ) -> StatementResults[Handle]:
        """Submit all, and wait for their requests; see `Tracker.execute_all`."""
        check_timeout(timeout)
        check_max_running(max_running)
        if in_order and max_running not in {None, 1}:
            raise ConfigError("in order, one statement runs at a time: max_running is 1 or None")
        joined: dict[str, list[Statement]] = {}

        def ended(result: Result) -> None:
            self._results[result.request_id] = result
            for statement in joined.get(result.request_id, ()):
                batch.ended(statement, ok=result.ok)

        def accepted(statement: Statement) -> None:
            request_id = statement.request_id or ""
            if (known := self._results.get(request_id)) is not None:  # named twice
                batch.ended(statement, ok=known.ok)
                return
            joined.setdefault(request_id, []).append(statement)
            self._join(wait_of[0], Request(request_id, label=statement.label), statement.text)

        batch = Batch(
            self._all,
            self._send,
            accepted=accepted,
            max_running=1 if in_order else max_running,
            stop_on_failure=in_order or stop_on_failure,
            known=self._known,
        )
        wait_of: list[Wait] = []

        def waiting(wait: Wait) -> AbstractAsyncContextManager[None]:
            wait_of.append(wait)
            return self._waiting(wait, batch, timeout)

        try:
            results = await collect(self._session, self._engine, waiting, on_result, ended)
        except BaseException as error:
            attach(error, self._told())
            raise
        return self._told(results)

    @asynccontextmanager
    async def _waiting(
        self, wait: Wait, batch: Batch, timeout: float | None
    ) -> AsyncIterator[None]:
        """Send what may be sent, then wait for the rest while the block runs."""
        engine = self._engine
        loop = asyncio.get_running_loop()
        has_expired = False

        def deadline() -> None:
            nonlocal has_expired
            has_expired = True
            batch.stop("it was not sent in time")
            engine.expire(wait)

        def watch() -> None:
            # What fails the wait, such as an outage, may concern nothing that is being sent.
            if wait.error is not None:
                batch.fail(wait.error)
            elif not wait.over:
                wait.change().add_done_callback(lambda _: watch())

        engine.open(wait)
        watch()
        timer = None if timeout is None else loop.call_at(loop.time() + timeout, deadline)
        try:
            with announced(self._session.emit, wait, self._all[0].label if self._all else None):
                with engine.forecasts.coming(batch), engine.slots.backlog.add(batch.backlog):
                    await batch.run()
                if batch.failure is not None:
                    wait.fail(batch.failure)
                if has_expired:
                    expire(engine, wait)
                else:
                    wait.fed()
                yield
        finally:
            release(engine, wait, None, timer)

    def _join(self, wait: Wait, request: Request, statement: str) -> None:
        if wait.has(request.request_id, request.label):
            return
        if wait.error is None and not wait.over:
            self._session.join(
                self._engine, wait, request.label, request, self._policy.gap_min, statement
            )
        else:
            wait.enter(request.request_id, request.label)  # what the error names as open

    async def _send(self, statement: Statement) -> None:
        await submit_once(
            self._engine,
            self._client,
            statement.text,
            timeout=self._policy.poll_timeout,
            label=statement.label,
            journal_queue=self._session.journal_queue,
            under_way=self._session.submissions,
            accepted=partial(self._accepted, statement),
            progress=statement.progress,
        )

    def _accepted(self, statement: Statement, request_id: str) -> None:
        # At once: a journal that fails, or a cancellation now, must not hide what runs.
        emit = self._session.emit
        if emit:
            now = asyncio.get_running_loop().time()
            emit(events.StatementSubmitted(at=now, request_id=request_id, label=statement.label))

    def _told(self, results: Results | None = None) -> StatementResults[Handle]:
        return StatementResults(
            (
                StatementResult(
                    number=each.number,
                    state=each.state or StatementState.UNSENT,
                    label=each.label,
                    request_id=each.request_id,
                    result=self._results.get(each.request_id or ""),
                    handle=self._handles.get(each),
                    error=each.error,
                )
                for each in self._all
            ),
            results=Results(self._results.values()) if results is None else results,
        )


def _checked(statements: Iterable[str]) -> list[str]:
    """Check everything before anything is sent: a mistake costs nothing then."""
    check_statements_listed(statements)
    listed = list(statements)
    for number, statement in enumerate(listed, 1):
        try:
            check_statement(statement)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"statement {number}: {error}") from None
    return listed
