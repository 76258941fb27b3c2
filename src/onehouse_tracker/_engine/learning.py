"""
The history of one tracker: read when it opens, added to while it works and when it closes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.laws import Laws
from onehouse_tracker._engine.tracked import Joining
from onehouse_tracker.history._records import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker.history import History
    from onehouse_tracker.history._file import Contents
    from onehouse_tracker.history._records import Lesson, Record

__all__ = ["Learning"]

_EVERY = 30.0
"""Seconds between two writes, at least, so that a process that is killed loses little."""


class Learning:
    """
    What one tracker has of a history.

    Args:
        history: Where it is kept.

        project: Tells projects apart.
    """

    def __init__(self, history: History, project: str) -> None:
        self._history = history
        self._project = project
        self._own_executor: ThreadPoolExecutor | None = None
        self._executor = history.executor
        self._contents: Contents | None = None
        self._jobs: dict[str, Record] = {}
        self._clock: Callable[[], float] = float
        self._lessons: list[Lesson] = []
        self._writing: Future[None] | None = None
        self._written_at = 0.0
        self.laws = Laws()

    async def open(self) -> None:
        """Read what earlier runs took.  Cancelling ends the waiting.  Raises nothing else."""
        loop = asyncio.get_running_loop()
        executor = self._ready()
        self._contents = await loop.run_in_executor(executor, self._history.read, self._project)
        self._clock, self._written_at = loop.time, loop.time()
        # Runs take hours where requests take seconds: what is known of all requests, and of all
        # jobs, says nothing about the others.
        records = self._contents.records
        for name in [name for name in records if name.startswith(JOBS)]:
            self._jobs[name] = records.pop(name)
        self.laws = Laws(records, lesson=self._take)

    def named(self, joining: Joining, statement: str | None = None) -> Joining:
        """Say what a request is remembered by."""
        assert self._contents is not None  # noqa: S101 - it was opened
        names = self._history.names(self._contents, statement, joining.label)
        return joining._replace(names=names) if names else joining

    def laws_of_jobs(self) -> Laws:
        """What earlier runs of jobs took, learned apart from what requests took."""
        return Laws(self._jobs, lesson=self._take)

    async def aclose(self) -> None:
        """
        Write what was learned.

        Cancelling ends the waiting, not the writing.  Raises nothing else.
        """
        self._write()
        try:
            if self._writing is not None:
                await asyncio.wait([asyncio.wrap_future(self._writing)])
        finally:
            if self._own_executor is not None:
                self._own_executor.shutdown(wait=False)

    def _take(self, lesson: Lesson) -> None:
        self._lessons.append(lesson)
        if self._clock() - self._written_at >= _EVERY:
            self._write()

    def _write(self) -> None:
        if not self._lessons:
            return
        lessons, self._lessons = self._lessons, []
        self._written_at = self._clock()
        try:
            self._writing = self._ready().submit(
                self._history.add, self._project, lessons, self.laws.common
            )
        except RuntimeError:  # its executor was shut down: the history is no reason to fail
            return

    def _ready(self) -> Executor:
        if self._executor is None:
            self._own_executor = ThreadPoolExecutor(
                max_workers=1, thread_name_prefix="onehouse-tracker history"
            )
            self._executor = self._own_executor
        return self._executor
