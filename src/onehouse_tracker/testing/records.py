"""
What the simulated service writes down: its requests, who came to the door, what it decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, NamedTuple

from onehouse_tracker.models import ApiStatus, StatusReply
from onehouse_tracker.testing.faults import Fault

__all__ = ["Answer", "Arrival", "SimulatedRequest"]


_OK = frozenset(status for status in ApiStatus if status.outcome and status.outcome.ok)


@dataclass(slots=True, kw_only=True)
class SimulatedRequest:
    """One request at the server, and what the server knows about its polls."""

    request_id: str
    """Its ID."""

    duration: float
    """Seconds from submission to its end."""

    status: str | None
    """The server's word at its end; `None` for a reply without one."""

    response: Mapping[str, Any]
    """``apiResponse`` at its end."""

    label: str | None
    """What kind of statement it is."""

    submitted_at: float | None
    """When it was submitted, on the project's clock; `None` while that has not begun."""

    visible_after: float
    """Seconds from submission during which the server answers 404."""

    polls: int = 0
    """Polls that arrived, refused ones included."""

    final_replies: int = 0
    """How often the server said how it ended; more than once is a poll too many."""

    first_final_at: float | None = None
    """When the server first said how it ended."""

    statement: str | None = field(default=None, repr=False)
    """The text that was submitted; `None` if a test added the request."""

    spoilt: Fault | None = None
    """What happens to each of its polls that nothing else happens to."""

    look: Callable[[], tuple[str | None, Mapping[str, Any]]] | None = field(
        default=None, repr=False
    )
    """Says the last word and ``apiResponse`` of a statement that shows how things are at its
    end; takes the place of `status` and `response`."""

    @property
    def succeeds(self) -> bool:
        """Whether the server's word at its end is good."""
        known = self.status is not None and self.status in _OK
        return known and self.duration < inf

    @property
    def finished_at(self) -> float:
        """The truth: when the server finished it, on the project's clock; infinite if unknown."""
        return inf if self.submitted_at is None else self.submitted_at + self.duration


class Arrival(NamedTuple):
    """One request on the wire, as the server saw it."""

    at: float
    """When it arrived, in seconds on the project's clock."""

    kind: Literal["status", "submit", "other"]
    """What it wanted."""

    request_id: str
    """The ID it polled, or the one it was given; empty where there is none."""

    verdict: str
    """``pending``, ``final``, ``unknown``, ``accepted``, ``refused`` (429 of the enforcer),
    ``unauthorized``, ``malformed``, or ``fault:`` and its kind."""


class Answer(NamedTuple):
    """What the server decided: a reply, spoilt by a fault where there is one."""

    reply: StatusReply | None
    """The proper reply to a poll; `None` where it was refused, or is a submission."""

    request_id: str
    """The ID polled or newly given; empty for a statement that was not executed."""

    fault: Fault | None
    """What happens to the reply on its way, or instead of it."""


def peak(times: Sequence[float], window: float) -> int:
    """The largest number of *times*, which are in order, in any *window* seconds."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= window - 1e-9:
            first += 1
        most = max(most, last - first + 1)

    return most
