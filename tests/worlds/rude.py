"""
The rude ones of a world: parts of a tracker that raise what nobody expects, and users who meddle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from onehouse_tracker.events import Event
from onehouse_tracker.handles import Handle
from onehouse_tracker.limiters import LocalLimiter

__all__ = ["PanicError", "RudeLimiter", "Rudeness"]


class PanicError(BaseException):
    """What an extension raises that is no `Exception`."""


_KINDS: tuple[type[BaseException], ...] = (
    ValueError,
    TimeoutError,
    StopAsyncIteration,
    GeneratorExit,
    asyncio.CancelledError,
    PanicError,
)
_MISTAKES: tuple[type[BaseException], ...] = (NameError, AttributeError, TypeError)
_METHODS: dict[str, tuple[type[BaseException], ...]] = {
    "fetch": (*_KINDS, *_MISTAKES),
    "submit": (asyncio.CancelledError,),
}


class Rudeness:
    """
    How rude one world is, and where.

    Args:
        seed: Decides everything.

    Attributes:
        handles: What an observer may cancel.

        cancelled: Whether a handle was.

        broken: Whether a limiter is.

        meddled: Whether a task was cancelled that is not the user's own; then whoever depended on
            it has an error that says so.
    """

    def __init__(self, seed: int) -> None:
        self.dice = Random(f"rude {seed}")
        self._share = self.dice.choice([0.0, 0.0, 0.02, 0.1])
        self.handles: list[Handle] = []
        self.cancelled = False
        self.meddled = False
        self.broken = False

    def calm_down(self) -> None:
        """No more of it."""
        self._share = 0.0

    def forget(self) -> None:
        """A new process: what was done to the last one is over."""
        self.handles.clear()
        self.broken = self.meddled = self.cancelled = False

    def _hits(self, share: float) -> bool:
        return self._share > 0 and self.dice.random() < share

    def is_clumsy(self) -> bool:
        """Whether one of those who hand in code of their own makes a mistake in it."""
        return self._hits(0.2)

    def breaks(self) -> bool:
        """Whether a limiter breaks now."""
        self.broken = self._hits(0.0005) or self.broken
        return self.broken

    def observe(self, _event: Event) -> None:
        """Be an observer: raise, or cancel somebody's handle while the engine is at work."""
        if not self._hits(self._share):
            return
        if self.handles and self.dice.random() < 0.3:
            self.cancelled = True
            self.dice.choice(self.handles).cancel()
        raise self.dice.choice(_KINDS)

    def call(self, method: str) -> None:
        """Be called as a source: raise, now and then."""
        if self._hits(self._share / 2):
            raise self.dice.choice(_METHODS[method])

    def mistake(self) -> BaseException:
        """What a mistake raises."""
        return self.dice.choice((ValueError, asyncio.CancelledError, PanicError))()

    def meddle(self) -> None:
        """Cancel tasks that belong to others."""
        if not self._hits(0.05):
            return
        # By name and not by number: what a set holds first is real chance.
        names = {task.get_name(): None for task in asyncio.all_tasks() if not _is_safe(task)}
        if not names:
            return
        self.meddled = True
        name = self.dice.choice(sorted(names))
        for task in asyncio.all_tasks():
            if task.get_name() == name:
                task.cancel()


def _is_safe(task: asyncio.Task[object]) -> bool:
    """Whether it is the world's, or has a name that tells when it was made."""
    return not task.get_name().startswith(("onehouse-tracker", "poll ", "user "))


class RudeLimiter(LocalLimiter):
    """A limiter that breaks now and then, which ends its tracker."""

    def __init__(self, limit: float, *, max_pause: float, broken: Callable[[], bool]) -> None:
        super().__init__(limit, max_pause=max_pause)
        self._broken = broken
        self._kinds = (asyncio.CancelledError, PanicError, OSError)

    async def acquire(self) -> None:
        """As a `LocalLimiter`, mostly."""
        await super().acquire()
        if self._broken():
            raise self._kinds[self.stats().granted % len(self._kinds)]
