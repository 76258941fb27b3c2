"""
What a task does on a worker: submit statements one by one, and wait there if it does not defer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from logging import Logger
from types import TracebackType
from typing import Final, Self

from onehouse_tracker import sync
from onehouse_tracker.client import OnehouseClient
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
from onehouse_tracker.integrations.airflow._news import News, describe_ids
from onehouse_tracker.integrations.airflow._submissions import Known, Submissions, label_of
from onehouse_tracker.models import Outcome, Request, Result, StatusReply

__all__ = ["WatchedClient", "follow_here", "submit_missing"]

_REPORT: Final = 60.0
"""Seconds between two lines of the log that say what is pending."""


class WatchedClient:
    """
    A client that knows whether a submission may have reached the server.

    A worker can be told to stop at any moment: whether the statement was on its way by then
    decides whether anybody can know its fate.
    """

    def __init__(self, client: OnehouseClient) -> None:
        self._client = client
        self.credentials = client.credentials
        self.request_timeout = client.request_timeout
        self.may_have_sent = False

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

    async def fetch(self, request_id: str) -> StatusReply:
        """As the client does."""
        return await self._client.fetch(request_id)

    async def submit(self, statement: str) -> str:
        """As the client does."""
        self.may_have_sent = True
        try:
            return await self._client.submit(statement)
        except (
            ThrottledError,
            UnauthorizedError,
            SubmissionRejectedError,
            SubmissionUnsentError,
            InvalidRequestError,
        ):
            self.may_have_sent = False
            raise


def submit_missing(
    tracker: sync.Tracker,
    client: WatchedClient,
    statements: Sequence[str],
    record: Submissions,
    log: Logger,
) -> list[Known]:
    """
    Submit what no earlier try of the task submitted, and return all of it.

    Raises:
        FateUnknownError: Of some statement nobody knows whether it runs.

        SubmissionError: The server refused one, or it was not sent; those before it go on.

        ProjectError: Nothing more can be submitted now.
    """
    known = record.known()
    if known:
        log.info(
            "an earlier try submitted %d of %d statements, which are not submitted again: %s",
            len(known),
            len(statements),
            describe_ids(one.request_id for one in known.values()),
        )
    try:
        for index, statement in enumerate(statements):
            if index not in known:
                _submit(tracker, client, statement, index, record)
                one = record.known_at(index)
                log.info(
                    "submitted statement %d of %d (%s) as request %s",
                    index + 1,
                    len(statements),
                    label_of(statement),
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
    client.may_have_sent = False
    try:
        record.intend(index)
        handle = tracker.submit(statement, label=label_of(statement))
    except SubmissionUnknownError as error:
        raise record.unknown_now(index) from error
    except BaseException as error:
        # Also when the worker is told to stop: an intent that was certainly not carried out
        # must not keep the next try from it.
        accepted = error.pending if isinstance(error, ProjectError) else ()
        if accepted:
            record.accept(index, accepted[0])
        elif not client.may_have_sent:
            record.forget([index])
        elif isinstance(error, TrackerError) and not isinstance(error, SubmissionError):
            raise record.unknown_now(index) from error
        raise
    record.accept(index, handle.request_id)
    handle.cancel()


def follow_here(
    tracker: sync.Tracker,
    requests: Sequence[Request],
    *,
    timeout: float | None,
    log: Logger,
    on_pending: Callable[[list[str]], None],
) -> News:
    """
    Wait for *requests* on this worker, and say in the log what is pending.

    Args:
        tracker: Follows them.

        requests: What to wait for.

        timeout: Seconds; `None` waits without limit.

        log: Where to say it.

        on_pending: Told what is pending, whenever that is said in the log.
    """
    ended: dict[str, Result] = {}
    waiting: Mapping[str, Request] = {one.request_id: one for one in requests}
    # Followed as long as these live, also between two waits.
    handles = [tracker.track(one) for one in requests]
    left = timeout
    error: ProjectError | None = None
    while True:
        pending = [key for key in waiting if key not in ended]
        on_pending(pending)
        if not pending or (left is not None and left <= 0):
            break
        log.info(
            "%d of %d requests pending: %s", len(pending), len(waiting), describe_ids(pending)
        )
        pause = _REPORT if left is None else min(_REPORT, left)
        left = None if left is None else left - pause
        try:
            results = tracker.wait_all([waiting[key] for key in pending], timeout=pause)
        except ProjectError as failure:
            error = failure
            results = failure.results or {}  # type: ignore[assignment]
        is_last = error is not None or (left is not None and left <= 0)
        # What is UNREACHABLE was given up; only what this pause was too short for goes on.
        ended |= {
            key: one
            for key, one in results.items()
            if one.outcome is not Outcome.TIMED_OUT or is_last
        }
        if error is not None:
            break
    del handles
    pending = [key for key in waiting if key not in ended]
    return News.of(
        (ended[key] for key in waiting if key in ended),
        error=None if error is None else f"{error}; another try goes on with them",
        pending=pending,
    )
