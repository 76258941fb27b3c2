"""
How a server may enforce its rate limit: four ways, each told the time.
"""

from __future__ import annotations

from collections import deque
from math import floor
from typing import Protocol

__all__ = ["Enforcer", "FixedWindow", "SlidingLog", "Strict", "TokenBucket", "make_enforcer"]

# Two times that differ by less are the same: a difference of sums of decimals is seldom exact.
_SAME = 1e-9


class Enforcer(Protocol):
    """Decides who is let in.  Times are seconds on any one clock and never go back."""

    def admit(self, now: float) -> bool:
        """Whether a request that arrives at *now* is served; refused ones cost no budget."""


class _Window:
    def __init__(self, limit: int = 10, window: float = 1.0) -> None:
        if limit < 1 or window <= 0:
            raise ValueError(f"need limit >= 1 and window > 0, not {limit} and {window}")
        self.limit = limit
        self.window = window

    def __repr__(self) -> str:
        return f"{type(self).__name__}(limit={self.limit}, window={self.window:g})"


class FixedWindow(_Window):
    """
    At most *limit* requests in each window of *window* seconds, counted afresh in the next.

    Windows begin at whole multiples of *window* on the clock.

    Raises:
        ValueError: *limit* is less than 1, or *window* not positive.
    """

    def __init__(self, limit: int = 10, window: float = 1.0) -> None:
        super().__init__(limit, window)
        self._number: int | None = None
        self._count = 0

    def admit(self, now: float) -> bool:
        """Whether the window of *now* has room."""
        number = floor((now + _SAME) / self.window)
        if number != self._number:
            self._number, self._count = number, 0
        if self._count >= self.limit:
            return False
        self._count += 1

        return True


class SlidingLog(_Window):
    """
    At most *limit* requests in any *window* seconds: the exact limit, and the hardest to meet.

    A request that was admitted *window* seconds ago no longer counts.

    Raises:
        ValueError: *limit* is less than 1, or *window* not positive.
    """

    def __init__(self, limit: int = 10, window: float = 1.0) -> None:
        super().__init__(limit, window)
        self._log: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Whether fewer than *limit* requests were admitted in the last *window* seconds."""
        log = self._log
        while log and now - log[0] >= self.window - _SAME:
            log.popleft()
        if len(log) >= self.limit:
            return False
        log.append(now)

        return True


class TokenBucket:
    """
    A bucket of *burst* tokens, full at first, that gains *rate* tokens a second.

    Raises:
        ValueError: *rate* is not positive, or *burst* less than 1.
    """

    def __init__(self, rate: float = 10.0, burst: float = 10.0) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"need rate > 0 and burst >= 1, not {rate} and {burst}")
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at: float | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rate={self.rate:g}, burst={self.burst:g})"

    def admit(self, now: float) -> bool:
        """Whether a whole token is there; it is taken."""
        if self._at is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1 - self.rate * _SAME:
            return False
        self._tokens = max(0.0, self._tokens - 1)

        return True


class Strict:
    """
    No two requests closer than 1/*rate* seconds: a limiter without burst (nginx's default).

    Raises:
        ValueError: *rate* is not positive.
    """

    def __init__(self, rate: float = 10.0) -> None:
        if rate <= 0:
            raise ValueError(f"need rate > 0, not {rate}")
        self.rate = rate
        self._last: float | None = None

    def __repr__(self) -> str:
        return f"Strict(rate={self.rate:g})"

    def admit(self, now: float) -> bool:
        """Whether the last admitted request is 1/*rate* seconds ago, or more."""
        if self._last is not None and now - self._last < 1 / self.rate - _SAME:
            return False
        self._last = now

        return True


def make_enforcer(name: str, limit: float) -> Enforcer:
    """
    Build an enforcer by its name.

    Args:
        name: ``fixed``, ``sliding``, ``bucket`` or ``strict``.

        limit: Requests per second.  The windows are one second long where that is a whole
            number, and as long as a whole number of requests needs where it is not.

    Raises:
        ValueError: There is no such name, or *limit* is not positive.
    """
    if limit <= 0:
        raise ValueError(f"a limit is more than 0, not {limit}")
    count = max(1, floor(limit))
    window = count / limit
    if name == "fixed":
        return FixedWindow(count, window)
    if name == "sliding":
        return SlidingLog(count, window)
    if name == "bucket":
        return TokenBucket(limit, max(1.0, limit))
    if name == "strict":
        return Strict(limit)
    raise ValueError(f"an enforcer is fixed, sliding, bucket or strict, not {name!r}")
