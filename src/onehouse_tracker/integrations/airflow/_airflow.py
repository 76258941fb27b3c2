"""
What differs between Airflow 2.11 and 3: where names live, and how state is read and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import (
    BaseTrigger,
    StartTriggerArgs,
    TaskFailedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

try:
    from airflow.sdk import (
        BaseHook,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        PokeReturnValue,
        Variable,
    )
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    AIRFLOW_3 = True
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException
    from airflow.hooks.base import BaseHook
    from airflow.models import BaseOperator, BaseOperatorLink, Variable
    from airflow.sensors.base import BaseSensorOperator, PokeReturnValue

    AIRFLOW_3 = False

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
    none, and a statement would be submitted twice.

    Raises:
        AirflowException: It could not be read.
    """
    if not AIRFLOW_3:
        from airflow.secrets.metastore import MetastoreBackend  # noqa: PLC0415 - 2.11 only

        value: str | None = MetastoreBackend().get_variable(key)
        return value
    from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415 - 3 only
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - 3 only
    from airflow.sdk.execution_time.comms import (  # noqa: PLC0415 - 3 only
        ErrorResponse,
        GetVariable,
    )

    reply = task_runner.SUPERVISOR_COMMS.send(GetVariable(key=key))
    if not isinstance(reply, ErrorResponse):
        return None if reply is None else reply.value
    if reply.error == ErrorType.VARIABLE_NOT_FOUND:
        return None
    raise AirflowException(f"the Variable {key} could not be read: {reply.error.value}")


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
