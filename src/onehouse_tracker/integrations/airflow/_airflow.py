"""
What differs between Airflow 2.11 and 3: where names live, and how state is read and written.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from airflow import __version__ as airflow_version
from airflow.configuration import conf
from airflow.triggers.base import (
    BaseTrigger,
    StartTriggerArgs,
    TaskFailedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

VERSION: Final = tuple(int(part) for part in re.findall(r"\d+", airflow_version)[:3])
AIRFLOW_3 = VERSION >= (3,)

RENDERS_IN_TRIGGERER: Final = hasattr(BaseTrigger, "render_template_fields")
"""Whether a task that begins in the triggerer may have templates (3.3)."""

DECLARATIVE_FORM: Final = VERSION >= (3, 2)
"""Whether the form of a connection is read from the provider's description."""

RETRIES_FROM_TRIGGERER: Final = VERSION >= (3, 3, 2)
"""Whether Airflow retries a task that a trigger has failed."""

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
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )
except ImportError:  # before 3.2
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AIRFLOW_3",
    "DECLARATIVE_FORM",
    "RENDERS_IN_TRIGGERER",
    "RETRIES_FROM_TRIGGERER",
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
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
    "default_deferrable",
    "delete_variable",
    "delete_variable_with_success",
    "is_success_in_database",
    "read_connection",
    "read_variable",
    "read_xcom",
    "write_variable",
]

_PAUSE: Final = 1.0
"""Seconds until a Variable that was not found is read again, where nothing else can tell."""


def default_deferrable() -> bool:
    """Whether operators defer by default: ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


async def read_connection(conn_id: str) -> Any:
    """
    Read a connection without blocking the loop, as a triggerer must.

    Raises:
        AirflowException: There is no such connection.
    """
    if hasattr(BaseHook, "aget_connection") and _supervisor_can_be_awaited():
        return await BaseHook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async  # noqa: PLC0415 - Airflow brings it

    return await sync_to_async(BaseHook.get_connection)(conn_id)


def _supervisor_can_be_awaited() -> bool:
    """Not in ``airflow dags test`` of Airflow 3, where an awaited lookup finds no connection."""
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - 3 only

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return supervisor is None or hasattr(supervisor, "asend")


def read_variable(key: str) -> str | None:
    """
    Read a Variable from where `write_variable` put it; `None` if there is none.

    ``Variable.get`` cannot be used: if it cannot read a Variable, it says that there is none, and
    a statement would be submitted twice.  The API server of Airflow 3 says the same, so the list
    of keys has to confirm it.  Airflow 3.1 and 3.2 have no such list: they are read twice.

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
    """Ask the API server; `None` if it did not find it."""
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
        " so nothing is submitted now. If the database was away for a moment, a retry continues."
        " If the Fernet key was changed, give Airflow the old one too: fernet_key takes several."
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


def delete_variable(key: str) -> None:
    """Delete a Variable; nothing happens if there is none."""
    Variable.delete(key)


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
    if is_success_in_database(context["ti"]):
        Variable.delete(key)


def is_success_in_database(ti: Any) -> bool:
    """Whether Airflow 3 has written down that the task has succeeded."""
    return _state_in_database(ti) == "success"


def _state_in_database(ti: Any) -> str | None:
    states = ti.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    found = states.get(ti.run_id, {})
    # A mapped task is listed by its index.
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = found.get(name, found.get(ti.task_id))
    return None if state is None else str(getattr(state, "value", state))
