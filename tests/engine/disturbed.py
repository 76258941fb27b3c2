"""
One short day of a tracker with everybody who can use it, and what holds however it is disturbed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onehouse_tracker import (
    JournalReader,
    Outcome,
    PollPolicy,
    Request,
    Result,
    Results,
    SqliteJournal,
    Tracker,
    TrackerError,
)
from onehouse_tracker.events import Event, Observer
from onehouse_tracker.handles import Handle
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import After, InlineExecutor, ScriptedSource, VirtualClockLoop
from tests.support import FAILED, PENDING, SUCCESS

__all__ = ["ACTORS", "OWNED", "SCRIPT", "Day", "copied", "journal_of_yesterday"]

TRUTH = {
    "a": Outcome.SUCCEEDED,
    "b": Outcome.FAILED,
    "c": Outcome.SUCCEEDED,
    "d": Outcome.SUCCEEDED,
    "s1": Outcome.SUCCEEDED,
    "s2": Outcome.SUCCEEDED,
    "yesterday's": Outcome.SUCCEEDED,
    "told": Outcome.FAILED,
}
SCRIPT: dict[str, list[Any]] = {
    "a": [PENDING, SUCCESS],
    "b": [FAILED],
    "c": [After(0.3, SUCCESS)],
    "d": [PENDING, PENDING, SUCCESS],
    "s1": [SUCCESS],
    "s2": [SUCCESS],
    "yesterday's": [SUCCESS],
    "told": [FAILED],
}
POLICY = PollPolicy(failure_base=0.2, failure_max=0.5)

ACTORS = [
    "list",
    "stream",
    "iterator",
    "handle",
    "sibling",
    "deadline",
    "submit",
    "slot",
    "resume",
]
"""Who uses the tracker; *sibling* awaits the same handle as *handle*."""

_OF_HANDLES = frozenset({"handle", "sibling", "submit"})

OWNED = ["engine", "feeder", "callbacks", "poll a", "poll c"]
"""Tasks of the tracker's own, by the ends of their names."""


class Turning(VirtualClockLoop):
    """
    A virtual clock that counts its turns.

    Args:
        at: The turn before which something is done.

        what: What that is.
    """

    def __init__(self, at: int = 0, what: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.turns = 0
        self.complaints: list[str] = []
        self._at = at
        self._what = what
        self.set_exception_handler(lambda _, context: self.complaints.append(str(context)))

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns == self._at and self._what is not None:
            self._what()
        super()._run_once()


@dataclass
class Day:
    """
    What happened.

    Args:
        journal: A copy is made of it; `None` for a day without.

        observers: Beside one that keeps all events.

        source: Takes the place of a script that tells the truth.
    """

    journal: Path | None = None
    observers: list[Observer] = field(default_factory=list)
    source: ScriptedSource | None = None
    script: ScriptedSource = field(init=False)
    events: list[Event] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    handles: list[Handle] = field(default_factory=list)
    left: set[asyncio.Task[Any]] = field(default_factory=set)
    engine: Any = None
    turns: int = 0

    def live(self, at: int = 0, what: Callable[[], object] | None = None) -> Day:
        """Live through it, and do *what* before turn *at* of the event loop."""
        self.script = self.source or ScriptedSource(SCRIPT, latency=0.03, submissions=["s1", "s2"])
        self._leaving: asyncio.Future[None] | None = None
        loop = Turning(at, what)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._everybody())
        self.turns = loop.turns
        assert not loop.complaints, loop.complaints
        return self

    # --- What can be done to it ------------------------------------------------------------

    def cancel(self, name: str) -> Callable[[], None]:
        """Cancel an actor, the owner of the tracker, or a task of its own."""

        def now() -> None:
            for task in asyncio.all_tasks():
                if task is self.tasks.get(name) or (
                    name in OWNED and task.get_name().endswith(name)
                ):
                    task.cancel()

        return now

    def cancel_all(self) -> None:
        """Cancel every task but the one that looks on."""
        tasks = asyncio.all_tasks()
        names = {task.get_name() for task in tasks}
        # Without an onlooker it is the runner's own loop, before the day or after it.
        if "onlooker" in names:
            for task in tasks:
                if task.get_name() != "onlooker":
                    task.cancel()

    def leave(self) -> None:
        """Let the owner leave its block under everybody."""
        if self._leaving is not None and not self._leaving.done():
            self._leaving.set_result(None)

    def cancel_handles(self) -> None:
        """Cancel all handles there are."""
        for handle in self.handles:
            handle.cancel()

    # --- How it goes -----------------------------------------------------------------------

    async def _everybody(self) -> None:
        onlooker = asyncio.current_task()
        assert onlooker is not None
        onlooker.set_name("onlooker")
        self._leaving = asyncio.get_running_loop().create_future()
        owner = self._start("owner", self._own())
        # Whoever still waits some hours later would wait for ever.
        await asyncio.wait([owner])
        await asyncio.wait(self.tasks.values(), timeout=3_600)
        self.left = asyncio.all_tasks() - {onlooker}

    def _start(self, name: str, actor: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(actor, name=f"the {name}")
        self.tasks[name] = task
        return task

    async def _own(self) -> None:
        journal = None
        if self.journal is not None:
            journal = SqliteJournal(self.journal, store_statements=True, executor=InlineExecutor())
        tracker = Tracker(
            self.script,
            policy=POLICY,
            journal=journal,
            observers=[self.events.append, *self.observers],
            seed=1,
        )
        async with tracker:
            self.engine = tracker._session.engine
            self._begin(tracker)
            assert self._leaving is not None
            others = [task for name, task in self.tasks.items() if name != "owner"]
            ended: asyncio.Future[Any] = asyncio.gather(*others, return_exceptions=True)
            try:
                await asyncio.wait([ended, self._leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _begin(self, tracker: Tracker) -> None:
        self._start("list", tracker.wait_all(["a", "b", "c"], on_result=self._called))
        self._start("stream", tracker.wait_all(_one_by_one()))
        self._start("iterator", _collected(tracker.as_completed(["a", "d"])))
        handle = tracker.track("c")
        self.handles.append(handle)
        self._start("handle", _awaited(handle))
        self._start("sibling", _awaited(handle))
        self._start("deadline", tracker.wait_all(["d"], timeout=0.25))
        self._start("submit", self._submit(tracker))
        self._start("slot", _slots(tracker))
        if self.journal is not None:
            self._start("resume", _collected(tracker.resume()))

    async def _called(self, _result: Result) -> None:
        await asyncio.sleep(0.02)

    async def _submit(self, tracker: Tracker) -> list[Result]:
        first, second = await asyncio.gather(
            tracker.submit("RUN JOB one"), tracker.submit("RUN JOB two"), return_exceptions=True
        )
        results = []
        for handle in (first, second):
            if isinstance(handle, BaseException):
                raise handle
            self.handles.append(handle)
            results.append(await handle)
        return results

    # --- What must hold ----------------------------------------------------------------------

    def judge(
        self,
        victim: str | None = None,
        *,
        owners_fault: bool = False,
        raised: type[BaseException] = TrackerError,
    ) -> None:
        """
        Everybody has an answer, and a true one; nothing is left; the journal fits.

        Args:
            victim: Who was cancelled, and may say so.

            owners_fault: Whether everybody was.

            raised: What the source raises when it is given a statement.
        """
        assert not self.left, self.left
        for name, task in self.tasks.items():
            assert task.done(), name
            if task.cancelled():
                # As with futures, whoever awaits a handle is cancelled with it.
                of_handle = name in _OF_HANDLES and any(each.cancelled() for each in self.handles)
                assert owners_fault or of_handle or name == victim, f"{name}: nobody cancelled it"
            elif (error := task.exception()) is not None:
                allowed = (
                    TrackerError if name != "submit" else (TrackerError, RuntimeError, raised)
                )
                assert isinstance(error, allowed), (name, error)
            else:
                _judge_told(task.result())
        if self.engine is not None:
            assert self.engine.in_flight == 0
            assert self.engine.submitting == 0
            assert self.engine.pending == 0
        statements = [statement for _, statement in self.script.submitted]
        assert len(statements) == len(set(statements))
        if self.journal is not None:
            self._judge_journal(statements)

    def _judge_journal(self, sent: list[str]) -> None:
        assert self.journal is not None
        reader = JournalReader(self.journal)
        for item in reader.requests():
            if item.result is not None:
                assert item.result.outcome is TRUTH[item.request.request_id]
        for statement in reader.statements():
            state, text = str(statement.state), statement.statement or ""
            # What is on the wire when the journal closes is of unknown fate when it is opened.
            assert state in {"unsent", "sending", "accepted", "unknown"}
            assert (text in sent) is (state != "unsent"), (text, state)


def _judge_told(told: object) -> None:
    results = told.values() if isinstance(told, Results) else told
    if isinstance(results, Result):
        results = [results]
    for result in results or ():  # type: ignore[attr-defined] # a list of them, or nothing
        assert result.outcome in {TRUTH[result.request_id], Outcome.TIMED_OUT}, result


async def _awaited(handle: Awaitable[Result]) -> Result:
    return await handle


async def _collected(results: AsyncIterator[Result]) -> list[Result]:
    return [result async for result in results]


async def _one_by_one() -> AsyncIterator[str | Request]:
    yield "a"
    await asyncio.sleep(0.1)
    yield Request("b", label="RUN JOB")
    await asyncio.sleep(0.1)
    yield "d"


async def _slots(tracker: Tracker) -> None:
    for _ in range(2):
        async with tracker.slot():
            await asyncio.sleep(0)


def journal_of_yesterday(path: Path) -> Path:
    """A journal with a result that nobody has acknowledged, and a request that is pending."""

    class Ends:
        async def fetch(self, request_id: str) -> StatusReply:
            return StatusReply(FAILED if request_id == "told" else PENDING)

    async def yesterday() -> None:
        tracker = Tracker(Ends(), journal=SqliteJournal(path, executor=InlineExecutor()))
        await tracker.__aenter__()
        tracker.track("yesterday's")
        await tracker.track("told")
        await tracker.__aexit__(KeyError, KeyError(), None)

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(yesterday())
    return path


@contextmanager
def copied(template: Path | None) -> Iterator[Path | None]:
    """A journal of one day, made of a template; `None` of none."""
    if template is None:
        yield None
        return
    path = template.with_name("today.db")
    shutil.copyfile(template, path)
    try:
        yield path
    finally:
        for suffix in ("", "-wal", "-shm", "-lock"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
