"""
How a sensor ends: as what it waited for did, with Airflow's own exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onehouse_tracker.integrations.airflow._airflow import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from onehouse_tracker.integrations.airflow._task_result import TaskResult
from onehouse_tracker.run_results import RunOutcome

__all__ = ["TIMEOUT", "end_of_sensor"]

TIMEOUT = "timeout"
"""The argument that bounds how long a sensor waits."""


def end_of_sensor(
    sensor: Any, payload: Mapping[str, Any], *, on_partial: str = "succeed", noun: str = "request"
) -> Any:
    """
    Return what a sensor found, or raise why it fails.

    Raises:
        AirflowSkipException: It fails, and ``soft_fail`` is set.

        AirflowSensorTimeout: Its own time is over; Airflow does not retry it then.

        AirflowException: Something else is wrong.
    """
    result = TaskResult.of(payload, on_partial=on_partial, noun=noun)
    if result.ok:
        (sensor.log.warning if result.is_partial else sensor.log.info)("%s", result.message)
        return payload["results"]
    if sensor.soft_fail:
        # Airflow by itself skips only a sensor that has deferred, and then hides the reason.
        sensor.log.warning("skipping, because soft_fail is set: %s", result.message)
        raise AirflowSkipException(result.message)
    if _timed_out(payload):
        raise AirflowSensorTimeout(result.message)
    raise (AirflowFailException if result.hopeless else AirflowException)(result.message)


def _timed_out(payload: Mapping[str, Any]) -> bool:
    """Whether nothing is wrong but that the sensor's own time is over."""
    return str(payload.get("limit", "")).startswith(f"{TIMEOUT} ") and not any(
        RunOutcome(item["outcome"]) is not RunOutcome.TIMED_OUT
        and not RunOutcome(item["outcome"]).ok
        for item in payload["results"]
    )
