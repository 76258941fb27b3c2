"""
What the product promises of every moment, checked while a world goes on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from onehouse_tracker._engine.retry import UNREACHABLE_AFTER, UNRECOGNIZED_AFTER
from onehouse_tracker.events import Event, RequestEnded, RequestJoined
from onehouse_tracker.journal import (
    Accepted,
    Acknowledged,
    Added,
    Entry,
    Intended,
    ResultEntry,
    Settled,
)
from onehouse_tracker.models import ApiStatus, Outcome, Result
from onehouse_tracker.testing.simulated_project import SimulatedProject

__all__ = ["ANYTHING", "LIMIT", "MAX_PAUSE", "BrokenPromiseError", "OnDisk", "Promises"]

LIMIT = 10
"""Requests per second."""

ANYTHING = "*"
"""In place of a request ID: whatever there is."""

MAX_PAUSE = 10.0
"""Seconds that one Retry-After can make the limiter pause."""

_SHORTEST_PAUSE = 0.2
_MOMENT = 1e-6  # seconds that the virtual clock may creep while one thing happens
_TRUTH = {
    ApiStatus.SUCCESS: Outcome.SUCCEEDED,
    ApiStatus.SUCCESS_PARTIAL: Outcome.PARTIALLY_SUCCEEDED,
    ApiStatus.FAILED: Outcome.FAILED,
    ApiStatus.INVALID: Outcome.INVALID,
}


class BrokenPromiseError(AssertionError):
    """A world in which the product did not do what it promises."""


@dataclass(slots=True)
class OnDisk:
    """What a journal must hold after a crash: all that it said was written."""

    added: dict[str, None] = field(default_factory=dict)
    """Requests."""

    recorded: set[str] = field(default_factory=set)
    """Requests that ever had a result."""

    is_final: dict[str, bool] = field(default_factory=dict)
    """Requests that have a result now, and whether it is final."""

    acknowledged: set[str] = field(default_factory=set)
    """Requests whose result arrived."""

    intended: dict[str, str] = field(default_factory=dict)
    """Statements by key."""

    fates: dict[str, str] = field(default_factory=dict)
    """What became of them, by key."""

    def note(self, entry: Entry) -> None:
        """*entry* was written."""
        match entry:
            case Added(request=request):
                self.added[request.request_id] = None
                self._forget_conclusion(request.request_id)  # it is asked anew
            case ResultEntry(result=result):
                self.added[result.request_id] = None
                self.recorded.add(result.request_id)
                self._forget_conclusion(result.request_id)
                self.is_final.setdefault(result.request_id, result.outcome.final)
            case Acknowledged(request_ids=request_ids):
                self.acknowledged.update(self.is_final.keys() & request_ids)
            case Intended(key=key, statement=statement):
                self.intended[key] = statement
                if self.fates.get(key) == "unsent":  # refused for its rate, and sent again
                    del self.fates[key]
            case Accepted(key=key, request=request):
                self.added[request.request_id] = None
                self.fates[key] = "accepted"
            case Settled(key=key, fate=fate):
                self.fates.setdefault(key, fate)

    def _forget_conclusion(self, request_id: str) -> None:
        if self.is_final.get(request_id) is False:
            del self.is_final[request_id]
            self.acknowledged.discard(request_id)

    @property
    def owed(self) -> list[str]:
        """What `Tracker.resume` has to deliver."""
        return [request_id for request_id in self.added if request_id not in self.acknowledged]

    @property
    def sending(self) -> set[str]:
        """Keys of statements whose end is not on disk: of unknown fate after a crash."""
        return {key for key in self.intended if key not in self.fates}


class Promises:
    """
    The judge of one world, across all the processes that live in it one after the other.

    Args:
        project: The truth.

        journalled: Whether everything has to be on disk before anyone acts on it.

    Attributes:
        broken: What was not kept, for people.

        told: Every result that reached a user, in order.

        sent_at: When requests of any kind were sent, on the loop's clock.

        disk: What the journal must hold.

        over: Whether all is judged; what happens from then on does not matter.
    """

    def __init__(self, project: SimulatedProject, *, journalled: bool) -> None:
        self.broken: list[str] = []
        self.told: list[Result] = []
        self.sent_at: list[float] = []
        self.disk = OnDisk()
        self.over = False
        self._project = project
        self.failed_here: Counter[str] = Counter()
        """Polls that failed on their way to the server, by request."""
        self.patience = math.inf
        """Seconds after which a request that alone fails is given up."""
        self._journalled = journalled
        self._delivered: set[str] = set()
        self._ever_wanted: set[str] = set()
        self._restarts: list[float] = []
        self._may_send: Counter[str] = Counter()
        self._forget()

    def restarted(self, at: float) -> None:
        """A new process: all that was in the memory of the last one is gone."""
        self._restarts.append(at)
        self._forget()

    def _forget(self) -> None:
        self._wanted: Counter[str] = Counter()
        self._followed: set[str] = set()
        self._on_the_wire: set[str] = set()
        self._refused_before: set[str] = set()
        self._silent_from = self._silent_until = self._refused_at = float("-inf")

    def complain(self, text: str) -> None:
        """Write down what was not kept."""
        if not self.over:
            self.broken.append(text)

    # --- What users want and get ---------------------------------------------------------

    def want(self, request_ids: Iterable[str]) -> None:
        """A user begins to wait."""
        wanted = list(request_ids)
        self._wanted.update(wanted)
        self._ever_wanted.update(wanted)

    def lose_interest(self, request_ids: Iterable[str]) -> None:
        """A user waits no more."""
        self._wanted.subtract(request_ids)

    def perhaps_added(self, given: Iterable[str]) -> set[str]:
        """
        Every request that a user can have asked the tracker to follow by now.

        Args:
            given: The requests there are from the start; all others are what statements became.
        """
        accepted = set(self._project.requests).difference(given)
        return self._ever_wanted | set(self.disk.added) | accepted

    def tell(self, result: Result) -> None:
        """A user has a result: it is the truth, or what the server's faults explain."""
        if self.over:
            return
        self.told.append(result)
        request_id, outcome = result.request_id, result.outcome
        if outcome.finished:
            self._delivered.add(request_id)
            if self._journalled and request_id not in self.disk.recorded:
                self.complain(f"{result!r} was told and is not on disk")
        request = self._project.requests[request_id]
        truth = _TRUTH.get(ApiStatus(request.status)) if request.status in _TRUTH else None
        if outcome is truth:
            if result.response != request.response:
                self.complain(f"{result!r} has another one's response")
            return
        verdicts = Counter(
            arrival.verdict
            for arrival in self._project.arrivals
            if arrival.request_id == request_id
        )
        faults = sum(count for verdict, count in verdicts.items() if "fault" in verdict)
        faults += self.failed_here[request_id]
        explained = {
            Outcome.TIMED_OUT: True,
            Outcome.UNRECOGNIZED: truth is None or verdicts["fault:body"] >= UNRECOGNIZED_AFTER,
            Outcome.NOT_FOUND: bool(verdicts["unknown"]),
            Outcome.REJECTED: bool(verdicts["fault:refuse"]),
            Outcome.UNREACHABLE: faults >= UNREACHABLE_AFTER
            or (faults + verdicts["refused"] > 1 and result.waited >= self.patience),
        }
        if not explained.get(outcome, False):
            self.complain(f"{result!r}, but the server says {request.status}")

    # --- What the engine does --------------------------------------------------------------

    def observe(self, event: Event) -> None:
        """Follow the engine's own account."""
        match event:
            case RequestJoined(request_id=request_id):
                self._followed.add(request_id)
            case RequestEnded(request_id=request_id):
                self._followed.discard(request_id)

    def send(self, at: float) -> None:
        """
        A request of any kind leaves.

        The budget is judged here and not on arrival, where latency may bunch what was sent
        evenly.  A new process does not know when the last one sent its last request, so each
        restart may add one request to the second in which it happens.
        """
        if self.over:
            return
        self.sent_at.append(at)
        allowed = LIMIT + sum(at - restart < 1.0 for restart in self._restarts)
        if len(self.sent_at) > allowed and at - self.sent_at[-1 - allowed] < 1.0:
            self.complain(f"at {at:g} s: more than {allowed} requests within one second")
        if self._silent_from + _MOMENT < at < self._silent_until - _MOMENT:
            self.complain(f"at {at:g} s: sent in a pause until {self._silent_until:g} s")

    def poll(self, at: float, request_id: str) -> None:
        """A poll leaves."""
        self.send(at)
        when = f"at {at:g} s: {request_id} was asked about"
        if self._wanted[request_id] <= 0 and self._wanted[ANYTHING] <= 0:
            self.complain(f"{when}, but nobody waits")
        if request_id not in self._followed:
            self.complain(f"{when} after its outcome")
        if request_id in self._on_the_wire:
            self.complain(f"{when} twice at once")
        if self._journalled and request_id not in self.disk.added:
            self.complain(f"{when} and is not on disk")
        self._on_the_wire.add(request_id)

    def poll_over(self, request_id: str) -> None:
        """A poll was answered, or given up."""
        self._on_the_wire.discard(request_id)

    def submit(self, at: float, statement: str) -> None:
        """A statement leaves: once, and again only after a refusal for its rate."""
        self.send(at)
        self._may_send[statement] -= 1
        if self._may_send[statement] < -1:
            self.complain(f"at {at:g} s: {statement!r} was sent again")
        if self._journalled and statement not in self.disk.intended.values():
            self.complain(f"at {at:g} s: {statement!r} was sent, and the intent is not on disk")

    def not_submitted(self, statement: str) -> None:
        """A statement was refused for its rate."""
        self._may_send[statement] += 1

    def answered(self, key: str) -> None:
        """A request was answered."""
        self._refused_before.discard(key)

    def refused(self, at: float, sent_at: float, key: str, retry_after: float | None) -> None:
        """
        A request was refused for its rate: everybody has to be silent for a while.

        Unless it was refused the last time as well: that may be a matter of its own.
        """
        # The rest of one burst of refusals says nothing new.
        is_news = sent_at > self._refused_at
        self._refused_at = at
        if key in self._refused_before:
            return
        self._refused_before.add(key)
        pause = retry_after
        if pause is None:
            pause = _SHORTEST_PAUSE if is_news else 0.0
        until = at + min(pause, MAX_PAUSE)
        if until > self._silent_until:
            if at >= self._silent_until:
                self._silent_from = at
            self._silent_until = until

    # --- What is written down --------------------------------------------------------------

    def written(self, entries: Sequence[Entry]) -> None:
        """The journal says that this is on disk."""
        if self.over:
            return
        for entry in entries:
            self.disk.note(entry)
            if isinstance(entry, Acknowledged):
                early = set(entry.request_ids) - self._delivered
                if early:
                    self.complain(f"{sorted(early)} acknowledged, but nobody has them")

    def opened(self, interrupted: int) -> None:
        """The next process opened the journal and says how many statements it does not know of."""
        if interrupted != len(self.disk.sending):
            self.complain(f"{interrupted} statements interrupted, not {len(self.disk.sending)}")
        for key in self.disk.sending:
            self.disk.fates[key] = "unknown"

    def judge_statements(self, executed: Counter[str]) -> None:
        """At the end: what ran ran once, and what is said to have been refused did not run."""
        for statement, count in executed.items():
            if count > 1:
                self.complain(f"{statement!r} was executed {count} times")
        for key, fate in self.disk.fates.items():
            count = executed[self.disk.intended[key]]
            if fate != "unknown" and count != (fate == "accepted"):
                self.complain(f"{self.disk.intended[key]!r} is {fate}, but ran {count} times")
