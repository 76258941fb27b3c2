"""
A sensor for requests that another task submitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from onehouse_tracker.errors import InvalidRequestError, TrackerError
from onehouse_tracker.integrations.airflow._airflow import (
    AirflowException,
    AirflowFailException,
    BaseSensorOperator,
    PokeReturnValue,
    default_deferrable,
)
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    counted,
    describe_ids,
)
from onehouse_tracker.integrations.airflow._limits import Deadline
from onehouse_tracker.integrations.airflow._request_ids import request_ids_in
from onehouse_tracker.integrations.airflow._sensor_end import TIMEOUT, end_of_sensor
from onehouse_tracker.integrations.airflow._task_result import check_on_partial
from onehouse_tracker.integrations.airflow._tracking import started_at
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID, OnehouseHook
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger

__all__ = ["OnehouseRequestSensor"]

_LOOK: Final = 5.0
"""Seconds that a poke waits beyond what polling each request twice takes."""


class OnehouseRequestSensor(BaseSensorOperator):
    """
    Waits until all requests have ended; fails, or is skipped with ``soft_fail``, if one failed.

    So it does, deferrable or not, if its ``timeout`` or ``execution_timeout`` has passed.

    It returns, and pushes, what an `OnehouseTrackOperator` does.

    Args:
        request_ids: What to wait for: a list, or what an `OnehouseSqlOperator` pushed.
            Templated.

        conn_id: The connection.

        deferrable: Wait in the triggerer; otherwise it polls every ``poke_interval``.  By default
            what ``[operators] default_deferrable`` says.

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
        deferrable: bool | None = None,
        on_partial: str = "succeed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_on_partial(on_partial)
        self.request_ids = request_ids
        self.conn_id = conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.on_partial = on_partial

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Wait for the requests."""
        if not self.deferrable:
            return super().execute(context)
        ids = self._ids()
        if not ids:
            return []
        self.log.info(
            "deferring until %s ended: %s",
            "the request has" if len(ids) == 1 else f"{len(ids)} requests have",
            describe_ids(ids),
        )
        now = datetime.now(UTC)
        deadline = Deadline.first(
            [
                (TIMEOUT, now, self.timeout),
                ("execution_timeout", started_at(context, now), self.execution_timeout),
            ]
        )
        return self.defer(
            trigger=OnehouseTrackTrigger(
                ids,
                conn_id=self.conn_id,
                deadline=None if deadline is None else deadline.at.isoformat(),
                limit=None if deadline is None else deadline.limit,
                on_partial=self.on_partial,
            ),
            method_name="execute_complete",
            timeout=None if deadline is None else deadline.for_airflow(now),
        )

    def execute_complete(self, _: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Continue with the event of the trigger."""
        return self._ended(event)

    def poke(self, context: Mapping[str, Any]) -> PokeReturnValue:  # noqa: ARG002 - Airflow's
        """Poll, until each request was polled at least once."""
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
                "%d of %s pending: %s",
                len(pending),
                counted(len(ids), "request"),
                describe_ids(pending),
            )
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(
            is_done=True, xcom_value=self._ended(EventPayload.of(results.values()))
        )

    def _ended(self, payload: Mapping[str, Any]) -> Any:
        return end_of_sensor(self, payload, on_partial=self.on_partial)

    def _ids(self) -> list[str]:
        try:
            return request_ids_in(self.request_ids)
        except InvalidRequestError as error:
            raise AirflowFailException(str(error)) from error
