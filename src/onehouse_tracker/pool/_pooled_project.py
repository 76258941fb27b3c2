"""
One project of a pool: its settings, and its tracker, opened once and closed once.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from onehouse_tracker import events
from onehouse_tracker._engine.open_tracker.inside import context_inside, is_inside, refuse_inside
from onehouse_tracker._engine.open_tracker.session import start_task, until_ended
from onehouse_tracker._engine.source import project_key_of
from onehouse_tracker.errors import ConfigError, ProjectError, TrackerClosedError, TrackerError
from onehouse_tracker.limiters import RateLimiter, limiter_from
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.protocols import StatusSource
from onehouse_tracker.results import PoolResults, Results
from onehouse_tracker.settings import OnJournalError
from onehouse_tracker.tracker import Tracker

if TYPE_CHECKING:
    from onehouse_tracker.history import History
    from onehouse_tracker.journal import Journal

__all__ = ["Pooled", "Settings", "close_all", "credentials_of", "merged"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How one project is followed: the arguments of ``TrackerPool.add``."""

    client: Credentials | StatusSource
    limit: float
    share: float
    limiter: RateLimiter | str | None
    policy: PollPolicy | None
    journal: Journal | None
    on_journal_error: OnJournalError
    history: History | None
    observers: tuple[events.Observer, ...]
    seed: int | None

    @property
    def key(self) -> str | int:
        """What tells the project apart; a source of another kind is a project of its own."""
        client = self.client
        if isinstance(client, Credentials):
            return client.project_key
        return project_key_of(client) or id(client)

    def differing(self, other: Settings) -> str:
        """Name what is not the same in both; no value is shown."""
        return ", ".join(
            field.name
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )

    def refuse_shared(self, other: Settings, name: str) -> None:
        """
        See to it that what belongs to one project is not given to two.

        Raises:
            ConfigError: The limiter or the journal is that of the *other* project, called *name*.
        """
        for what in ("limiter", "journal"):
            value = getattr(self, what)
            if value is getattr(other, what) and not isinstance(value, str | None):
                raise ConfigError(f"the {what} is that of project {name!r}: give each its own")


class Pooled:
    """
    One project of a pool.

    States: *known*; *opening* (a task); *open* (`tracker` is set); *closing* (a task), which is
    final.  An opening that fails leads back to *known*, and so does an engine that fails: the
    next opening takes down what is left of it.  Callers that ask for the tracker wait for
    the one opening and owns nothing: to cancel it ends its waiting, and no opening.  Closing
    cancels an opening, and awaits it.  Who closes awaits the task, and may leave it alone: the
    pool awaits it at its end.

    Args:
        name: What the user called it first.

        settings: How it is followed.

        tasks: Of the pool; ours are among them.

    Raises:
        ConfigError: There is no such limiter, or a value is out of its bounds.
    """

    def __init__(
        self, name: str, settings: Settings, tasks: dict[asyncio.Task[Any], None]
    ) -> None:
        self.name = name
        self.settings = settings
        self.key = settings.key
        self.tracker: Tracker | None = None
        self.closing: asyncio.Task[Exception | None] | None = None
        self._opening: asyncio.Task[Exception | None] | None = None
        self._is_closing = False
        self._tasks = tasks
        limiter = settings.limiter
        if limiter is None or isinstance(limiter, str):
            limiter = limiter_from(
                limiter or "local",
                project=str(self.key),
                limit=settings.limit,
                share=settings.share,
            )
        self._limiter = limiter

    @property
    def is_open(self) -> bool:
        """Whether requests can be followed now."""
        tracker = self.tracker
        return tracker is not None and self.closing is None and not tracker._session.closed  # noqa: SLF001 - of our own kind

    async def opened(self, make_client: Callable[[Credentials], Any]) -> Tracker:
        """
        Return the tracker, opened if it is not yet; the client that is made belongs to it.

        Raises:
            TrackerClosedError: It is closing.

            Exception: What opening it raised.
        """
        if not self.is_open and self._opening is None and self.closing is None:
            self.refuse_inside()  # of a tracker that failed, which is closed first
            self._opening = start_task(
                self._open(make_client),
                f"onehouse-tracker opening {self.name}",
                self._tasks,
                context_inside(self),
            )
        opening = self._opening
        if opening is not None:
            # Not awaited itself: who is cancelled here must not cancel what others wait for.
            await asyncio.wait([opening])
            if not opening.cancelled() and (error := opening.result()) is not None:
                if isinstance(error, TrackerError):
                    raise copy.copy(error) from error.__cause__
                raise error
        if self.tracker is None or self.closing is not None:
            raise TrackerClosedError(f"project {self.name!r} was closed; the requests go on")
        return self.tracker

    def refuse_inside(self) -> None:
        """Raise `RuntimeError` where closing would wait for the caller."""
        if self.tracker is not None:
            refuse_inside(self.tracker._session)  # noqa: SLF001 - of our own kind
        if is_inside(self):
            raise RuntimeError(
                f"project {self.name!r} is being opened: it cannot be closed from there"
            )

    def close(self, *, without_error: bool) -> asyncio.Task[Exception | None]:
        """Begin to close, unless that was done; the task returns what closing raised."""
        if self.closing is None:
            self.closing = start_task(
                self._close(without_error=without_error),
                f"onehouse-tracker closing {self.name}",
                self._tasks,
            )
        return self.closing

    def hurry(self) -> None:
        """Let a closing that has begun wait no longer for callbacks and journals."""
        # One that has not begun would never do so, and leave the tracker open.
        if self._is_closing and self.closing is not None:
            self.closing.cancel()

    async def _open(self, make_client: Callable[[Credentials], Any]) -> Exception | None:
        """Enter the tracker; a failure is returned, for all who wait for it."""
        settings = self.settings
        client = settings.client
        try:
            await asyncio.sleep(0)  # an eager task would be over before it is known as the opening
            failed, self.tracker = self.tracker, None
            if failed is not None:
                await failed._session.leave(without_error=False)  # noqa: SLF001 - as its block
            tracker = Tracker(
                make_client(client) if isinstance(client, Credentials) else client,
                limiter=self._limiter,
                policy=settings.policy,
                journal=settings.journal,
                on_journal_error=settings.on_journal_error,
                history=settings.history,
                observers=settings.observers,
                seed=settings.seed,
            )
            await tracker.__aenter__()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            return error
        else:
            self.tracker = tracker
            return None
        finally:
            self._opening = None

    async def _close(self, *, without_error: bool) -> Exception | None:
        await asyncio.sleep(0)  # an eager task would close before others are told that it does
        self._is_closing = True
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await until_ended(opening)
        tracker, self.tracker = self.tracker, None
        try:
            if tracker is not None:
                await tracker._session.leave(without_error=without_error)  # noqa: SLF001 - as its block
        except Exception as error:  # noqa: BLE001 - the pool reports it
            error.add_note(f"in project {self.name!r}")
            return error
        return None


async def close_all(projects: Sequence[Pooled], *, without_error: bool) -> list[Exception]:
    """
    Close all *projects* at once, and return what that raised.

    Cancelling ends the waiting for callbacks and journals; it takes effect when all is closed.
    """
    cancelled: asyncio.CancelledError | None = None
    while closings := [project.close(without_error=without_error) for project in projects]:
        try:
            await asyncio.wait(closings)
            break
        except asyncio.CancelledError as cancellation:
            cancelled = cancellation
            for project in projects:
                project.hurry()
    if cancelled is not None:
        raise cancelled
    return [error for closing in closings if (error := closing.result()) is not None]


def merged(outcomes: Mapping[str, Results | Exception]) -> PoolResults:
    """Put together what waiting for each project returned, or failed with."""
    results: dict[str, Results] = {}
    errors: dict[str, Exception] = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            errors[name] = outcome
            known = outcome.results if isinstance(outcome, ProjectError) else None
            results[name] = known or Results()
        else:
            results[name] = outcome
    return PoolResults(results, errors=errors)


def credentials_of(profile: str) -> Credentials:
    """
    Read a profile from the credentials file.

    The credentials in the environment are those of one project: with them each profile would
    be that one.

    Raises:
        ConfigError: There is no such profile, or something in it is missing.
    """
    found = ("HOME", "USERPROFILE", "ONEHOUSE_CREDENTIALS_FILE")
    environ = {variable: os.environ[variable] for variable in found if variable in os.environ}
    return Credentials.from_env(profile=profile, environ=environ)
