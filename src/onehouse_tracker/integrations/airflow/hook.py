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
from onehouse_tracker.integrations.airflow._airflow import BaseHook, read_connection
from onehouse_tracker.integrations.airflow._connection import Project
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
    ``bearer_token`` in place of the key pair.  What concerns the budget may stand there too:
    ``limiter`` (``host`` by default, or ``redis://...``), ``limit`` (10 requests a second),
    ``share`` (1), ``processes`` (4), and ``patience`` (600 seconds).

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
        """Ask the server about a request that does not exist; nothing is changed by that."""
        try:
            return asyncio.run(_probe(self.project()))
        except TrackerError as error:
            return False, str(error)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Tell the form what to show."""
        return {
            "hidden_fields": ["schema", "login", "password", "port"],
            "relabeling": {"host": "API address"},
            "placeholders": {
                "host": "https://api.onehouse.ai",
                "limiter": "host, or redis://redis.example:6379/0",
                "limit": "10",
                "region": "us-west-2",
            },
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Give each part of the extra field a field of its own."""
        from flask_appbuilder.fieldwidgets import (  # noqa: PLC0415 - where there is a form
            BS3PasswordFieldWidget,
            BS3TextFieldWidget,
        )
        from wtforms import PasswordField, StringField  # noqa: PLC0415 - where there is a form

        def text(label: str) -> Any:
            return StringField(label, widget=BS3TextFieldWidget())

        def secret(label: str) -> Any:
            return PasswordField(label, widget=BS3PasswordFieldWidget())

        return {
            "project_uid": text("Project UID"),
            "user_id": text("User UID"),
            "api_key": secret("API key"),
            "api_secret": secret("API secret"),
            "link_uid": text('Link UID (the console says "RequestID")'),
            "region": text("Region"),
            "account_uid": text("Account UID"),
            "limiter": text("Budget shared through"),
            "limit": text("Requests per second of the project"),
        }


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
