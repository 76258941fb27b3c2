"""
Classes of requests: those of users, and others that serve users but are not theirs.

A class says when its requests are polled, and whether anybody hears of them.  The engine knows
no more about them; what a class is for is known by the code that adds its requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from onehouse_tracker.policy import PollPolicy

__all__ = ["OF_USERS", "Planner", "RequestClass"]


@dataclass(frozen=True, slots=True, eq=False)
class RequestClass:
    """
    One class of requests.

    Every class has a schedule of its own: what its polls teach orders its own requests only.
    """

    name: str
    """What it is called in debugging."""

    policy: PollPolicy | None = None
    """Its gap rule, its order, and its share of an idle budget; `None` is the tracker's.  How a
    poll is repeated that failed is a matter of the project, and so always the tracker's."""

    reported: bool = False
    """Whether its requests appear: in events, in the journal, and among the numbers of pending
    and ended requests and polls."""


OF_USERS = RequestClass("of users", reported=True)
"""What users track and submit."""


class Planner(Protocol):
    """
    Has statements of its own to send, which only read, at times that it decides.

    Their polls belong to a class of their own.  No method may block.
    """

    def wanted_at(self, now: float) -> float:
        """When it wants to send the next statement; infinity for not until it wakes the engine."""

    def value(self, now: float) -> float:
        """
        What the statement is worth that would go now, as the value of a poll is counted.

        That is (chance that something has ended) x (seconds since it was looked at), summed up.
        """

    def take(self, now: float) -> Callable[[], Coroutine[None, None, None]] | None:
        """
        Take the statement that goes now; `None` if there is none.

        Returns:
            Sends it at once, for the slot is granted, and returns when it is accepted or
            refused.  The engine runs it as a task, which may be cancelled.
        """

    def failed(self, error: BaseException) -> None:
        """The project failed, or is closed: everyone who waits gets *error*."""
