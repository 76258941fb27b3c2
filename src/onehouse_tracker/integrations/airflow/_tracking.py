"""
What all operators share: track requests, here or in the triggerer, and end as they did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from onehouse_tracker.errors import TrackerError
from onehouse_tracker.integrations.airflow._airflow import (
    AirflowException,
    AirflowFailException,
    BaseOperator,
    BaseOperatorLink,
    default_deferrable,
)
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    counted,
    describe_ids,
    json_of,
)
from onehouse_tracker.integrations.airflow._limits import Deadline, seconds_of
from onehouse_tracker.integrations.airflow._lineage import lineage
from onehouse_tracker.integrations.airflow._starts import packed_starts
from onehouse_tracker.integrations.airflow._task_result import (
    TaskResult,
    check_on_partial,
    ended_wrong,
    how_ended,
    named,
)
from onehouse_tracker.integrations.airflow._worker import track_here
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID, OnehouseHook
from onehouse_tracker.integrations.airflow.links import REPORT_KEY, OnehouseReportLink
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger
from onehouse_tracker.models import Outcome, Request

__all__ = ["TrackingOperator", "started_at"]

_LOOK: Final = 5.0
"""Seconds that a retry polls on the worker before it defers."""


class TrackingOperator(BaseOperator):
    """The arguments that are common to all, and what happens after a submission."""

    operator_extra_links: tuple[BaseOperatorLink, ...] = (OnehouseReportLink(),)
    noun = "request"
    """What messages call one of the things that the task waits for."""

    def __init__(
        self,
        *,
        conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool | None = None,
        defer_after: float = 0.0,
        on_partial: str = "succeed",
        follow_timeout: float | timedelta | None = None,
        report_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_on_partial(on_partial)
        self.conn_id = conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.defer_after = defer_after
        self.on_partial = on_partial
        self.follow_timeout = follow_timeout
        self.report_url = report_url
        if report_url is None:
            # Airflow shows a link also where it leads nowhere.
            self.operator_extra_links = ()
        self.end_from_trigger = False
        self._pending: list[str] = []
        self._results: Sequence[Mapping[str, Any]] = ()

    def on_kill(self) -> None:
        """Say what continues on the server: there is no way to cancel a request by its ID."""
        if self._pending:
            self.log.warning(
                "the task was ended, but %s on the server: %s",
                _continuing(len(self._pending)),
                ", ".join(self._pending),
            )

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Continue with the event of the trigger."""
        return self._conclude(context, event)

    def _track(self, context: Mapping[str, Any], requests: Sequence[Request]) -> Any:
        """Wait for *requests*, here or in the triggerer, and end as they do."""
        self._push_report(context)
        if not requests:
            return self._conclude(context, {"results": []})
        self._pending = [one.request_id for one in requests]
        if not self.deferrable:
            payload = self._wait_here(requests, seconds_of(self.follow_timeout))
            return self._conclude(context, payload)
        poll_for = self.defer_after
        if getattr(context["ti"], "try_number", 1) > 1:
            # They may have ended while Airflow was busy failing the task.
            poll_for = max(poll_for, _LOOK)
        if poll_for > 0:
            payload = self._wait_here(requests, poll_for)
            if not payload.get("error") and all(
                Outcome(item["outcome"]).finished for item in payload["results"]
            ):
                return self._conclude(context, payload)
        return self._defer_to_trigger(context, requests)

    def _push_report(self, context: Mapping[str, Any]) -> None:
        if self.report_url:
            context["ti"].xcom_push(key=REPORT_KEY, value=self.report_url)

    def _wait_here(
        self, requests: Sequence[Request], timeout: float | None, limit: str | None = None
    ) -> EventPayload:
        if limit is None and timeout is not None:
            limit = f"follow_timeout of {timeout:g} s"
        with self._hook().get_conn() as tracker:
            return track_here(
                tracker,
                requests,
                timeout=timeout,
                limit=limit,
                log=self.log,
                on_pending=self._note_pending,
            )

    def _defer_to_trigger(
        self,
        context: Mapping[str, Any],
        requests: Sequence[Request],
        *,
        method: str = "execute_complete",
        kwargs: dict[str, Any] | None = None,
        since: datetime | None = None,
    ) -> NoReturn:
        ids = [one.request_id for one in requests]
        self.log.info(
            "deferring until %s ended: %s",
            "the request has" if len(ids) == 1 else f"{len(ids)} requests have",
            describe_ids(ids),
        )
        now = datetime.now(UTC)
        deadline = Deadline.first(
            [
                ("follow_timeout", since or now, self.follow_timeout),
                ("execution_timeout", started_at(context, now), self.execution_timeout),
            ]
        )
        labels = [one.label for one in requests]
        self.defer(
            trigger=OnehouseTrackTrigger(
                ids,
                conn_id=self.conn_id,
                labels=labels if any(labels) else None,
                submitted_at=packed_starts([one.submitted_at for one in requests]),
                deadline=None if deadline is None else deadline.at.isoformat(),
                limit=None if deadline is None else deadline.limit,
                on_partial=self.on_partial,
                end_from_trigger=self.end_from_trigger,
            ),
            method_name=method,
            kwargs=kwargs,
            timeout=None if deadline is None else deadline.for_airflow(now),
        )
        raise AssertionError  # pragma: no cover - deferring raises

    def _conclude(self, context: Mapping[str, Any], payload: Mapping[str, Any]) -> Any:
        """Fail the task, or return its results."""
        self._pending = []
        self._results = payload["results"]
        for item in payload["results"]:
            if ended_wrong(item, self.on_partial):
                self.log.error(
                    "%s %s",
                    named(item),
                    how_ended(item["outcome"], item.get("reason"), payload.get("limit")),
                )
        result = TaskResult.of(payload, on_partial=self.on_partial, noun=self.noun)
        self._note_end(context, payload, ok=result.ok)
        if not result.ok:
            raise (AirflowFailException if result.hopeless else AirflowException)(result.message)
        (self.log.warning if result.is_partial else self.log.info)("%s", result.message)
        return self._returned(self._with_responses(payload["results"]))

    def _note_end(
        self, context: Mapping[str, Any], payload: Mapping[str, Any], *, ok: bool
    ) -> None:
        """Take note of how the requests ended, before the task ends."""

    def _returned(self, results: list[dict[str, Any]]) -> Any:
        return results

    def _with_responses(self, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Poll once more for the responses that found no room in the event."""
        missing = [item["request_id"] for item in results if item.get("response_left_out")]
        complete = [dict(item) for item in results]
        if not missing or not self.do_xcom_push:
            return complete
        self.log.info(
            "polling for %s that found no room in the event", counted(len(missing), "response")
        )
        try:
            with self._hook().get_conn() as tracker:
                found = tracker.wait_all(missing)
        except (TrackerError, AirflowException) as error:
            # The statements succeeded, also where their responses cannot be had.
            self.log.warning(
                "the task succeeds without %s: %s", counted(len(missing), "response"), error
            )
            return complete
        for item in complete:
            response = found[item["request_id"]].response if item["request_id"] in found else None
            if response and json_of(response) is not None:
                item["response"] = response
                del item["response_left_out"]
        return complete

    def _hook(self) -> OnehouseHook:
        return OnehouseHook(self.conn_id)

    def get_openlineage_facets_on_start(self) -> Any:
        """Describe the task to OpenLineage: its statements."""
        return lineage(self._statements(), ())

    def get_openlineage_facets_on_complete(self, _: Any) -> Any:
        """Describe the task to OpenLineage: its statements, and how its requests ended."""
        return lineage(self._statements(), self._results)

    def _statements(self) -> list[str]:
        """What the task submits, for OpenLineage."""
        return []

    def _note_pending(self, pending: list[str]) -> None:
        self._pending = pending


def started_at(context: Mapping[str, Any], now: datetime) -> datetime:
    """When this try of the task began."""
    began = getattr(context["ti"], "start_date", None)
    return began if isinstance(began, datetime) else now


def _continuing(count: int) -> str:
    return "1 request continues" if count == 1 else f"{count} requests continue"
