"""
What a task needs again after a deferral, where Airflow loses it on the way.

``airflow dags test`` runs the trigger in the process of the task, and then gives the task the
event alone, without the keyword arguments of its deferral.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from onehouse_tracker.integrations.airflow._submissions import TaskKey

__all__ = ["NothingKeptError", "carried", "carry"]

_CARRIED: Final[dict[TaskKey, dict[str, Any]]] = {}
"""One entry at most: a worker's process runs one task, and `dags test` one after the other."""


class NothingKeptError(Exception):
    """A task was resumed, and nobody kept what it deferred with; a retry continues."""


def carry(context: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Keep *values* for when this task continues, and return them for Airflow to keep."""
    _CARRIED.clear()
    _CARRIED[TaskKey.of(context["ti"])] = values
    return values


def carried(context: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    What Airflow kept for the task, or else what this process did.

    Raises:
        NothingKeptError: Neither kept anything.
    """
    key = TaskKey.of(context["ti"])
    found = values or _CARRIED.get(key)
    if found is None:
        raise NothingKeptError(
            "Airflow resumed this task without what it deferred with, so it cannot continue from"
            " there. What it submitted is recorded: a retry, or clearing the task, continues with"
            f" that and submits nothing twice ({key})"
        )
    return found
