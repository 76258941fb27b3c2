"""
The connection to Onehouse that users have in Airflow, and what can be done with it.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from uuid import uuid4

from onehouse_tracker import sync
from onehouse_tracker.errors import RejectedError, StatusError, TrackerError, UnauthorizedError
from onehouse_tracker.integrations.airflow._airflow import (
    DECLARATIVE_FORM,
    BaseHook,
    read_connection,
)
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.integrations.airflow._form import FIELDS, HIDDEN, LABELS, PLACEHOLDERS
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.tracker import Tracker

__all__ = ["DEFAULT_CONN_ID", "OnehouseHook"]

DEFAULT_CONN_ID: Final = "onehouse_default"


class OnehouseHook(BaseHook):
    """
    Reads a connection, and makes trackers of it.

    The host of the connection is the base URL; ``https://api.onehouse.ai`` if it is empty.  Its
    extra field holds ``project_uid``, ``api_key``, ``api_secret``, ``link_uid``, ``region`` and
    ``user_id``, as for the vendor's provider, and may hold ``account_uid``, or
    ``bearer_token`` in place of the key pair.  Further keys are ``limiter`` (``host`` by default,
    or ``redis://...``), ``limit`` (10 requests a second), ``share`` (1), ``processes`` (4),
    ``patience`` (600 seconds), and ``min_deferral`` (8 seconds on Airflow 3).

    Args:
        conn_id: The connection.

        **kwargs: Those of ``BaseHook``.
    """

    conn_name_attr = "conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "onehouse"
    hook_name = "Onehouse"

    def __init__(self, conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def project(self) -> Project:
        """
        Read the connection.

        Raises:
            AirflowException: There is no such connection.

            ConfigError: It lacks credentials, all are named at once; or a value in it makes no
                sense.
        """
        return Project.from_connection(self.get_connection(self.conn_id))

    async def read_project(self) -> Project:
        """Read the connection without blocking the event loop; raises what `project` does."""
        return Project.from_connection(await read_connection(self.conn_id))

    def get_conn(self) -> sync.Tracker:
        """
        Make a tracker for tasks that block; use it with ``with``.

        Raises:
            AirflowException: There is no such connection.

            ConfigError: The connection cannot be used.
        """
        return self.project().blocking_tracker()

    def tracker(self) -> AbstractAsyncContextManager[Tracker]:
        """
        Make a tracker for tasks that run an event loop; use it with ``async with``.

        Raises:
            AirflowException: There is no such connection.

            ConfigError: The connection cannot be used.
        """
        return self.project().tracker()

    def test_connection(self) -> tuple[bool, str]:
        """Poll a request that does not exist, which changes nothing."""
        try:
            return asyncio.run(_probe(self.project()))
        except TrackerError as error:
            return False, str(error)


def _ui_field_behaviour(cls: type[OnehouseHook]) -> dict[str, Any]:  # noqa: ARG001 - Airflow's
    """Describe which fields the form shows."""
    return {
        "hidden_fields": list(HIDDEN),
        "relabeling": dict(LABELS),
        "placeholders": dict(PLACEHOLDERS),
    }


def _connection_form_widgets(cls: type[OnehouseHook]) -> dict[str, Any]:  # noqa: ARG001 - the same
    """Give each key of the extra field a field of its own."""
    from flask_appbuilder.fieldwidgets import (  # noqa: PLC0415 - where there is a form
        BS3PasswordFieldWidget,
        BS3TextFieldWidget,
    )
    from wtforms import PasswordField, StringField  # noqa: PLC0415 - where there is a form

    return {
        field.name: PasswordField(field.label, widget=BS3PasswordFieldWidget())
        if field.is_secret
        else StringField(field.label, description=field.description, widget=BS3TextFieldWidget())
        for field in FIELDS
    }


if not DECLARATIVE_FORM:
    # Later versions read the form from `provider.py`, and warn of these two.
    OnehouseHook.get_ui_field_behaviour = classmethod(_ui_field_behaviour)
    OnehouseHook.get_connection_form_widgets = classmethod(_connection_form_widgets)


async def _probe(project: Project) -> tuple[bool, str]:
    limiter = project.make_limiter()
    await limiter.start()
    try:
        async with OnehouseClient(project.credentials) as client:
            await limiter.acquire()
            await client.fetch(str(uuid4()))
    except UnauthorizedError as error:
        return False, f"the server refuses these credentials: {error}"
    except RejectedError:
        # It does not know the request, but it knows us.
        pass
    except StatusError as error:
        return False, str(error)
    finally:
        await limiter.aclose()
    return True, f"{project.credentials.base_url} accepts these credentials"
