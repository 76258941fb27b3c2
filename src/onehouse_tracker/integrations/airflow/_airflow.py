"""
What differs between Airflow 2.11 and 3: where names live, and how state is read and written.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from airflow import __version__ as airflow_version
from airflow.triggers.base import (
    BaseTrigger,
    StartTriggerArgs,
    TaskFailedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

AIRFLOW_3 = int(airflow_version.split(".")[0]) >= 3  # noqa: PLR2004 - a version

if AIRFLOW_3:
    from airflow.sdk import (
        BaseHook,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        PokeReturnValue,
        Variable,
    )
else:
    from airflow.hooks.base import BaseHook
    from airflow.models import BaseOperator, BaseOperatorLink, Variable
    from airflow.sensors.base import BaseSensorOperator, PokeReturnValue

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AIRFLOW_3",
    "AirflowException",
    "AirflowFailException",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "PokeReturnValue",
    "StartTriggerArgs",
    "TaskFailedEvent",
    "TaskSuccessEvent",
    "TriggerEvent",
    "delete_variable_with_success",
    "read_connection",
    "read_variable",
    "read_xcom",
    "write_variable",
]

_PAUSE: Final = 1.0
"""Seconds until a Variable that was not found is asked for again, where nothing else can tell."""


async def read_connection(conn_id: str) -> Any:
    """
    Read a connection without blocking the loop, as a triggerer must.

    Raises:
        AirflowException: There is no such connection.
    """
    if hasattr(BaseHook, "aget_connection"):
        return await BaseHook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async  # noqa: PLC0415 - Airflow brings it

    return await sync_to_async(BaseHook.get_connection)(conn_id)


def read_variable(key: str) -> str | None:
    """
    Read a Variable from where `write_variable` put it; `None` if there is none.

    ``Variable.get`` cannot be used: it says of a Variable that it could not read that there is
    none, and a statement would be submitted twice.  The API server of Airflow 3 says the same, so
    that is not believed before the list of keys confirms it.  Airflow 3.1 and 3.2 have no such
    list: they are asked a second time.

    Raises:
        AirflowException: It could not be read.
    """
    if not AIRFLOW_3:
        return _variable_in_database(key)
    found = _ask_for_variable(key)
    if found is not None:
        return found
    from airflow.sdk.execution_time import comms  # noqa: PLC0415 - 3 only

    if hasattr(comms, "GetVariableKeys"):
        # It comes first of all that begin with it.
        if key in _ask(comms.GetVariableKeys(prefix=key, limit=1), key).keys:
            raise AirflowException(_unreadable(key))
        return None
    time.sleep(_PAUSE)
    return _ask_for_variable(key)


def _variable_in_database(key: str) -> str | None:
    from airflow.utils.session import create_session  # noqa: PLC0415 - 2.11 only
    from sqlalchemy import select  # noqa: PLC0415 - Airflow brings it

    with create_session() as session:
        row = session.scalar(select(Variable).where(Variable.key == key))
        value: str | None = None if row is None else row.get_val()
    if row is not None and value is None:
        raise AirflowException(_unreadable(key))
    return value


def _ask_for_variable(key: str) -> str | None:
    from airflow.sdk.execution_time.comms import GetVariable  # noqa: PLC0415 - 3 only

    reply = _ask(GetVariable(key=key), key)
    value: str | None = None if reply is None else reply.value
    return value


def _ask(question: Any, key: str) -> Any:
    """Ask the API server; `None` is what it answers of what it did not find."""
    from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415 - 3 only
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - 3 only
    from airflow.sdk.execution_time.comms import ErrorResponse  # noqa: PLC0415 - 3 only

    reply = task_runner.SUPERVISOR_COMMS.send(question)
    if not isinstance(reply, ErrorResponse):
        return reply
    if reply.error == ErrorType.VARIABLE_NOT_FOUND:
        return None
    raise AirflowException(f"the Variable {key} could not be read: {reply.error.value}")


def _unreadable(key: str) -> str:
    return (
        f"the Variable {key} exists, and could not be read; it holds what this task has submitted,"
        " so nothing is submitted now. A retry goes on, if the database was away for a moment. If"
        " the Fernet key was changed, give Airflow the old one too: fernet_key takes several."
    )


def read_xcom(key: str, ti_key: Any) -> Any:
    """Read what a task instance of Airflow 2.11 pushed; `None` if it did not."""
    from airflow.models import XCom  # noqa: PLC0415 - 2.11 only

    return XCom.get_value(ti_key=ti_key, key=key)


def write_variable(key: str, value: str, description: str) -> None:
    """
    Write a Variable; it is in the database when this returns.

    Raises:
        Exception: It could not be written.
    """
    Variable.set(key, value, description=description)


def delete_variable_with_success(key: str, context: Mapping[str, Any]) -> None:
    """
    Delete a Variable of a task that has succeeded, if that is what the database says.

    For ``on_success_callback``: it is called before the state is written (2.11), or even where
    the server refused to write it (3).
    """
    if not AIRFLOW_3:
        from airflow.utils.task_instance_session import (  # noqa: PLC0415 - 2.11 only
            get_current_task_instance_session,
        )

        # In the transaction that writes the state: both, or neither.
        Variable.delete(key, session=get_current_task_instance_session())
        return
    if _state_in_database(context["ti"]) == "success":
        Variable.delete(key)


def _state_in_database(ti: Any) -> str | None:
    states = ti.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    found = states.get(ti.run_id, {})
    # A mapped task is listed by its index.
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = found.get(name, found.get(ti.task_id))
    return None if state is None else str(getattr(state, "value", state))
