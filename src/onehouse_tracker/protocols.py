"""
Every part that you can replace by one of your own, as a Protocol.

A client must have `StatusSource`; everything else it can do is optional, and used where it is
there.  A class needs no base class: it has the ability if it has the methods.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from onehouse_tracker.models import StatusReply

if TYPE_CHECKING:
    from onehouse_tracker.events import Observer, SelectiveObserver
    from onehouse_tracker.journal import Journal
    from onehouse_tracker.limiters import RateLimiter

__all__ = [
    "ConnectedSource",
    "HoldingSource",
    "Journal",
    "Observer",
    "OpenableSource",
    "ProjectCredentials",
    "ProjectSource",
    "RateLimiter",
    "SelectiveObserver",
    "StatusSource",
    "SubmissionSource",
    "TimedSource",
    "WarmableSource",
]


class StatusSource(Protocol):
    """Answers one poll of one request.  The tracker needs nothing else."""

    async def fetch(self, request_id: str, /) -> StatusReply:
        """
        Poll once; polling again is the tracker's business.

        The tracker limits the call by its own timeout, unless the source is a `TimedSource`
        whose timeout is no longer.  It cancels the call when nobody waits for the reply any
        more.

        Raises:
            StatusError: Its subclass decides what happens next, see `errors`.  Any other
                exception counts as a `TransportError`.  Before the first reply, an exception
                that shows a mistake in the source's own code (`NameError`, `AttributeError`,
                `TypeError`, `ImportError`, `NotImplementedError`) fails every waiter at once
                with a `SourceError`.

            ProjectError: Nothing can be learned about any request: it fails every waiter at
                once.
        """


@runtime_checkable
class SubmissionSource(Protocol):
    """Accepts statements: what `Tracker.submit` and `Tracker.execute` need."""

    async def submit(self, statement: str, /) -> str:
        """
        Submit once and return the request ID.

        Raises:
            SubmissionError: Refused, never sent, or of unknown fate.

            ThrottledError: Refused for its rate only: nothing runs, so it may be sent again.

            UnauthorizedError: The server refused the credentials.
        """


@runtime_checkable
class OpenableSource(Protocol):
    """
    Must be opened before its first call: the tracker does it, and closes it at its own end.

    Entering it while it is open must do no harm, and only the last exit may close it.  So a
    client that you opened stays open until you close it, and several trackers can share one.
    """

    @property
    def is_open(self) -> bool:
        """Whether it can be used now."""

    async def __aenter__(self) -> object:
        """Open it on the running loop, or count one user more."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        """Count one user less; close it with the last."""


@runtime_checkable
class TimedSource(Protocol):
    """Limits the time of its calls itself, so that the tracker needs no second timer."""

    @property
    def request_timeout(self) -> float:
        """Seconds one call may take from start to end."""


@runtime_checkable
class ConnectedSource(Protocol):
    """Has connections, which it uses as the tracker needs it."""

    @property
    def max_connections(self) -> int | None:
        """
        Requests that can be on the wire at once; `None` for any number.

        The tracker sends no more at once: one more would wait for a connection until it
        times out.
        """

    def forget_connections(self) -> None:
        """
        Make new connections for everything sent from now on, after a new look-up of the name.

        Called before each probe of an outage: the server may have moved.  Must not block.
        """


@runtime_checkable
class WarmableSource(Protocol):
    """Can open connections before they are needed."""

    async def warm_up(self) -> None:
        """
        Open a few connections, without sending anything.

        Called once, when more requests are tracked than one connection can serve.  An
        exception is ignored: the polls show what is wrong.
        """


@runtime_checkable
class HoldingSource(Protocol):
    """Can keep a connection ready for the next request."""

    async def hold(self) -> Callable[[], None]:
        """
        Keep one open connection for the next request until the function returned is called.

        Called before the first slot, and before a slot after ten seconds without one: a
        request that has to shake hands first reaches the server late.
        """


@runtime_checkable
class ProjectCredentials(Protocol):
    """What tells one project from another."""

    @property
    def project_key(self) -> str:
        """The same for everyone who polls this project at this server; not secret."""


@runtime_checkable
class ProjectSource(Protocol):
    """
    Knows its project.

    Trackers of one project in one process share its rate limit, and a `History` keeps projects
    apart.  Sources that do not know theirs share one part of the file of a history, which no
    project has: give such sources of different services a file each.
    """

    @property
    def credentials(self) -> ProjectCredentials:
        """Credentials of the project."""


if not TYPE_CHECKING:
    # Loaded when they are first used: the journal loads SQLite, and few need it.
    _MODULE_OF = {
        "Journal": "journal",
        "Observer": "events",
        "RateLimiter": "limiters",
        "SelectiveObserver": "events",
    }

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - loaded on first use

        return getattr(import_module(f"onehouse_tracker.{_MODULE_OF[name]}"), name)
