"""
The trigger: tracks many requests in the triggerer, on a tracker that it shares with others.
"""

from __future__ import annotations

from typing import Any

from onehouse_tracker.integrations.airflow._airflow import (
    AIRFLOW_3,
    RETRIES_FROM_TRIGGERER,
    TaskFailedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    counted,
    describe_ids,
)
from onehouse_tracker.integrations.airflow._labels import Labels, packed, unpacked
from onehouse_tracker.integrations.airflow._project_trigger import (
    ProjectTrigger,
    each_with_reports,
)
from onehouse_tracker.integrations.airflow._request_ids import request_ids_in
from onehouse_tracker.integrations.airflow._starts import Starts, unpacked_starts
from onehouse_tracker.integrations.airflow._task_result import TaskResult, how_ended
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID
from onehouse_tracker.models import Request, Result
from onehouse_tracker.tracker import Tracker

__all__ = ["OnehouseTrackTrigger"]


class OnehouseTrackTrigger(ProjectTrigger):
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

        submitted_at: When they were submitted, in ISO 8601 with a time zone; an operator says
            it of each.  Nothing is learned from how long they took where it is `None`.

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
        submitted_at: Starts = None,
        deadline: str | float | None = None,
        limit: str | None = None,
        on_partial: str = "succeed",
        end_from_trigger: bool = False,
    ) -> None:
        super().__init__(conn_id=conn_id, deadline=deadline, limit=limit)
        self.request_ids = request_ids
        self.labels = labels
        self.submitted_at = submitted_at
        self.on_partial = on_partial
        self.end_from_trigger = end_from_trigger
        self._ended: dict[str, Result] = {}
        self._requests: list[Request] = []

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
        receive these, and would wait for them forever.
        """
        if "ti" in context:
            context = {**context, "ti": _OneXCom(context["ti"])}
        super().render_template_fields(context=context, jinja_env=jinja_env)

    # --- Tracking ----------------------------------------------------------------------

    def _prepare(self) -> None:
        # If there is none in it, none is pending.
        found, self.request_ids = self.request_ids, []
        self.request_ids = request_ids_in(found)
        starts = unpacked_starts("submitted_at", self.submitted_at, len(self.request_ids))
        self._timeout()  # a deadline that makes no sense is refused here
        labels = unpacked(self.labels, len(self.request_ids))
        self._requests = [
            Request(request_id, label=label, submitted_at=submitted_at)
            for request_id, label, submitted_at in zip(
                self.request_ids, labels, starts, strict=True
            )
        ]

    async def _wait_once(self, tracker: Tracker) -> None:
        waiting = [one for one in self._requests if one.request_id not in self._ended]
        async with tracker.as_completed(waiting, timeout=self._timeout()) as completions:
            async for result in each_with_reports(completions, lambda: self._report(tracker)):
                self._ended[result.request_id] = result
                if not result.ok:
                    self.log.warning(
                        "request %s %s",
                        result.request_id,
                        how_ended(result.outcome, result.reason, self.limit),
                    )

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
        self.log.info("%s: %r", counted(len(self.request_ids), "request"), payload)
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
