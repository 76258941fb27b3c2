"""
The trigger: follows many requests in the triggerer, on a tracker that it shares with others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from onehouse_tracker.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    ProjectError,
    TrackerClosedError,
    TrackerError,
)
from onehouse_tracker.integrations.airflow._airflow import (
    AIRFLOW_3,
    AirflowException,
    BaseTrigger,
    TaskFailedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.integrations.airflow._event_payload import EventPayload, describe_ids
from onehouse_tracker.integrations.airflow._labels import Labels, packed, unpacked
from onehouse_tracker.integrations.airflow._request_ids import request_ids_in
from onehouse_tracker.integrations.airflow._shared_resources import Shared
from onehouse_tracker.integrations.airflow._task_result import TaskResult
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID, OnehouseHook
from onehouse_tracker.models import Request, Result
from onehouse_tracker.tracker import Tracker

__all__ = ["OnehouseTrackTrigger"]

_LINGER: Final = 5.0
"""Seconds that a tracker without users stays open: the triggerer starts triggers once a second,
and what a local limiter knows of the last slot must not be forgotten before the next one."""

_LAST_LOOK: Final = 10.0
"""Seconds for those whose deadline passed while no triggerer ran: they may long have ended."""

_REPORT: Final = 60.0
"""Seconds between two lines of the log that say what is pending."""

_SPOILT: Final = (AuthenticationError, TrackerClosedError)
"""After these the connection is read again, and a new tracker opened, once for each trigger:
credentials may have been changed since."""


@asynccontextmanager
async def _open_connection(conn_id: str) -> AsyncIterator[Project]:
    yield await OnehouseHook(conn_id).read_project()


def _open_tracker(project: Project) -> AbstractAsyncContextManager[Tracker]:
    return project.tracker()


# One of each for all triggers of a loop.
_projects: Final = Shared[str, Project](_open_connection, spoilt_by=_SPOILT)
_trackers: Final = Shared[Project, Tracker](
    _open_tracker,
    linger=_LINGER,
    # One whose credentials were refused can be asked again.
    spoilt_by=(TrackerClosedError,),
)


class OnehouseTrackTrigger(BaseTrigger):
    """
    Follows requests until each has its outcome, and then fires one event.

    It submits nothing, so it can be started again anywhere at any time.  All triggers of one
    event loop whose connections are equal share one tracker, and with it one budget.

    Airflow stores the arguments; on MySQL they must fit into 64 KB, which is the case for
    1,000 request IDs.  What the event holds, `EventPayload` tells.

    Args:
        request_ids: What to follow, in any form in which another task pushes it: a template of
            `start_from_trigger` may bring a text, or the results of an `OnehouseSqlOperator`.

        conn_id: The connection.

        labels: Your name for the kind of statement of each request, in the same order, or one
            for all.  Hundreds of different ones are not stored.

        submitted_at: When the first of them was submitted, in ISO 8601 with a time zone.

        deadline: Until when to wait, in ISO 8601 with a time zone; `None` waits without limit.

        on_partial: Whether a partial success is one, ``"succeed"`` or ``"fail"``; of importance
            only together with ``end_from_trigger``.

        end_from_trigger: End the task here, without a worker: it succeeds and pushes the
            results, or it fails if no retry is left.  Otherwise a worker is told.
    """

    def __init__(
        self,
        request_ids: Any,
        *,
        conn_id: str = DEFAULT_CONN_ID,
        labels: Labels = None,
        submitted_at: str | None = None,
        deadline: str | None = None,
        on_partial: str = "succeed",
        end_from_trigger: bool = False,
    ) -> None:
        super().__init__()
        self.request_ids = request_ids
        self.conn_id = conn_id
        self.labels = labels
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.on_partial = on_partial
        self.end_from_trigger = end_from_trigger
        self._ended: dict[str, Result] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Tell Airflow how to make another one of us."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "request_ids": self.request_ids,
                "conn_id": self.conn_id,
                "labels": packed(self.labels),
                "submitted_at": self.submitted_at,
                "deadline": self.deadline,
                "on_partial": self.on_partial,
                "end_from_trigger": self.end_from_trigger,
            },
        )

    def __repr__(self) -> str:
        ids = self.request_ids
        # Before it runs this may be anything, even a reference to another task's XCom.
        requests = f"{len(ids)} requests" if isinstance(ids, list | tuple) else "requests"
        return f"<OnehouseTrackTrigger: {requests}, {self.conn_id}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Follow the requests, and fire one event when all have ended.

        Being cancelled, as by a triggerer that ends, changes nothing at the server: whoever
        runs the trigger next goes on.
        """
        news = await self._follow()
        self.log.info("%d requests: %r", len(self.request_ids), news)
        yield self._event(news)

    async def on_kill(self) -> None:
        """Say what goes on at the server: there is no way to cancel a request by its ID."""
        pending = self._pending()
        if pending:
            self.log.warning(
                "the task was ended, but %d requests go on at the server: %s",
                len(pending),
                ", ".join(pending),
            )

    # --- Following ---------------------------------------------------------------------

    async def _follow(self) -> EventPayload:
        try:
            requests = self._requests()
            try:
                await self._follow_once(requests)
            except _SPOILT as error:
                self.log.warning("trying again with the connection as it is now: %s", error)
                await self._follow_once(requests)
        except (TrackerError, AirflowException) as error:
            return self._news(
                error=_explain(error),
                hopeless=isinstance(error, ConfigError | InvalidRequestError),
            )
        return self._news()

    async def _follow_once(self, requests: Sequence[Request]) -> None:
        """Follow what has not ended, and keep what ends."""
        open_requests = [one for one in requests if one.request_id not in self._ended]
        async with (
            _projects.use(self.conn_id) as project,
            _trackers.use(project) as tracker,
            tracker.as_completed(open_requests, timeout=self._timeout()) as completions,
        ):
            self._report(tracker)
            loop = asyncio.get_running_loop()
            report_at = loop.time() + _REPORT
            while True:
                pause = asyncio.timeout_at(report_at)
                try:
                    async with pause:
                        result = await anext(completions)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if not pause.expired():
                        raise
                    self._report(tracker)
                    report_at = loop.time() + _REPORT
                    continue
                self._ended[result.request_id] = result
                if not result.ok:
                    self.log.warning(
                        "request %s ended %s: %s",
                        result.request_id,
                        result.outcome,
                        result.reason or "the server gave no reason",
                    )

    def _requests(self) -> list[Request]:
        # If there is none in it, none is pending.
        found, self.request_ids = self.request_ids, []
        self.request_ids = request_ids_in(found)
        submitted_at = _moment("submitted_at", self.submitted_at)
        _moment("deadline", self.deadline)
        labels = unpacked(self.labels, len(self.request_ids))
        return [
            Request(request_id, label=label, submitted_at=submitted_at)
            for request_id, label in zip(self.request_ids, labels, strict=True)
        ]

    def _timeout(self) -> float | None:
        deadline = _moment("deadline", self.deadline)
        if deadline is None:
            return None
        return max(_LAST_LOOK, (deadline - datetime.now(UTC)).total_seconds())

    def _report(self, tracker: Tracker) -> None:
        pending = self._pending()
        self.log.info(
            "%d of %d requests pending: %s; of all triggers together %d, and one round of"
            " questions takes %.1f s",
            len(pending),
            len(self.request_ids),
            describe_ids(pending),
            tracker.stats().pending,
            tracker.stats().round_time,
        )

    def _pending(self) -> list[str]:
        return [key for key in dict.fromkeys(self.request_ids) if key not in self._ended]

    # --- Telling -----------------------------------------------------------------------

    def _news(self, *, error: str | None = None, hopeless: bool = False) -> EventPayload:
        ids = dict.fromkeys(self.request_ids)
        return EventPayload.of(
            (self._ended[key] for key in ids if key in self._ended),
            error=error,
            pending=self._pending(),
            hopeless=hopeless,
        )

    def _event(self, news: EventPayload) -> TriggerEvent:
        if not self.end_from_trigger:
            return TriggerEvent(news)
        verdict = TaskResult.of(news, on_partial=self.on_partial)
        if verdict.ok:
            return TaskSuccessEvent(xcoms={"return_value": news["results"]})
        if self._retries_are_left():
            # A worker fails the task, so that Airflow retries it; an event of the trigger's
            # would be the end of it.
            return TriggerEvent(news)
        self.log.error("%s", verdict.message)
        return TaskFailedEvent(xcoms={"return_value": news["results"]})

    def _retries_are_left(self) -> bool:
        ti = self.task_instance
        if AIRFLOW_3:
            # It tells a trigger nothing of the tries: where there is a number, it is a default.
            # With `start_from_trigger` it tells of the task, and one without retries has none
            # left, even when it was cleared.  Else a worker knows.
            return getattr(getattr(ti, "task", None), "retries", None) != 0
        tries = getattr(ti, "max_tries", None)
        return tries is None or int(getattr(ti, "try_number", 1)) <= int(tries)


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is a time in ISO 8601, not {text!r}") from None
    if moment.tzinfo is None:
        raise ConfigError(f"{name} needs a time zone: {text}")
    return moment


def _explain(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, ProjectError):
        text += "; the requests go on at the server, and another try goes on with them"
    return text
