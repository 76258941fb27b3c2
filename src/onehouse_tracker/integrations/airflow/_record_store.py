"""
Where a task keeps the record of what it has submitted: its task state store, or Variables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from onehouse_tracker.integrations.airflow._airflow import (
    delete_variable,
    delete_variable_with_success,
    is_success_in_database,
    read_variable,
    write_variable,
)
from onehouse_tracker.integrations.airflow._submissions import Store, TaskKey

__all__ = ["delete_with_success", "store_of"]

_STATE: Final = "task_state_store"
"""The name in the context of what each task of Airflow 3.3 has for itself."""


def store_of(context: Mapping[str, Any], key: TaskKey) -> Store:
    """
    Choose the store for a task instance.

    Both outlive the tries of a task, and both raise if they cannot be read.
    """
    state = context.get(_STATE)
    return _variables(key) if state is None else _task_state(state)


def delete_with_success(name: str, context: Mapping[str, Any]) -> None:
    """Delete what a store holds under *name*, if the database says that the task succeeded."""
    state = context.get(_STATE)
    if state is None:
        delete_variable_with_success(name, context)
    elif is_success_in_database(context["ti"]):
        state.delete(name)


def _task_state(state: Any) -> Store:
    # Imported here because 3.3 alone has it.
    from airflow.sdk.execution_time.context import NEVER_EXPIRE  # noqa: PLC0415

    def write(name: str, text: str, _: str) -> None:
        # A record that expires while the task waits would have everything submitted again.
        state.set(name, text, retention=NEVER_EXPIRE)

    return Store(
        read=state.get,
        write=write,
        delete=state.delete,
        name=lambda block: f"onehouse_tracker_{block}",
        kind="task state",
    )


def _variables(key: TaskKey) -> Store:
    # Three long names fit only as a hash into one of 250 characters.
    text = "\n".join((key.dag_id, key.task_id, key.run_id, str(key.map_index)))
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return Store(
        read=read_variable,
        write=write_variable,
        delete=delete_variable,
        name=lambda block: f"onehouse_tracker_{digest}_{block}",
        kind="Airflow Variable",
    )
