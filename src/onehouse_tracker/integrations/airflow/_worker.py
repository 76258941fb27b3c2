"""
What a task does on a worker: submit statements one by one, and wait there if it does not defer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from logging import Logger
from types import TracebackType
from typing import Final, Self

from onehouse_tracker import sync
from onehouse_tracker.errors import (
    InvalidRequestError,
    ProjectError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    ThrottledError,
    TrackerError,
    UnauthorizedError,
)
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    counted,
    describe_ids,
)
from onehouse_tracker.integrations.airflow._submissions import Known, Submissions
from onehouse_tracker.models import Outcome, Request, Result, StatusReply
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.labels import label_of

__all__ = ["StoppedError", "WatchedClient", "submit_missing", "track_here"]

_STOPPED: Final = "the task was ended while it submitted; what was accepted continues"

_REPORT: Final = 60.0
"""Seconds between two lines of the log that say what is pending."""


class StoppedError(Exception):
    """The task was ended while it submitted."""


class WatchedClient:
    """
    A client that knows whether a submission may have reached the server.

    A worker can be stopped at any moment: whether the statement was on its way by then decides
    whether anybody can know its fate.  So the intent is written down between the slot and the
    request, not earlier.
    """

    def __init__(self, client: OnehouseClient) -> None:
        self._client = client
        self.credentials = client.credentials
        self.request_timeout = client.request_timeout
        self.may_have_sent = False
        self.request_id: str | None = None
        self._intend: Callable[[], None] = _nothing
        self._forget: Callable[[], None] = _nothing
        self._is_stopped = False
        self._can_be_stopped = False

    def stop(self) -> None:
        """
        Submit nothing more.  For a signal handler, in the thread that submits.

        A statement that waits for its slot is given up at once.  One that is on the wire is not:
        its answer may still come in time, and without it nobody would know its fate.

        Raises:
            StoppedError: In place of what waits.
        """
        self._is_stopped = True
        if self._can_be_stopped and not self.may_have_sent:
            self._can_be_stopped = False
            raise StoppedError(_STOPPED)

    @contextmanager
    def watching(
        self, *, intend: Callable[[], None], forget: Callable[[], None]
    ) -> Iterator[None]:
        """
        Submit one statement within the block.

        Args:
            intend: Called right before each attempt to send it, on the tracker's thread.

            forget: Called there when the server refused an attempt: nothing runs.

        Raises:
            StoppedError: `stop` was called.
        """
        self.may_have_sent = False
        self.request_id = None
        self._intend, self._forget = intend, forget
        # In this order: a signal may come between any two steps.
        self._can_be_stopped = True
        try:
            self._check()
            yield
        finally:
            self._can_be_stopped = False

    @property
    def is_open(self) -> bool:
        """As of the client."""
        return self._client.is_open

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(exc_type, exc, traceback)

    async def warm_up(self, connections: int | None = None) -> None:
        """As the client does."""
        await self._client.warm_up(connections)

    async def hold(self) -> Callable[[], None]:
        """As the client does."""
        return await self._client.hold()

    @property
    def max_connections(self) -> int | None:
        """As of the client."""
        return self._client.max_connections

    def forget_connections(self) -> None:
        """As the client does."""
        self._client.forget_connections()

    async def fetch(self, request_id: str) -> StatusReply:
        """As the client does."""
        return await self._client.fetch(request_id)

    async def submit(self, statement: str) -> str:
        """As the client does, and with the intent written down before."""
        self._check()
        # It blocks this loop, which has nothing else to do: so no other write can overtake it.
        self._intend()
        # A caller that stopped waiting meanwhile is noticed before anything is sent: in the first
        # turn of the loop if it was cancelled, in the second if a timer did it.
        for _ in range(2):
            await asyncio.sleep(0)
        self.may_have_sent = True
        try:
            self.request_id = await self._client.submit(statement)
        except (
            ThrottledError,
            UnauthorizedError,
            SubmissionRejectedError,
            SubmissionUnsentError,
            InvalidRequestError,
        ):
            self.may_have_sent = False
            # The next slot may be far, and what dies before it has sent nothing.
            self._forget()
            raise
        return self.request_id

    def _check(self) -> None:
        if self._is_stopped:
            raise StoppedError(_STOPPED)


def submit_missing(
    tracker: sync.Tracker,
    client: WatchedClient,
    statements: Sequence[str],
    record: Submissions,
    log: Logger,
    *,
    on_accepted: Callable[[list[str]], None],
) -> list[Known]:
    """
    Submit what no earlier try of the task submitted, and return all of it.

    Args:
        tracker: Gives each its slot.

        client: What *tracker* sends with.

        statements: What to submit, in this order.

        record: What the tries of the task have submitted.

        log: Where to log what is submitted.

        on_accepted: Called with the request IDs so far, whenever there is one more.

    Raises:
        StoppedError: The task was ended.

        FateUnknownError: Nothing says whether some statement runs.

        SubmissionError: The server refused one, or it was not sent; those before it continue.

        ProjectError: Nothing more can be submitted now.
    """
    known = record.known()
    if known:
        log.info(
            "an earlier try submitted %d of %s, which are not submitted again: %s",
            len(known),
            counted(len(statements), "statement"),
            describe_ids(one.request_id for one in known.values()),
        )
    accepted = [one.request_id for one in known.values()]
    on_accepted(accepted)
    try:
        for index, statement in enumerate(statements):
            if index not in known:
                _submit(tracker, client, statement, index, record)
                one = record.known_at(index)
                accepted.append(one.request_id)
                on_accepted(accepted)
                log.info(
                    "submitted statement %d of %d (%s) as request %s",
                    index + 1,
                    len(statements),
                    label_of(statement) or "SQL",
                    one.request_id,
                )
    finally:
        record.flush()
    return list(record.known().values())


def _submit(
    tracker: sync.Tracker,
    client: WatchedClient,
    statement: str,
    index: int,
    record: Submissions,
) -> None:
    try:
        with client.watching(
            intend=partial(record.intend, index), forget=partial(record.forget, [index])
        ):
            handle = tracker.submit(statement, label=label_of(statement))
    except BaseException as error:
        # Also when the worker is stopped: an intent that was certainly not carried out must not
        # keep the next try from it, and an answer that came must not get lost.
        if client.request_id is not None:
            record.accept(index, client.request_id)
        elif not client.may_have_sent:
            record.forget([index])
        elif isinstance(error, SubmissionUnknownError) or (
            isinstance(error, TrackerError) and not isinstance(error, SubmissionError)
        ):
            raise record.unknown_now(index) from error
        raise
    record.accept(index, handle.request_id)
    # Now, and not with the next intent: its slot may be far.
    record.flush()
    handle.cancel()


def _nothing() -> None:
    """Do nothing, where a callback is optional."""


def track_here(
    tracker: sync.Tracker,
    requests: Sequence[Request],
    *,
    timeout: float | None,
    log: Logger,
    on_pending: Callable[[list[str]], None],
    limit: str | None = None,
) -> EventPayload:
    """
    Wait for *requests* on this worker, and log what is pending.

    Args:
        tracker: Tracks them.

        requests: What to wait for.

        timeout: Seconds; `None` waits without limit.

        log: Where to log it.

        on_pending: Called with what is pending, whenever that is logged.

        limit: What set *timeout*, for messages.
    """
    ended: dict[str, Result] = {}
    waiting: Mapping[str, Request] = {one.request_id: one for one in requests}
    # Tracked also between two waits; results are remembered as long as these live.
    handles = [tracker.track(one) for one in requests]
    left = timeout
    error: ProjectError | None = None
    while True:
        pending = [key for key in waiting if key not in ended]
        on_pending(pending)
        if not pending or (left is not None and left <= 0):
            break
        log.info(
            "%d of %s pending: %s",
            len(pending),
            counted(len(waiting), "request"),
            describe_ids(pending),
        )
        pause = _REPORT if left is None else min(_REPORT, left)
        left = None if left is None else left - pause
        try:
            results = tracker.wait_all([waiting[key] for key in pending], timeout=pause)
        except ProjectError as failure:
            error = failure
            results = failure.results or {}  # type: ignore[assignment]
        is_last = error is not None or (left is not None and left <= 0)
        # What is UNREACHABLE was given up; only what this pause was too short for is still open.
        ended |= {
            key: one
            for key, one in results.items()
            if one.outcome is not Outcome.TIMED_OUT or is_last
        }
        if error is not None:
            break
    del handles
    pending = [key for key in waiting if key not in ended]
    return EventPayload.of(
        (ended[key] for key in waiting if key in ended),
        order=list(waiting),
        error=None if error is None else f"{error}; another try continues to track them",
        pending=pending,
        limit=limit,
    )
