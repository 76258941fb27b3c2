"""
The trigger: tracks many requests in the triggerer, on a tracker that it shares with others.
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
    RETRIES_FROM_TRIGGERER,
    AirflowException,
    BaseTrigger,
    TaskFailedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    counted,
    describe_ids,
)
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

_MIN_DEFERRAL: Final = 8.0 if AIRFLOW_3 else 0.0
"""Seconds from its start to its event, at least, if the connection does not say otherwise.

The scheduler of Airflow 3 may learn that the worker has deferred the task only after a worker has
resumed it; it then takes the task for one that has died (its issues 71580 and 72716)."""

_LAST_LOOK: Final = 10.0
"""Seconds for those whose deadline passed while no triggerer ran: they may long have ended."""

_REPORT: Final = 60.0
"""Seconds between two lines of the log that say what is pending."""

_INVALID: Final = (AuthenticationError, TrackerClosedError)
"""After these the connection is read again, and a new tracker opened, once for each trigger:
credentials may have been changed since."""


@asynccontextmanager
async def _open_connection(conn_id: str) -> AsyncIterator[Project]:
    yield await OnehouseHook(conn_id).read_project()


def _open_tracker(project: Project) -> AbstractAsyncContextManager[Tracker]:
    return project.tracker()


# One of each for all triggers of a loop.
_projects: Final = Shared[str, Project](_open_connection, invalid_after=_INVALID)
_trackers: Final = Shared[Project, Tracker](
    _open_tracker,
    linger=_LINGER,
    # One whose credentials were refused can be tried again.
    invalid_after=(TrackerClosedError,),
)


class OnehouseTrackTrigger(BaseTrigger):
    """
    Tracks requests until each has its outcome, and then fires one event.

    It submits nothing, so it can be started again anywhere at any time.  All triggers of one
    event loop whose connections are equal share one tracker, and with it one rate limit.

    On Airflow 3 it fires no earlier than 8 seconds after it started, since the scheduler fails
    tasks whose deferral is shorter; ``min_deferral`` in the connection's extra field changes
    that.

    Airflow stores the arguments; on MySQL they must fit into 64 KB, which is the case for
    1,000 request IDs.  `EventPayload` describes the event.

    Args:
        request_ids: What to track, in any form in which another task pushes it: a template of
            `start_from_trigger` may bring a string, or the results of an `OnehouseSqlOperator`.

        conn_id: The connection.

        labels: Your name for the kind of statement of each request, in the same order, or one
            for all.  Hundreds of different ones are not stored.

        submitted_at: When the first of them was submitted, in ISO 8601 with a time zone.

        deadline: Until when to wait, in ISO 8601 with a time zone; or, for a task that begins in
            the triggerer, seconds from there; `None` waits without limit.

        limit: What set the deadline, for messages.

        on_partial: Whether a partial success is one, ``"succeed"`` or ``"fail"``; used only
            together with ``end_from_trigger``.

        end_from_trigger: End the task here, without a worker: it succeeds and pushes the
            results, or it fails, if Airflow can retry it from here or no retry is left.
            Otherwise a worker ends it.
    """

    def __init__(
        self,
        request_ids: Any,
        *,
        conn_id: str = DEFAULT_CONN_ID,
        labels: Labels = None,
        submitted_at: str | None = None,
        deadline: str | float | None = None,
        limit: str | None = None,
        on_partial: str = "succeed",
        end_from_trigger: bool = False,
    ) -> None:
        super().__init__()
        self.request_ids = request_ids
        self.conn_id = conn_id
        self.labels = labels
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.limit = limit
        self.on_partial = on_partial
        self.end_from_trigger = end_from_trigger
        self._ended: dict[str, Result] = {}
        self._min_deferral = _MIN_DEFERRAL

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow makes an equal trigger of."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "request_ids": self.request_ids,
                "conn_id": self.conn_id,
                "labels": packed(self.labels),
                "submitted_at": self.submitted_at,
                "deadline": self.deadline,
                "limit": self.limit,
                "on_partial": self.on_partial,
                "end_from_trigger": self.end_from_trigger,
            },
        )

    def __repr__(self) -> str:
        ids = self.request_ids
        # Before it runs this may be anything, even a reference to another task's XCom.
        requests = counted(len(ids), "request") if isinstance(ids, list | tuple) else "requests"
        return f"<OnehouseTrackTrigger: {requests}, {self.conn_id}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Track the requests, and fire one event when all have ended.

        Being cancelled, as by a triggerer that ends, changes nothing on the server: the next
        triggerer that runs the trigger continues.
        """
        started = asyncio.get_running_loop().time()
        payload = await self._track()
        self.log.info("%s: %r", counted(len(self.request_ids), "request"), payload)
        event = self._event(payload)
        if type(event) is TriggerEvent:
            # What ends the task here needs no worker, and meets no scheduler that is late.
            await asyncio.sleep(started + self._min_deferral - asyncio.get_running_loop().time())
        yield event

    async def on_kill(self) -> None:
        """Say what continues on the server: there is no way to cancel a request by its ID."""
        pending = self._pending()
        if pending:
            self.log.warning(
                "the task was ended, but %s on the server: %s",
                "1 request continues"
                if len(pending) == 1
                else f"{len(pending)} requests continue",
                ", ".join(pending),
            )

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """
        Fill in the templates of a task that begins in the triggerer.

        `xcom_pull` asks a triggerer for one XCom, never for those of all map indexes: it cannot
        receive these, and would wait for them for ever.
        """
        if "ti" in context:
            context = {**context, "ti": _OneXCom(context["ti"])}
        super().render_template_fields(context=context, jinja_env=jinja_env)

    # --- Tracking ----------------------------------------------------------------------

    async def _track(self) -> EventPayload:
        try:
            requests = self._requests()
            try:
                await self._track_once(requests)
            except _INVALID as error:
                self.log.warning("trying again with the connection as it is now: %s", error)
                await self._track_once(requests)
        except (TrackerError, AirflowException) as error:
            return self._payload(
                error=_explain(error),
                hopeless=isinstance(error, ConfigError | InvalidRequestError),
            )
        return self._payload()

    async def _track_once(self, requests: Sequence[Request]) -> None:
        """Track what has not ended, and keep what ends."""
        open_requests = [one for one in requests if one.request_id not in self._ended]
        async with (
            _projects.use(self.conn_id) as project,
            _trackers.use(project) as tracker,
            tracker.as_completed(open_requests, timeout=self._timeout()) as completions,
        ):
            if project.min_deferral is not None:
                self._min_deferral = project.min_deferral
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
        self._timeout()  # a deadline that makes no sense is refused here
        labels = unpacked(self.labels, len(self.request_ids))
        return [
            Request(request_id, label=label, submitted_at=submitted_at)
            for request_id, label in zip(self.request_ids, labels, strict=True)
        ]

    def _timeout(self) -> float | None:
        if isinstance(self.deadline, float | int):
            return self.deadline
        deadline = _moment("deadline", self.deadline)
        if deadline is None:
            return None
        return max(_LAST_LOOK, (deadline - datetime.now(UTC)).total_seconds())

    def _report(self, tracker: Tracker) -> None:
        pending = self._pending()
        self.log.info(
            "%d of %s pending: %s; %d of all triggers together, and polling each of them once"
            " takes %.1f s",
            len(pending),
            counted(len(self.request_ids), "request"),
            describe_ids(pending),
            tracker.stats().pending,
            tracker.stats().round_time,
        )

    def _pending(self) -> list[str]:
        return [key for key in dict.fromkeys(self.request_ids) if key not in self._ended]

    # --- Reporting ---------------------------------------------------------------------

    def _payload(self, *, error: str | None = None, hopeless: bool = False) -> EventPayload:
        ids = dict.fromkeys(self.request_ids)
        return EventPayload.of(
            (self._ended[key] for key in ids if key in self._ended),
            order=list(ids),
            error=error,
            pending=self._pending(),
            hopeless=hopeless,
            limit=self.limit,
        )

    def _event(self, payload: EventPayload) -> TriggerEvent:
        if not self.end_from_trigger:
            return TriggerEvent(payload)
        result = TaskResult.of(payload, on_partial=self.on_partial)
        if result.ok:
            (self.log.warning if result.is_partial else self.log.info)("%s", result.message)
            return TaskSuccessEvent(xcoms={"return_value": payload["results"]})
        if self._needs_worker(result):
            return TriggerEvent(payload)
        self.log.error("%s", result.message)
        return TaskFailedEvent(xcoms={"return_value": payload["results"]})

    def _needs_worker(self, result: TaskResult) -> bool:
        """Whether only a worker fails the task in such a way that its retries are respected."""
        if not self._retries_may_be_left():
            return False
        # Where Airflow retries what a trigger has failed, it also retries what is hopeless.
        return result.hopeless or not RETRIES_FROM_TRIGGERER

    def _retries_may_be_left(self) -> bool:
        ti = self.task_instance
        if AIRFLOW_3:
            # A trigger cannot see the tries here: where there is a number, it is a default.  With
            # `start_from_trigger` it sees the task, and one without retries has none left, even
            # when it was cleared.  Otherwise only a worker knows.
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
        text += "; the requests continue on the server, and another try continues to track them"
    return text


class _OneXCom:
    """A task instance whose `xcom_pull` asks for the XCom of a task that is not mapped."""

    def __init__(self, task_instance: Any) -> None:
        self._task_instance = task_instance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task_instance, name)

    def xcom_pull(self, *args: Any, **kwargs: Any) -> Any:
        """As the task instance does."""
        kwargs.setdefault("map_indexes", -1)
        return self._task_instance.xcom_pull(*args, **kwargs)
