"""
A process that tracks requests with a journal and a history, and dies at any moment.

It reads one JSON order per line, forks a victim for each, and reports the victim's process
ID and then its exit status.  Forking saves each victim the half second of imports; it happens
before any loop, thread or file is there.

A victim writes a line for each result that it has got (``+ID``), with one system call, so
that the line is there however the process ends.  It "uses" a result for some milliseconds
before it writes the line: whatever is acknowledged before that is lost by a kill.

What it learns it writes into the history at once, so that kills hit such writes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from onehouse_tracker import (
    Credentials,
    OnehouseClient,
    PollPolicy,
    Request,
    Result,
    Results,
    Tracker,
)
from onehouse_tracker._engine import learning
from onehouse_tracker.handles import Completions
from onehouse_tracker.history import History
from onehouse_tracker.history._file import HistoryFile
from onehouse_tracker.history._records import Lesson
from onehouse_tracker.journal import SqliteJournal
from onehouse_tracker.limiters import LocalLimiter

USE = 0.002
JOBS = 20
"""Labels of the requests of one victim: several requests teach the same name."""


class Notes(logging.Handler):
    """Writes what is logged into the log of a victim."""

    def __init__(self, victim: Victim) -> None:
        super().__init__(logging.WARNING)
        self.victim = victim

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line that survives us."""
        self.victim.note(f"warning {record.getMessage()}")


class Victim:
    """One run of a job."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
        self.log = os.open(order["log"], flags, 0o600)

    def note(self, line: str) -> None:
        """Write a line that survives us."""
        os.write(self.log, f"{line}\n".encode())

    async def use(self, result: Result) -> None:
        """Do something with a result that takes its time, and counts only at its end."""
        await asyncio.sleep(USE)
        self.note(f"+{result.request_id} {result.outcome}")

    async def run(self) -> None:
        """Follow what the order says, in its way; then what an earlier run left."""
        client = OnehouseClient.from_env(environ=self.order["environ"])
        policy = PollPolicy(gap_min=0.01, gap_max=0.05)
        logging.getLogger("onehouse_tracker.history").addHandler(Notes(self))
        tracker = Tracker(
            client,
            limiter=LocalLimiter(2000),
            policy=policy,
            journal=SqliteJournal(self.order["journal"]),
            history=History(self.order["history"]),
        )
        async with client, tracker:
            now = datetime.now(UTC)
            requests = [
                Request(request_id, label=f"job {number % JOBS}", submitted_at=now)
                for number, request_id in enumerate(self.order["ids"])
            ]
            if requests:
                await getattr(self, self.order["way"])(tracker, requests)
            async for result in tracker.resume():
                await self.use(result)
        self.note("end")

    async def iterate(self, tracker: Tracker, requests: list[Request]) -> None:
        """One by one."""
        async for result in tracker.as_completed(requests):
            await self.use(result)

    async def call_back(self, tracker: Tracker, requests: list[Request]) -> None:
        """By callback."""
        await tracker.wait_all(requests, on_result=self.use)

    async def hold(self, tracker: Tracker, requests: list[Request]) -> None:
        """By handles, in the order given."""
        for handle in [tracker.track(request) for request in requests]:
            await self.use(await handle)
            await handle.ack_and_wait()
            self.note("ack")

    async def gather(self, tracker: Tracker, requests: list[Request]) -> None:
        """A few at a time, acknowledged together."""
        for start in range(0, len(requests), 5):
            results: Results = await tracker.wait_all(requests[start : start + 5])
            for result in results.values():
                await self.use(result)
            await results.ack_and_wait()
            self.note("ack")


def acknowledge_too_early() -> None:
    """The control: results count as delivered before they are used."""
    original = Completions.__anext__

    async def early(self: Completions) -> Result:
        result = await original(self)
        assert self._acknowledge is not None
        await self._acknowledge((result.request_id,))
        return result

    Completions.__anext__ = early  # type: ignore[assignment, method-assign] # sabotage


def tell_too_early() -> None:
    """Another control: nobody waits for the disk."""
    from onehouse_tracker.journal import Added, Entry  # noqa: PLC0415 - only for this control

    original = SqliteJournal.write

    def forgetful(self: SqliteJournal, entries: Iterable[Entry]) -> Any:
        # As if the commit had been cut off: it is confirmed, and not on disk.
        return original(self, [entry for entry in entries if not isinstance(entry, Added)])

    SqliteJournal.write = forgetful  # type: ignore[method-assign] # sabotage


def learn_in_place() -> None:
    """The control of the history: what was there is written over, in two steps."""
    original = HistoryFile.add

    def add(self: HistoryFile, project: str, lessons: Sequence[Lesson], common: float) -> None:
        content = self.path.read_bytes()
        self.path.write_bytes(content[: len(content) // 2])
        time.sleep(10 * USE)  # long enough to be hit by several of forty kills
        self.path.write_bytes(content)
        original(self, project, lessons, common)

    HistoryFile.add = add  # type: ignore[method-assign] # sabotage


SABOTAGE = {"acknowledge": acknowledge_too_early, "tell": tell_too_early, "learn": learn_in_place}


def main() -> None:
    """Fork a victim for each order."""
    # A simulator teaches nothing, and what is learned is written twice a minute: not so here.
    Credentials.is_on_loopback = False  # type: ignore[assignment]
    learning._EVERY = 0.0
    for line in sys.stdin:
        order = json.loads(line)
        victim = os.fork()
        if victim == 0:
            status = 1
            try:
                sabotage = SABOTAGE.get(order.get("sabotage"))
                if sabotage is not None:
                    sabotage()
                asyncio.run(Victim(order).run())
                status = 0
            finally:
                os._exit(status)
        print(victim, flush=True)
        _, ended = os.waitpid(victim, 0)
        code = os.waitstatus_to_exitcode(ended)
        print("killed" if code == -signal.SIGKILL else f"exit {code}", flush=True)


if __name__ == "__main__":
    main()
