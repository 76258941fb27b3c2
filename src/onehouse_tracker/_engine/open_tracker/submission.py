"""
Sends statements within the budget, each once, and never without a trace.
"""

from __future__ import annotations

import asyncio
import copy
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onehouse_tracker._checks import check_request_id
from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    JournalError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    ThrottledError,
    TrackerClosedError,
    UnauthorizedError,
)
from onehouse_tracker.protocols import SubmissionSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker._engine.engine import Engine
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.refusals import RefusalRow
    from onehouse_tracker._engine.write_ahead import WriteAhead
    from onehouse_tracker.journal import Fate
    from onehouse_tracker.protocols import StatusSource

__all__ = ["Progress", "Submissions", "fate_of", "submit_once"]

_GRACE = 1.0
"""Seconds, at closing, for the answers to what is on the wire of a client that was closed."""


@dataclass(eq=False, slots=True)
class Progress:
    """How far the submission of one statement got, also where it ended with an error."""

    on_the_wire: bool = False
    """Whether it may have reached the server."""

    request_id: str | None = None
    """Its request, as soon as the server has named it."""


class Submissions:
    """
    The statements of one tracker that are under way, and leave a trace in its journal.

    What becomes of them must be written down before the journal closes.
    """

    def __init__(self) -> None:
        self._attempts: dict[_Attempt, None] = {}
        self._news = asyncio.Event()

    def begin(self, journal_queue: JournalQueue, progress: Progress) -> _Attempt:
        """One more is under way."""
        attempt = _Attempt(progress, journal_queue.write_ahead, self._news.set)
        self._attempts[attempt] = None
        return attempt

    def end(self, attempt: _Attempt) -> None:
        """It is no longer."""
        del self._attempts[attempt]
        self._news.set()

    async def until_none_waits(self) -> None:
        """Wait until none waits for a slot, or to be written down: closing turns them away."""
        while any(not attempt.on_the_wire for attempt in self._attempts):
            await self._change()

    async def until_all_ended(self) -> None:
        """Wait until none is under way, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                while self._attempts:
                    await self._change()

    async def _change(self) -> None:
        self._news.clear()
        await self._news.wait()


async def submit_once(  # noqa: PLR0913 - what a statement is sent with
    engine: Engine,
    source: StatusSource,
    statement: str,
    *,
    timeout: float,
    label: str | None = None,
    journal_queue: JournalQueue | None = None,
    under_way: Submissions | None = None,
    accepted: Callable[[str], None] | None = None,
    key: str | None = None,
    progress: Progress | None = None,
) -> str:
    """
    Submit *statement* when its slot comes, and return the request ID.

    With a *journal_queue*, the intent is on disk before anything is sent, and the request ID
    before anyone waits for it.  *accepted* is told the request ID as soon as the server has
    said it, whatever happens then.  *key* tells this attempt from others in the journal; `None`
    makes one.  *progress* is kept up to date, also where this raises.  Raises what
    `Tracker.submit` raises.
    """
    if not isinstance(source, SubmissionSource):
        raise ConfigError(f"{type(source).__name__} cannot submit statements")
    progress = progress or Progress()
    if journal_queue is None:
        return await _send(engine, source, statement, timeout, _Attempt(progress), accepted)
    under_way = under_way or Submissions()
    attempt = under_way.begin(journal_queue, progress)
    last_failure = engine.last_failure
    try:
        with engine.slots.backlog.add(lambda: 1):  # a journal takes in a few at a time
            await attempt.take_turn()
        try:
            if engine.last_failure is not None and engine.last_failure is not last_failure:
                raise copy.copy(engine.last_failure)
            _check_open(engine)
            key = key or journal_queue.new_key()
            attempt.intent = _Intent(journal_queue, key, statement, label)
            await attempt.intent.write()
            try:
                request_id = await _send(engine, source, statement, timeout, attempt, accepted)
            except BaseException as error:
                fate, reason = fate_of(error, on_the_wire=attempt.on_the_wire)
                journal_queue.settle(key, fate, reason)
                raise
        finally:
            attempt.end_turn()
        await _accept(journal_queue, key, request_id, label)
    finally:
        under_way.end(attempt)
    return request_id


class _Attempt:
    """Where one statement is."""

    def __init__(
        self,
        progress: Progress,
        turns: WriteAhead | None = None,
        news: Callable[[], None] | None = None,
    ) -> None:
        self.progress = progress
        self.intent: _Intent | None = None
        """What the journal says of it; `None` without one."""
        self._turns = turns
        self._news = news

    @property
    def on_the_wire(self) -> bool:
        """Whether it may have reached the server."""
        return self.progress.on_the_wire

    async def take_turn(self) -> None:
        """Wait until this statement may be written down, and then wait for its slot."""
        if self._turns is not None:
            await self._turns.acquire()

    def is_sent(self) -> None:
        """It is on the wire from now on; the next statement may be written down."""
        self.progress.on_the_wire = True
        self.end_turn()
        if self._news is not None:
            self._news()

    def was_refused(self) -> None:
        """Nothing runs of it, and it will be sent again."""
        if self.intent is not None:
            self.intent.withdraw("refused for its rate, and not sent again yet")

    def end_turn(self) -> None:
        """Let the next statement be written down.  Only the first call counts."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.release()


class _Intent:
    """The intent to send one statement, in the journal."""

    def __init__(
        self, journal_queue: JournalQueue, key: str, statement: str, label: str | None
    ) -> None:
        self._journal_queue = journal_queue
        self._key = key
        self._statement = statement
        self._label = label
        self.is_withdrawn = False
        """Whether it has to be written again before it is sent."""

    async def write(self) -> None:
        """
        Write down that it may be sent from now on.

        Raises:
            JournalError: It is not on disk.

            TrackerClosedError: The journal is closed.
        """
        try:
            await self._journal_queue.intend(self._key, self._statement, self._label)
        except BaseException:
            # Cancelled, or not on disk: it is not sent in either case.
            self.withdraw("never sent")
            raise
        self.is_withdrawn = False

    def withdraw(self, reason: str) -> None:
        """Write down that nothing runs; nobody waits for that."""
        self.is_withdrawn = True
        self._journal_queue.settle(self._key, "unsent", reason)


async def _accept(
    journal_queue: JournalQueue, key: str, request_id: str, label: str | None
) -> None:
    try:
        await journal_queue.accept(key, request_id, label)
    except JournalError as error:
        error.message += f"; the statement was accepted as request {request_id}"
        error.pending = (request_id,)
        raise
    except TrackerClosedError:
        # The caller sees that it is closed, and says which request it was.
        return


def fate_of(error: BaseException, *, on_the_wire: bool) -> tuple[Fate, str]:
    """What became of a statement whose submission ended with *error*."""
    if isinstance(error, SubmissionRejectedError):
        return "refused", error.reason
    if isinstance(error, SubmissionUnsentError):
        return "unsent", error.reason
    if isinstance(error, SubmissionError):
        return "unknown", error.reason
    if not on_the_wire:
        return "unsent", f"never sent: {type(error).__name__}"
    if isinstance(error, AuthenticationError):
        return "refused", "the server refused the credentials"
    return "unknown", f"no answer was seen: {type(error).__name__}"


def _usable(request_id: str) -> str:
    try:
        return check_request_id(request_id)
    except InvalidRequestError as error:
        raise SubmissionUnknownError("accepted, but with no usable request ID") from error


def _check_open(engine: Engine) -> None:
    if (closed_by := engine.closed_by) is not None:
        raise copy.copy(closed_by) from closed_by.__cause__


async def _slot(engine: Engine, attempt: _Attempt, not_before: float) -> None:
    await engine.slot(submission=True, at=not_before)
    if attempt.intent is not None and attempt.intent.is_withdrawn:
        # Not before its slot, which may be long in coming: a crash leaves it as never sent.
        try:
            await attempt.intent.write()
            _check_open(engine)
        except BaseException:
            engine.submitted()
            raise
    attempt.is_sent()


async def _send(
    engine: Engine,
    source: SubmissionSource,
    statement: str,
    timeout: float,
    attempt: _Attempt,
    accepted: Callable[[str], None] | None,
) -> str:
    # Only a refusal for its rate, after which nothing runs, is followed by another attempt.
    loop = asyncio.get_running_loop()
    row: RefusalRow | None = None
    not_before = -math.inf
    while True:
        await _slot(engine, attempt, not_before)
        sent_at = loop.time()
        try:
            async with asyncio.timeout(timeout):
                answer = await source.submit(statement)
        except (InvalidRequestError, TrackerClosedError):
            # Refused by our own side, before anything was sent.
            attempt.progress.on_the_wire = False
            raise
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise SubmissionUnknownError("the source was cancelled from within") from error
        except ThrottledError as error:
            attempt.progress.on_the_wire = False
            row, not_before = engine.submission_throttled(row, sent_at, error)
            attempt.was_refused()
        except UnauthorizedError as error:
            failure = engine.submission_unauthorized(error)
            if failure is not None:
                raise failure from error
            # The credentials were good a moment ago: it is this statement they may not run.
            raise SubmissionRejectedError(error.reason, http_status=error.http_status) from error
        except SubmissionRejectedError:
            engine.accepted(sent_at, row)
            raise
        except TimeoutError as error:
            raise SubmissionUnknownError(f"no reply within {timeout:g} s") from error
        else:
            engine.accepted(sent_at, row)
            attempt.progress.request_id = request_id = _usable(answer)
            if accepted is not None:
                accepted(request_id)
            return request_id
        finally:
            engine.submitted()
