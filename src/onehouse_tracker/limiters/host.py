"""
The budget of one project, shared by the processes of one machine through a locked file.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from onehouse_tracker._checks import user_path
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters._budget_file import (
    Budget,
    BudgetFile,
    boot_id,
    default_path,
    refuse_without_locks,
)
from onehouse_tracker.limiters._pace import Pace, PaceState
from onehouse_tracker.limiters._shared_limiter import SILENCE, SharedLimiter, horizon_of, shifted

__all__ = ["HostLimiter"]

_log = logging.getLogger(__name__)

_RETRY = 0.001
"""Seconds until a lock is tried again.  It is held for some microseconds."""

_STUCK = 2.0
_STUCK_TRIES = 100
"""A lock that so many tries in so many seconds did not get is not given back."""


class HostLimiter(SharedLimiter):
    """
    Evenly paced slots for all processes of one machine that name the same file.

    The file holds when the next slot is free, the learned margin and the pause.  Who wants a
    slot books the next free one and waits for it: first come, first served, each process has
    one slot at a time.  A process that is killed loses the slot it had booked, and nothing
    else; one that is stopped while it holds the file's lock holds up the others for two
    seconds, then they put a new file in its place.  No server is needed; Linux or macOS is.

    Args:
        limit: Requests per second of the whole project [vendor documentation: 10].

        share: The part of it that all these processes have together, more than 0, at most 1.

        path: The file.  `None` is one below ``/tmp`` for this user and `project`.  To share it
            among users, name one in a directory of their group.

        mode: Permissions of the file if it is made here, e.g. ``0o660``.

        max_pause: Seconds a ``Retry-After`` can make us pause, at most.

        project: A key that tells projects apart, such as `Credentials.project_key`.

        clock: Tells the seconds that all processes of this boot agree on.

    Raises:
        ConfigError: A value is out of its bounds; there is neither a path nor a project; or
            this system has no file locks.
    """

    kind = "host"

    def __init__(
        self,
        limit: float = 10.0,
        *,
        share: float = 1.0,
        path: str | os.PathLike[str] | None = None,
        mode: int = 0o600,
        max_pause: float = 120.0,
        project: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(limit, share=share, max_pause=max_pause)
        refuse_without_locks()
        if path is None and project is None:
            raise ConfigError("a host limiter needs a path, or a project to choose one for")
        self._path = user_path(path) if path is not None else default_path(project or "")
        self._is_private = path is None
        self._horizon = horizon_of(self.limit, max_pause)
        self._mode = mode
        self._clock = clock
        self._file: BudgetFile | None = None
        self._shared_pace = Pace(limit, share=share, max_pause=max_pause)
        self._epoch = ""
        self._is_stuck = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def _open(self) -> None:
        """
        Open the file.

        Raises:
            ConfigError: It cannot be opened, has no locks, or another machine uses it too; or
                no path was named, and somebody else has a hand in the directory below ``/tmp``.
        """
        self._file = BudgetFile(
            self._path,
            mode=self._mode,
            boot=boot_id(),
            horizon=self._horizon,
            private=self._is_private,
        ).open()

    async def _next_slot(self) -> None:
        """
        Wait for the next slot.

        Raises:
            ConfigError: The file was replaced by something that cannot be used, or cannot be
                read or written any more: the disk is full, for example.
        """
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        while True:
            slot = await self._book()
            if slot is None:
                await self._sleep_until(self._pace.paused_until)
                continue
            if await self._sleep_until(slot) and self._look() and self._is_usable(slot):
                break
        self._grant(asked_at)

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        """Take note of a 429 for a request sent at *sent_at* (loop time), and tell the others."""
        super().throttled(sent_at, retry_after)
        if self._file is not None:
            with self._file.locked() as mine:
                # If it is not, the next `acquire` tells them.
                if mine and self._file.is_current():
                    self._exchange(self._file)

    async def _close(self) -> None:
        """Close the file; it stays, for the others and for the next start."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    async def _book(self) -> float | None:
        """Book the next slot, as loop time; `None` while there is a pause."""
        file = self._file
        if file is None:
            raise RuntimeError("the limiter was not started")
        tries, held_since = 0, math.inf
        while True:
            with file.locked() as mine:
                # In this order: a process that is stopped between the two may find, when it
                # continues, that another file has taken the place of this one.
                is_current = file.is_current()
                if mine and is_current:
                    return self._book_in(file)
            if not is_current:
                file.open()  # somebody cleaned up: the next process makes a new one
                continue
            now = asyncio.get_running_loop().time()
            tries, held_since = tries + 1, min(now, held_since)
            # By the number too: if it was we who were stopped, time alone says nothing.
            if tries >= _STUCK_TRIES and now - held_since >= _STUCK:
                self._take_over(file)
                tries, held_since = 0, math.inf
            await asyncio.sleep(_RETRY)

    def _book_in(self, file: BudgetFile) -> float | None:
        """Book the next slot.  Hold the lock."""
        budget = self._exchange(file)
        now = self._clock()
        if budget.pace.paused_until > now:
            return None
        slot = max(budget.next_slot, now)
        budget.next_slot = slot + 1.0 / self._shared_pace.rate(now)
        file.write(budget)
        return slot - self._ahead()

    def _take_over(self, file: BudgetFile) -> None:
        """Continue without the process that does not release the lock, and say so."""
        problem = f"{file.holder()} has held the lock of {self._path} for {_STUCK:g} s"
        try:
            if file.take_over():
                _log.warning("%s: a new file is in its place now", problem)
        except ConfigError as error:
            if not self._is_stuck:
                _log.warning("%s, so nobody can send: %s", problem, error)
            self._is_stuck = True
        else:
            self._is_stuck = False

    def _exchange(self, file: BudgetFile) -> Budget:
        """Write what we know into the file, and learn what the others know.  Hold the lock."""
        now, ahead = self._clock(), self._ahead()
        budget = file.read(now)
        changed = budget is None
        if budget is None:
            budget = Budget(next_slot=now, born_at=now, at=now)
        if self._epoch and self._epoch != budget.epoch:
            # What we had booked got lost, and perhaps others had booked too.
            budget.next_slot = max(budget.next_slot, budget.born_at + SILENCE)
            changed = True
        self._epoch = budget.epoch
        pace = self._shared_pace
        pace.state = budget.pace
        if self._good_sent_at is not None:
            changed |= pace.answered(self._good_sent_at + ahead)
            self._good_sent_at = None
        for refusal in self._news:
            pace.throttled(
                now, refusal.sent_at + ahead, refusal.retry_after, spread=refusal.spread
            )
            changed = True
        self._news.clear()
        if self._forgiven:
            pace.forgive(now, self._forgiven)
            self._forgiven = 0
            changed = True
        budget.pace = pace.state
        budget.at = now
        if changed:
            file.write(budget)
        self._learn(budget)
        return budget

    def _look(self) -> bool:
        """
        Learn of pauses that began since we booked; false if what we booked counts no more.

        No lock: a look is not worth one.
        """
        file = self._file
        if file is None or not file.is_current():
            # Removed, or somebody found us stopped with the lock and uses another file now.
            return False
        budget = file.read(self._clock())
        if budget is not None:
            self._learn(budget)
        return True

    def _learn(self, budget: Budget) -> None:
        by = -self._ahead()
        margin, refused_at, reacted_at, next_pause, paused_until = budget.pace
        self._pace.state = PaceState(
            margin,
            shifted(refused_at, by),
            shifted(reacted_at, by),
            next_pause,
            # Our own refusals that nobody knows of yet count too.
            max(self._pace.paused_until, shifted(paused_until, by)),
        )

    def _ahead(self) -> float:
        """Seconds by which the clock of this boot is ahead of the loop's: 0 for most loops."""
        return self._clock() - asyncio.get_running_loop().time()
