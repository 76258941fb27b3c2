"""
Many projects in one process: a tracker for each, and connections that all of them share.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from onehouse_tracker import events
from onehouse_tracker._engine.open_tracker import validation
from onehouse_tracker._engine.open_tracker.session import start_task, until_ended
from onehouse_tracker.errors import ConfigError, ProjectError, TrackerClosedError
from onehouse_tracker.limiters import RateLimiter
from onehouse_tracker.models import Result
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.pool._by_name import ByName
from onehouse_tracker.pool._pooled_project import (
    Pooled,
    Settings,
    close_all,
    credentials_of,
    merged,
)
from onehouse_tracker.protocols import StatusSource
from onehouse_tracker.results import PoolResults, Results
from onehouse_tracker.settings import OnJournalError
from onehouse_tracker.stats import PoolStats
from onehouse_tracker.tracker import Tracker

if TYPE_CHECKING:
    from onehouse_tracker.history import History
    from onehouse_tracker.journal import Journal
    from onehouse_tracker.onehouse.client import OnehouseClient

__all__ = ["OnPoolResult", "PoolResults", "PoolStats", "TrackerPool"]

_log = logging.getLogger(__name__)

OnPoolResult = Callable[[str, Result], object] | Callable[[str, Result], Awaitable[object]]
"""A plain function or a coroutine function of a project's name and one of its results."""


@final
class TrackerPool(ByName):
    """
    Trackers of many Onehouse projects, in one process and on one event loop.

    Use it with ``async with``; it can be entered once.  Each project has its own credentials,
    budget, journal and `Tracker`, opened with its first use and closed with the pool.  What
    happens to one, be it wrong credentials or an outage, does not reach the others.  All share
    one pool of connections, without a limit of its own: how many polls a project has on the
    wire is bounded by its own policy, so that one that hangs takes nothing from another.

    A project is one that a server calls so: its UID and its base URL tell it apart, as the
    limiters do.  Two names for one project are two names for one tracker.

    Args:
        connect_timeout: Seconds within which a connection must be established.

        request_timeout: Seconds one call may take from start to end.
    """

    def __init__(self, *, connect_timeout: float = 10.0, request_timeout: float = 30.0) -> None:
        self._connect_timeout = connect_timeout
        self._request_timeout = request_timeout
        self._projects: dict[str, Pooled] = {}  # several names may stand for one
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._closed = False
        # In order, so that a run on a virtual clock can be repeated.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        # An aiohttp session, opened with the first project that needs one.
        self._http: Any = None

    def __repr__(self) -> str:
        if self._loop is None or self._closed:
            return f"<TrackerPool: {'closed' if self._closed else 'not open'}>"
        projects = self._distinct()
        return f"<TrackerPool: {len(projects)} projects, {sum(p.is_open for p in projects)} open>"

    # --- Life cycle --------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """
        Make ready on the running loop; nothing is opened yet.

        Raises:
            TrackerClosedError: It was entered before.
        """
        if self._loop is not None or self._closed:
            raise TrackerClosedError("a pool can be entered only once; make a new one")
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Close every project, all at once; those that still wait get a `TrackerClosedError`.

        What closing one raises keeps none of the others open.  Cancelling ends the waiting
        for journals, and takes effect when everything is closed.

        Raises:
            ExceptionGroup: What closing raised, a note names each project.  If an exception
                ends the block, that one is raised, and these are logged.

            RuntimeError: It was called from what closing waits for, such as a callback.
        """
        for project in self._distinct():
            project.refuse_inside()
        self._closed = True
        try:
            errors = await close_all(self._distinct(), without_error=exc is None)
        finally:
            if self._http is not None:
                await self._http.close()
        if exc is None and errors:
            raise ExceptionGroup("not every project could be closed properly", errors)
        for error in errors:
            _log.error("closing failed %s: %s", " ".join(error.__notes__), error)

    # --- Projects ----------------------------------------------------------------------

    def add(  # noqa: PLR0913 - what belongs to one project
        self,
        name: str,
        client: Credentials | StatusSource | None = None,
        *,
        limit: float = 10.0,
        share: float = 1.0,
        limiter: RateLimiter | str | None = None,
        policy: PollPolicy | None = None,
        journal: Journal | None = None,
        on_journal_error: OnJournalError = "raise",
        history: History | None = None,
        observers: Sequence[events.Observer] = (),
        seed: int | None = None,
    ) -> None:
        """
        Say what you call a project, and how to follow its requests.  Nothing is opened yet.

        Adding a project again with the same settings changes nothing.

        Args:
            name: What you call it.

            client: Its credentials, or the API to poll.  `None` takes its profile of this name.

            limit: Requests per second of the whole project [vendor documentation: 10].

            share: Our part of it, more than 0 and at most 1.

            limiter: Hands out the budget; a word makes one of `limit` and `share`, see
                `limiter_from`.  `None` is a local one.

            policy: When to ask again.

            journal: Keeps what must survive a crash, in a file of this project's own.

            on_journal_error: What follows where the journal cannot be used.

            history: Remembers how long requests took, for the next run; projects may share it.

            observers: Told what happens in this project, on the polling path.

            seed: Makes the jitter reproducible.

        Raises:
            ConfigError: It, or a project of this name, is there with other settings; its limiter
                or its journal serves another project; credentials are missing; or a value is
                out of its bounds.

            TrackerClosedError: The pool is closed.
        """
        if self._closed:
            raise TrackerClosedError("the pool is closed")
        settings = Settings(
            client=credentials_of(name) if client is None else client,
            limit=limit,
            share=share,
            limiter=limiter,
            policy=policy,
            journal=journal,
            on_journal_error=on_journal_error,
            history=history,
            observers=tuple(observers),
            seed=seed,
        )
        known = self._projects.get(name)
        if known is None:
            known = next((each for each in self._distinct() if each.key == settings.key), None)
        if known is None:
            for other in self._distinct():
                settings.refuse_shared(other.settings, other.name)
            known = Pooled(name, settings, self._tasks)
        elif differing := settings.differing(known.settings):
            raise ConfigError(
                f"project {known.name!r} is in the pool with other settings: {differing};"
                " remove it first"
            )
        elif known.closing is not None:
            raise TrackerClosedError(f"project {known.name!r} is being removed: wait for that")
        self._projects[name] = known

    async def tracker(self, name: str) -> Tracker:
        """
        Return the tracker of a project, which is opened with the first call.

        Any number of tasks may ask at once: it is opened once, and all get the same.  An
        opening that fails fails for all who wait for it, and the next call tries again.
        Cancelling ends the waiting; the project may be opened all the same.

        Args:
            name: What `add` called it; for any other name, its profile is added.

        Raises:
            ConfigError: There is no such profile, or its limiter cannot be used.

            JournalError: Its journal cannot be used.

            TrackerClosedError: The pool is not open, was closed first, or belongs to another
                event loop or process.
        """
        self._refuse_unless_open()
        return await self._project(name).opened(self._make_client)

    async def remove(self, name: str) -> None:
        """
        Close a project, under all its names, and forget its settings.

        Those that still wait for its requests get a `TrackerClosedError`.  It can be added
        again, with new credentials for example.  Cancelling ends the waiting only.

        Raises:
            KeyError: There is no project of this name.

            JournalError: Something could not be written down at last.

            TrackerClosedError: The pool is not open.

            RuntimeError: It was called from what closing would wait for, such as a callback.
        """
        self._refuse_unless_open()
        project = self._projects[name]
        project.refuse_inside()
        closing = project.close(without_error=True)
        closing.add_done_callback(lambda _: self._forget(project))
        await asyncio.wait([closing])
        if not closing.cancelled() and (error := closing.result()) is not None:
            raise error

    # --- Waiting -----------------------------------------------------------------------

    async def wait_all(
        self,
        request_ids: Mapping[str, validation.RequestIds],
        *,
        timeout: float | None = None,
        default_label: str | None = None,
        on_result: OnPoolResult | None = None,
    ) -> PoolResults:
        """
        Wait until every request of every project has an outcome.

        A project that fails as a whole raises nothing here: its error is in the results, and
        the others go on.  Cancelling stops the waiting, as in ``Tracker.wait_all``.

        Args:
            request_ids: What to wait for, by the names of the projects.

            timeout: Seconds for everything, on the event loop's clock; a project that is opened
                first has what is left.  `None` waits without limit.

            default_label: The label of requests that have none of their own.

            on_result: Called with the name of a project and each `Result` as it is known; for
                each project as in ``Tracker.wait_all``, one at a time.

        Returns:
            The results of each project, and what failed those that failed.

        Raises:
            InvalidRequestError: Something is not a request ID.  Nothing was asked yet, unless
                an async iterable produced it.

            ConfigError: The timeout is not a number of seconds from 0, or there is no such
                project and no such profile.

            TrackerClosedError: The pool is not open.
        """
        self._refuse_unless_open()
        validation.check_wait(timeout, default_label)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        wanted: dict[str, validation.RequestIds] = {}
        for name, ids in request_ids.items():
            self._project(name)
            wanted[name] = ids if isinstance(ids, AsyncIterable) else validation.checked(ids)
        waits = {
            name: start_task(
                self._wait(name, ids, deadline, default_label, on_result),
                f"onehouse-tracker waiting for {name}",
                {},  # ours: they do not outlive this call
            )
            for name, ids in wanted.items()
        }
        await until_ended(*waits.values())
        return merged({name: task.result() for name, task in waits.items()})

    def stats(self) -> PoolStats:
        """
        What the pool is doing now.

        Raises:
            TrackerClosedError: It is not open.
        """
        self._refuse_unless_open()
        return PoolStats(
            projects={
                project.name: project.tracker.stats()
                for project in self._distinct()
                if project.tracker is not None and project.is_open
            }
        )

    # --- How it is done ----------------------------------------------------------------

    def _refuse_unless_open(self) -> None:
        if self._loop is None and not self._closed:
            raise TrackerClosedError("the pool is not open: use `async with pool:`")
        if self._closed:
            raise TrackerClosedError("the pool is closed")
        if self._pid != os.getpid():
            raise TrackerClosedError(
                "the pool belongs to the process that forked this one; make a new one here"
            )
        if self._loop is not asyncio.get_running_loop():
            raise TrackerClosedError("the pool is open on another event loop")

    def _distinct(self) -> list[Pooled]:
        return list(dict.fromkeys(self._projects.values()))

    def _project(self, name: str) -> Pooled:
        if name not in self._projects:
            self.add(name)
        return self._projects[name]

    def _forget(self, project: Pooled) -> None:
        for name in [name for name, other in self._projects.items() if other is project]:
            del self._projects[name]

    def _make_client(self, credentials: Credentials) -> OnehouseClient:
        from onehouse_tracker.onehouse._http.connections import open_session  # noqa: PLC0415 - heavy
        from onehouse_tracker.onehouse.client import OnehouseClient  # noqa: PLC0415 - heavy

        if self._http is None:
            self._http = open_session(0)
        return OnehouseClient(
            credentials,
            http_session=self._http,
            connect_timeout=self._connect_timeout,
            request_timeout=self._request_timeout,
        )

    async def _wait(
        self,
        name: str,
        ids: validation.RequestIds,
        deadline: float | None,
        default_label: str | None,
        on_result: OnPoolResult | None,
    ) -> Results | Exception:
        """The part of one project; what fails it is returned."""
        loop = asyncio.get_running_loop()
        try:
            tracker = await self.tracker(name)
        except Exception as error:  # noqa: BLE001 - it disturbs no other project
            if isinstance(error, ProjectError):
                error.results, error.pending = Results(), validation.ids_of(ids)
            return error
        try:
            return await tracker.wait_all(
                ids,
                timeout=None if deadline is None else max(0.0, deadline - loop.time()),
                default_label=default_label,
                on_result=None if on_result is None else partial(on_result, name),
            )
        except Exception as error:  # noqa: BLE001 - it disturbs no other project
            return error
