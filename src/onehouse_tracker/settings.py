"""
The keywords of `Tracker` and of ``Tracker.from_env``, for type checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypedDict

from onehouse_tracker.onehouse.settings import ClientSettings

if TYPE_CHECKING:
    from onehouse_tracker.events import Observer
    from onehouse_tracker.history import History
    from onehouse_tracker.journal import Journal
    from onehouse_tracker.limiters import RateLimiter
    from onehouse_tracker.policy import PollPolicy

__all__ = ["OnJournalError", "TrackerOptions", "TrackerSettings"]

OnJournalError = Literal["raise", "warn"]


class _Common(TypedDict, total=False):
    policy: PollPolicy | None
    journal: Journal | None
    on_journal_error: OnJournalError
    observers: Sequence[Observer]
    history: History | None


class TrackerOptions(_Common, total=False):
    """The keywords of `Tracker`, which explains them."""

    limiter: RateLimiter | None
    wall_clock: Callable[[], datetime] | None
    seed: int | None


class TrackerSettings(_Common, ClientSettings, total=False):
    """The keywords of ``Tracker.from_env``, which explains them."""

    limit: float
    share: float
    limiter: RateLimiter | str | None
