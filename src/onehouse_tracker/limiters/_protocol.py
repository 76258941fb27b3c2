"""
What the engine needs of a limiter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["RateLimiter", "RateLimiterStats"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimiterStats:
    """The budget as one limiter sees it now."""

    kind: str
    """Which limiter: ``local``, ``host`` or ``redis``."""

    rate: float
    """Requests per second the limiter hands out now: limit, share and margin applied."""

    granted: int
    """Slots handed out so far."""

    waited: float
    """Seconds the dispatcher spent waiting for slots so far, pauses included."""

    refusals: int
    """Replies 429 so far."""

    margin: float
    """Share of the limit that is kept free now, learned from refusals."""

    paused_for: float
    """Seconds until the project-wide pause ends; 0 where there is none."""

    dropped: int = 0
    """Slots that a busy process woke up for too late to use them."""

    degraded: bool = False
    """Whether a shared limiter lost its shared state and sends its static share only."""


class RateLimiter(Protocol):
    """
    Hands out slots, one at a time.

    Each tracker that uses it starts it once, waits for slots alone, and closes it once; where
    several trackers of one event loop share it, it counts them.

    Times are seconds on the running loop's clock.
    """

    @property
    def limit(self) -> float:
        """Requests per second that this limiter may hand out at best, margin not deducted."""

    @property
    def paused_until(self) -> float:
        """Until when nothing may be sent, as loop time; a past time if nothing is paused."""

    async def start(self) -> None:
        """Make ready for one user more, on the running loop; also again after `aclose`."""

    async def acquire(self) -> None:
        """
        Wait for the next slot.

        Cancelling gives up the place; a slot that was granted and is not used is lost.
        """

    def throttled(self, sent_at: float, retry_after: float | None, /) -> None:
        """
        Take note of a 429 for a request sent at *sent_at*: pause, and widen the margin.

        *retry_after* is what the server asked for in seconds, `None` where it did not say.
        """

    def answered(self, sent_at: float, /) -> None:
        """Take note that a request sent at *sent_at* was not refused for its rate."""

    def forgive(self, refusals: int, /) -> None:
        """
        So many of the refusals that `throttled` was told of were no matter of the rate.

        One request was refused for itself: what its refusals added to the margin is taken back.
        """

    def stats(self) -> RateLimiterStats:
        """The budget now."""

    async def aclose(self) -> None:
        """Count one user less; the last lets go of everything.  It does not wait any more."""
