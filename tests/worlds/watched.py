"""
The parts of a world that report to its judge: project, source, journal and clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from onehouse_tracker.errors import RejectedError, ThrottledError
from onehouse_tracker.journal import Entry, SqliteJournal
from onehouse_tracker.journal._forwarding import ForwardingJournal
from onehouse_tracker.models import Result, StatusReply
from onehouse_tracker.testing.faults import lognormal
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.source import SimulatedSource
from onehouse_tracker.testing.virtual_clock import InlineExecutor, VirtualClockLoop
from tests.worlds.promises import Promises
from tests.worlds.rude import Rudeness

__all__ = ["CrashError", "WatchedJournal", "WatchedLoop", "WatchedProject", "WatchedSource"]


class CrashError(BaseException):
    """The process is killed here; not even a `finally` runs."""


class WatchedProject(SimulatedProject):
    """A project that counts how often it executed each statement."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.executed: Counter[str] = Counter()

    def calm_down(self) -> None:
        """No more faults."""
        self.rules.clear()
        self._faults.clear()

    def _execute(self, statement: str, now: float) -> str:
        self.executed[statement] += 1
        return super()._execute(statement, now)


class WatchedSource(SimulatedSource):
    """
    A simulated source that reports each request at the moment of sending.

    Args:
        rudeness: What it raises beside that.

        stubborn: Whether a poll that is cancelled swallows that, and answers late.
    """

    def __init__(
        self,
        project: SimulatedProject,
        promises: Promises,
        rudeness: Rudeness,
        *,
        seed: int,
        stubborn: bool,
    ) -> None:
        super().__init__(project, round_trip=lognormal(0.08, 0.4), seed=seed)
        self._promises = promises
        self._rudeness = rudeness
        self._stubborn = stubborn

    async def fetch(self, request_id: str) -> StatusReply:
        """Ask once, as `SimulatedSource.fetch` does."""
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        self._promises.poll(sent_at, request_id)
        try:
            self._rudeness.call("fetch")
        except BaseException:
            self._promises.poll_over(request_id)
            self._promises.failed_here[request_id] += 1
            raise
        try:
            reply = await super().fetch(request_id)
        except ThrottledError as error:
            self._promises.refused(loop.time(), sent_at, request_id, error.retry_after)
            raise
        except RejectedError:
            self._promises.answered(request_id)
            raise
        except asyncio.CancelledError:
            self._promises.poll_over(request_id)
            if not self._stubborn:
                raise
            await asyncio.sleep(0.5)
            late = self.project.status(request_id, loop.time())
            if late is None:
                raise
            return late
        else:
            self._promises.answered(request_id)
        finally:
            self._promises.poll_over(request_id)
        return reply

    async def submit(self, statement: str) -> str:
        """Submit once, as `SimulatedSource.submit` does."""
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        self._promises.submit(sent_at, statement)
        self._rudeness.call("submit")
        try:
            return await super().submit(statement)
        except ThrottledError as error:
            self._promises.not_submitted(statement)
            self._promises.refused(loop.time(), sent_at, statement, error.retry_after)
            raise


class WatchedJournal(ForwardingJournal):
    """A journal on a real file that reports what it said was on disk."""

    def __init__(self, path: Path, promises: Promises) -> None:
        super().__init__(SqliteJournal(path, executor=InlineExecutor()))
        self._promises = promises

    def open(self) -> int:
        """As `SqliteJournal.open`."""
        interrupted = super().open()
        self._promises.opened(interrupted)
        return interrupted

    def write(self, entries: Sequence[Entry]) -> Mapping[str, Result]:
        """As `SqliteJournal.write`."""
        found = super().write(entries)
        self._promises.written(entries)
        return found


class WatchedLoop(VirtualClockLoop):
    """
    A virtual clock that asks, before each jump, whether anything was due that was not done.

    Args:
        seed: As for `VirtualClockLoop`.

        start: As for `VirtualClockLoop`.

        before_jump: Called before each jump of the clock.

    Attributes:
        crash_at: From when on the process dies, in seconds; infinity for never.

        crash_after: How many turns of the loop later it does.

    Raises:
        CrashError: From `run_until_complete`, at that moment.
    """

    def __init__(self, seed: int, start: float, before_jump: Callable[[], None]) -> None:
        super().__init__(seed, start)
        self._before_jump = before_jump
        self.crash_at = inf
        self.crash_after = 0

    def _run_once(self) -> None:
        if self._now >= self.crash_at:
            if self.crash_after <= 0:
                self.crash_at = inf
                raise CrashError
            self.crash_after -= 1
        super()._run_once()

    def _let_something_happen(self) -> None:
        self._before_jump()
        super()._let_something_happen()
