"""
What all operators of ours do: follow requests, here or in the triggerer, and end as they did.
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
)
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    describe_ids,
    json_of,
)
from onehouse_tracker.integrations.airflow._task_result import (
    TaskResult,
    check_on_partial,
    ended_wrong,
)
from onehouse_tracker.integrations.airflow._worker import follow_here
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID, OnehouseHook
from onehouse_tracker.integrations.airflow.links import REPORT_KEY, OnehouseReportLink
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger
from onehouse_tracker.models import Outcome, Request

__all__ = ["FollowingOperator"]

_LOOK: Final = 5.0
"""Seconds that a retry looks for itself before it defers."""


class FollowingOperator(BaseOperator):
    """The arguments that are common to all, and what happens after a submission."""

    operator_extra_links = (OnehouseReportLink(),)

    def __init__(
        self,
        *,
        conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = True,
        defer_after: float = 0.0,
        on_partial: str = "succeed",
        follow_timeout: float | timedelta | None = None,
        report_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_on_partial(on_partial)
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.defer_after = defer_after
        self.on_partial = on_partial
        self.follow_timeout = follow_timeout
        self.report_url = report_url
        self.end_from_trigger = False
        self._pending: list[str] = []

    def on_kill(self) -> None:
        """Say what goes on at the server: there is no way to cancel a request by its ID."""
        if self._pending:
            self.log.warning(
                "the task was ended, but %d requests go on at the server: %s",
                len(self._pending),
                ", ".join(self._pending),
            )

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Go on with what the trigger tells."""
        return self._conclude(context, event)

    def _follow(self, context: Mapping[str, Any], requests: Sequence[Request]) -> Any:
        """Wait for *requests*, here or in the triggerer, and end as they do."""
        if self.report_url:
            context["ti"].xcom_push(key=REPORT_KEY, value=self.report_url)
        if not requests:
            return self._conclude(context, {"results": []})
        self._pending = [one.request_id for one in requests]
        if not self.deferrable:
            return self._conclude(context, self._wait_here(requests, self._seconds()))
        look = self.defer_after
        if getattr(context["ti"], "try_number", 1) > 1:
            # They may have ended while Airflow was busy failing the task.  A deferral that ends
            # at once is what its scheduler may take for a failure, again and again.
            look = max(look, _LOOK)
        if look > 0:
            news = self._wait_here(requests, look)
            if not news.get("error") and all(
                Outcome(item["outcome"]).finished for item in news["results"]
            ):
                return self._conclude(context, news)
        return self._defer_to_trigger(requests)

    def _wait_here(self, requests: Sequence[Request], timeout: float | None) -> EventPayload:
        with self._hook().get_conn() as tracker:
            return follow_here(
                tracker,
                requests,
                timeout=timeout,
                log=self.log,
                on_pending=self._note_pending,
            )

    def _defer_to_trigger(self, requests: Sequence[Request]) -> NoReturn:
        ids = [one.request_id for one in requests]
        self.log.info("deferring until %d requests have ended: %s", len(ids), describe_ids(ids))
        seconds = self._seconds()
        deadline = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        submitted = [one.submitted_at for one in requests if one.submitted_at is not None]
        labels = [one.label for one in requests]
        self.defer(
            trigger=OnehouseTrackTrigger(
                ids,
                conn_id=self.conn_id,
                labels=labels if any(labels) else None,
                submitted_at=min(submitted).isoformat() if submitted else None,
                deadline=None if deadline is None else deadline.isoformat(),
                on_partial=self.on_partial,
                end_from_trigger=self.end_from_trigger,
            ),
            method_name="execute_complete",
        )
        raise AssertionError  # pragma: no cover - deferring raises

    def _conclude(self, context: Mapping[str, Any], news: Mapping[str, Any]) -> Any:
        """Fail the task, or return what it brought."""
        self._pending = []
        for item in news["results"]:
            if ended_wrong(item, self.on_partial):
                self.log.error(
                    "request %s ended %s: %s",
                    item["request_id"],
                    item["outcome"],
                    item.get("reason") or "the server gave no reason",
                )
        verdict = TaskResult.of(news, on_partial=self.on_partial)
        self._note_end(context, news, ok=verdict.ok)
        if not verdict.ok:
            raise (AirflowFailException if verdict.hopeless else AirflowException)(verdict.message)
        self.log.info("all %d requests succeeded", len(news["results"]))
        return self._returned(self._with_responses(news["results"]))

    def _note_end(self, context: Mapping[str, Any], news: Mapping[str, Any], *, ok: bool) -> None:
        """Take note of how the requests ended, before the task ends."""

    def _returned(self, results: list[dict[str, Any]]) -> Any:
        return results

    def _with_responses(self, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Ask once more for what found no room in the event."""
        missing = [item["request_id"] for item in results if item.get("response_left_out")]
        complete = [dict(item) for item in results]
        if not missing or not self.do_xcom_push:
            return complete
        self.log.info("asking for %d responses that were too large for the event", len(missing))
        try:
            with self._hook().get_conn() as tracker:
                found = tracker.wait_all(missing)
        except (TrackerError, AirflowException) as error:
            # The statements succeeded: that their responses are not to be had changes nothing.
            self.log.warning("the task succeeds without %d responses: %s", len(missing), error)
            return complete
        for item in complete:
            response = found[item["request_id"]].response if item["request_id"] in found else None
            if response and json_of(response) is not None:
                item["response"] = response
                del item["response_left_out"]
        return complete

    def _hook(self) -> OnehouseHook:
        return OnehouseHook(self.conn_id)

    def _seconds(self) -> float | None:
        timeout = self.follow_timeout
        return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout

    def _note_pending(self, pending: list[str]) -> None:
        self._pending = pending
