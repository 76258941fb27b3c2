"""
A sensor for requests that another task submitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from onehouse_tracker.errors import InvalidRequestError, TrackerError
from onehouse_tracker.integrations.airflow._airflow import (
    AirflowException,
    AirflowFailException,
    BaseSensorOperator,
    PokeReturnValue,
)
from onehouse_tracker.integrations.airflow._event_payload import EventPayload, describe_ids
from onehouse_tracker.integrations.airflow._request_ids import request_ids_in
from onehouse_tracker.integrations.airflow._task_result import TaskResult, check_on_partial
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID, OnehouseHook
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger

__all__ = ["OnehouseRequestSensor"]

_LOOK: Final = 5.0
"""Seconds that a poke waits beyond what two rounds of questions take."""


class OnehouseRequestSensor(BaseSensorOperator):
    """
    Waits until all requests have ended; fails, or is skipped with ``soft_fail``, if one failed.

    It returns, and pushes, what an `OnehouseTrackOperator` does.

    Args:
        request_ids: What to wait for: a list, or what an `OnehouseSqlOperator` pushed.
            Templated.

        conn_id: The connection.

        deferrable: Wait in the triggerer.  Otherwise it looks once every ``poke_interval``.

        on_partial: Whether a partial success is one: ``"succeed"`` or ``"fail"``.

        **kwargs: Those of ``BaseSensorOperator``.
    """

    template_fields: Sequence[str] = ("request_ids", "conn_id")
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        request_ids: Any,
        conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = True,
        on_partial: str = "succeed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_on_partial(on_partial)
        self.request_ids = request_ids
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.on_partial = on_partial

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Wait for the requests."""
        if not self.deferrable:
            return super().execute(context)
        ids = self._ids()
        if not ids:
            return []
        self.log.info("deferring until %d requests have ended: %s", len(ids), describe_ids(ids))
        return self.defer(
            trigger=OnehouseTrackTrigger(ids, conn_id=self.conn_id, on_partial=self.on_partial),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, _: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Go on with what the trigger tells."""
        return self._judged(event)

    def poke(self, context: Mapping[str, Any]) -> PokeReturnValue:  # noqa: ARG002 - Airflow's
        """Look once."""
        ids = self._ids()
        project = OnehouseHook(self.conn_id).project()
        look = _LOOK + 2 * len(ids) / (project.limit * project.share)
        try:
            with project.blocking_tracker() as tracker:
                results = tracker.wait_all(ids, timeout=look)
        except TrackerError as error:
            raise AirflowException(str(error)) from error
        pending = [one.request_id for one in results.unfinished]
        if pending:
            self.log.info(
                "%d of %d requests pending: %s", len(pending), len(ids), describe_ids(pending)
            )
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(
            is_done=True, xcom_value=self._judged(EventPayload.of(results.values()))
        )

    def _judged(self, news: Mapping[str, Any]) -> Any:
        verdict = TaskResult.of(news, on_partial=self.on_partial)
        if verdict.ok:
            self.log.info("all %d requests succeeded", len(news["results"]))
            return news["results"]
        raise (AirflowFailException if verdict.hopeless else AirflowException)(verdict.message)

    def _ids(self) -> list[str]:
        try:
            return request_ids_in(self.request_ids)
        except InvalidRequestError as error:
            raise AirflowFailException(str(error)) from error
