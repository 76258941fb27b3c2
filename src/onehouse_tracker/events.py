"""
What happened, as frozen objects: the one seam for logs, progress, reports and telemetry.

No event holds a secret, a header, a statement or a response.  Times are seconds on the
event loop's clock, durations are seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from onehouse_tracker._event import Event
from onehouse_tracker._run_events import (
    CheckEnded,
    RunDropped,
    RunEnded,
    RunFollowed,
    RunOverdue,
)
from onehouse_tracker.models import Outcome

__all__ = [
    "BudgetDegraded",
    "BudgetRefused",
    "BudgetRestored",
    "CallbackFailed",
    "CheckEnded",
    "CredentialsDoubted",
    "Emitter",
    "Event",
    "JournalFailed",
    "JournalRecovered",
    "Observer",
    "OutageBegan",
    "OutageEnded",
    "PollFinished",
    "ProjectFailed",
    "RequestDropped",
    "RequestEnded",
    "RequestJoined",
    "RequestOverdue",
    "RunDropped",
    "RunEnded",
    "RunFollowed",
    "RunOverdue",
    "SelectiveObserver",
    "StatementSubmitted",
    "SubmissionsInterrupted",
    "WaitBegan",
    "WaitEnded",
]

FEW = 100
"""How many requests an event names at most, where it is about many."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestJoined(Event):
    """A request is followed from now on."""

    request_id: str
    label: str | None
    age: float
    """Seconds since it was submitted, as far as we were told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFinished(Event):
    """One poll brought a reply or an error."""

    request_id: str
    attempt: int
    """Which poll of this request it was, the first being 1."""

    took: float
    """Seconds from the slot to the reply."""

    status: str | None
    """The server's word; `None` where there was none."""

    error: str | None
    """The class of the error; `None` where there was a reply."""

    reason: str | None
    """What the server or the network said about the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded(Event):
    """A request has its outcome."""

    request_id: str
    label: str | None
    outcome: Outcome
    reason: str | None
    """What the server or the network said about it, in one line; `None` where it is ok or
    nobody said anything.  Of a request that started a run: that it did no more than that."""

    polls: int
    waited: float
    delay_bound: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDropped(Event):
    """A request without an outcome is not polled any more: nobody waits for it."""

    request_id: str
    label: str | None
    timed_out: bool
    """Whether the last who waited did so until a deadline."""

    reason: str | None
    """What was wrong with its last poll; `None` where nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOverdue(Event):
    """
    A request has been running for longer than 99 % of earlier runs of the same.

    Emitted once for each request, and only by trackers with a history that has proved right.
    """

    request_id: str
    label: str | None
    age: float
    """Seconds since it was submitted, as far as we were told."""

    usual: float
    """Seconds that it usually takes: half of all runs take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitBegan(Event):
    """A call of ``wait_all`` began to wait; its requests were joined already."""

    wait: int
    """Tells the waits of this process apart."""

    requests: int
    """How many requests it waits for, as far as they are known: an async iterable may bring
    more."""

    request_ids: tuple[str, ...]
    """The first `FEW` of them."""

    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitEnded(Event):
    """A call of ``wait_all`` has its results, or an error in their place."""

    wait: int
    """That of its `WaitBegan`."""

    took: float
    """Seconds since it began; callbacks that still run are not part of it."""

    succeeded: int
    failed: int
    unfinished: int
    """Results of each kind, see `Results`."""

    not_ok: tuple[tuple[str, Outcome], ...]
    """The first `FEW` requests that are not ok, each with its outcome."""

    error: str | None
    """The class of the error, `CancelledError` among them; `None` where there are results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementSubmitted(Event):
    """The server accepted a statement."""

    request_id: str
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRefused(Event):
    """The server refused a request for its rate (429)."""

    request_id: str
    """Empty for a submission."""

    retry_after: float | None
    paused_for: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDegraded(Event):
    """A shared limiter lost its shared state: it hands out its static share from now on."""

    limiter: str
    """Which kind of limiter."""

    rate: float
    """Requests per second that it hands out now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRestored(Event):
    """A shared limiter shares its budget again."""

    limiter: str
    """Which kind of limiter."""

    rate: float
    """Requests per second that all who share it may send now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageBegan(Event):
    """Nothing succeeds any more; one probe a second from now on."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageEnded(Event):
    """A good reply; full speed again."""

    lasted: float
    """Seconds since the first failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsDoubted(Event):
    """A request was refused with 401 or 403 after good replies; another one will tell."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFailed(Event):
    """Every waiter of this moment got an error."""

    error: str
    message: str
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFailed(Event):
    """An ``on_result`` callback raised; nobody else was disturbed."""

    request_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFailed(Event):
    """The journal could not be opened or written."""

    path: str
    error: str
    message: str
    lost: int
    """Entries that are not on disk because of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRecovered(Event):
    """The journal can be written again; what failed meanwhile is missing in it."""

    path: str
    lost: int
    """Entries that are missing since it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionsInterrupted(Event):
    """An earlier run ended while it sent statements: they may or may not run."""

    path: str
    count: int


class Observer(Protocol):
    """
    Called for every event, on the event loop: it must not block.

    What it raises is logged and otherwise ignored, except for `KeyboardInterrupt` and
    `SystemExit`, which leave the event loop a moment later.
    """

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


class SelectiveObserver(Observer, Protocol):
    """An observer that does not need every kind of event; most polls then cost less."""

    def listens_to(self, kind: type[Event], /) -> bool:
        """Whether it must get events of this *kind*; it may get others all the same."""


def _always(_: type[Event]) -> bool:
    return True


class Emitter:
    """
    Passes events to all observers.

    It is false while there are none, so that nobody builds events for nobody.

    Args:
        observers: They get every event.

        interrupt: Gets the `KeyboardInterrupt` or `SystemExit` that an observer raised, to raise
            it where it breaks nothing; by default it is raised once all have been told.
    """

    __slots__ = ("_interrupt", "_observers")

    def __init__(
        self,
        observers: Iterable[Observer] = (),
        interrupt: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._observers = tuple(observers)
        self._interrupt = interrupt

    def __bool__(self) -> bool:
        return bool(self._observers)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Everyone who is told."""
        return self._observers

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to events of this *kind*: then there must be one for each."""
        return any(_listens(observer, kind) for observer in self._observers)

    def add(self, observer: Observer) -> None:
        """Tell *observer* as well from now on."""
        self._observers = (*self._observers, observer)

    def __call__(self, event: Event) -> None:
        """Tell everyone; what one observer raises is logged and disturbs nobody."""
        ending: BaseException | None = None
        for observer in self._observers:
            ending = _told(observer, event) or ending
        self._end(ending)

    def tell(self, observer: Observer, event: Event) -> None:
        """Tell one *observer* only, in the same way."""
        self._end(_told(observer, event))

    def _end(self, ending: BaseException | None) -> None:
        if ending is None:
            return
        if self._interrupt is None:
            raise ending
        self._interrupt(ending)


def _told(observer: Observer, event: Event) -> BaseException | None:
    """Tell one; return what it raised to end the program, and log anything else."""
    try:
        observer(event)
    except (KeyboardInterrupt, SystemExit) as error:
        return error
    except BaseException:  # noqa: BLE001 - whatever it is, polling continues
        _complain("an observer failed on %s", type(event).__name__)
    return None


def _listens(observer: Observer, kind: type[Event]) -> bool:
    try:
        return bool(getattr(observer, "listens_to", _always)(kind))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - it will be told, and may fail again
        _complain("an observer failed to say whether it listens to %s", kind.__name__)
        return True


def _complain(message: str, name: str) -> None:
    # The user's filters and handlers of log lines may fail as their observers do.
    with suppress(Exception):
        _log.exception(message, name)
