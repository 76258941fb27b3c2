"""
What all triggers share: one tracker of a project for all of them, a deadline, and one event.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from onehouse_tracker.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    ProjectError,
    TrackerClosedError,
    TrackerError,
)
from onehouse_tracker.integrations.airflow._airflow import (
    AIRFLOW_3,
    AirflowException,
    BaseTrigger,
    TriggerEvent,
)
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.integrations.airflow._shared_resources import Shared
from onehouse_tracker.integrations.airflow._starts import moment
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID, OnehouseHook
from onehouse_tracker.tracker import Tracker

__all__ = ["ProjectTrigger", "each_with_reports", "open_tracker"]

_LINGER: Final = 5.0
"""Seconds that a tracker without users stays open: the triggerer starts triggers once a second,
and what a local limiter knows of the last slot must not be forgotten before the next one."""

_MIN_DEFERRAL: Final = 8.0 if AIRFLOW_3 else 0.0
"""Seconds from its start to its event, at least, if the connection does not say otherwise.

The scheduler of Airflow 3 may learn that the worker has deferred the task only after a worker has
resumed it; it then takes the task for one that has died (its issues 71580 and 72716)."""

_LAST_LOOK: Final = 10.0
"""Seconds for those whose deadline passed while no triggerer ran: they may long have ended."""

_REPORT: Final = 60.0
"""Seconds between two lines of the log that say what is pending."""

_INVALID: Final = (AuthenticationError, TrackerClosedError)
"""After these the connection is read again, and a new tracker opened, once for each trigger:
credentials may have been changed since."""


@asynccontextmanager
async def _open_connection(conn_id: str) -> AsyncIterator[Project]:
    yield await OnehouseHook(conn_id).read_project()


def _open_tracker(project: Project) -> AbstractAsyncContextManager[Tracker]:
    return project.tracker()


# One of each for all triggers of a loop.
_projects: Final = Shared[str, Project](_open_connection, invalid_after=_INVALID)
_trackers: Final = Shared[Project, Tracker](
    _open_tracker,
    linger=_LINGER,
    # One whose credentials were refused can be tried again.
    invalid_after=(TrackerClosedError,),
)


@asynccontextmanager
async def open_tracker(conn_id: str) -> AsyncIterator[tuple[Project, Tracker]]:
    """Use the tracker that all triggers of this event loop share, for the project of *conn_id*."""
    async with _projects.use(conn_id) as project, _trackers.use(project) as tracker:
        yield project, tracker


class ProjectTrigger(BaseTrigger):
    """
    Waits for something of a project, and fires one event that says how it ended.

    Args:
        conn_id: The connection.

        deadline: Until when to wait, in ISO 8601 with a time zone; or, for a task that begins in
            the triggerer, seconds from there; `None` waits without limit.

        limit: What set the deadline, for messages.
    """

    def __init__(
        self,
        *,
        conn_id: str = DEFAULT_CONN_ID,
        deadline: str | float | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.deadline = deadline
        self.limit = limit
        self._min_deferral = _MIN_DEFERRAL

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait until all have ended, and fire one event.

        Being cancelled, as by a triggerer that ends, changes nothing on the server: the next
        triggerer that runs the trigger continues.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        event = self._event(await self._wait())
        if type(event) is TriggerEvent:
            # What ends the task here needs no worker, and meets no scheduler that is late.
            await asyncio.sleep(started + self._min_deferral - loop.time())
        yield event

    # --- What a kind of trigger decides ----------------------------------------------------

    @abstractmethod
    def _prepare(self) -> None:
        """Read the arguments; raises `InvalidRequestError` or `ConfigError`."""

    @abstractmethod
    async def _wait_once(self, tracker: Tracker) -> None:
        """Wait for what has not ended, and keep what ends."""

    @abstractmethod
    def _payload(self, *, error: str | None = None, hopeless: bool = False) -> Any:
        """Say how everything ended so far."""

    def _event(self, payload: Any) -> TriggerEvent:
        return TriggerEvent(payload)

    # --- What all of them do ---------------------------------------------------------------

    async def _wait(self) -> Any:
        try:
            self._prepare()
            try:
                await self._use_tracker()
            except _INVALID as error:
                self.log.warning("trying again with the connection as it is now: %s", error)
                await self._use_tracker()
        except (TrackerError, AirflowException) as error:
            return self._payload(
                error=_explain(error),
                hopeless=isinstance(error, ConfigError | InvalidRequestError),
            )
        return self._payload()

    async def _use_tracker(self) -> None:
        async with open_tracker(self.conn_id) as (project, tracker):
            if project.min_deferral is not None:
                self._min_deferral = project.min_deferral
            await self._wait_once(tracker)

    def _timeout(self) -> float | None:
        if isinstance(self.deadline, float | int):
            return self.deadline
        deadline = moment("deadline", self.deadline)
        if deadline is None:
            return None
        return max(_LAST_LOOK, (deadline - datetime.now(UTC)).total_seconds())


async def each_with_reports(
    completions: AsyncIterator[Any], report: Callable[[], None]
) -> AsyncIterator[Any]:
    """
    Pass on what *completions* brings, and call *report* first and then every minute.

    *completions* must lose nothing when a wait for its next item is cancelled.
    """
    loop = asyncio.get_running_loop()
    report()
    report_at = loop.time() + _REPORT
    while True:
        pause = asyncio.timeout_at(report_at)
        try:
            async with pause:
                item = await anext(completions)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if not pause.expired():
                raise
            report()
            report_at = loop.time() + _REPORT
            continue
        yield item


def _explain(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, ProjectError):
        text += "; the requests continue on the server, and another try continues to track them"
    return text
