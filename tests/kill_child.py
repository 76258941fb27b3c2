"""
A process that follows requests with a journal, and dies at any moment.

It reads one JSON order per line, forks a victim for each, and reports the victim's process
ID and then its exit status.  Forking saves each victim the half second of imports; it happens
before any loop, thread or file is there.

A victim writes a line for each result that it has got (``+ID``), with one system call, so
that the line is there however the process ends.  It "uses" a result for some milliseconds
before it writes the line: whatever is acknowledged before that is lost by a kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterable
from typing import Any

from onehouse_tracker import OnehouseClient, PollPolicy, Result, Results, Tracker
from onehouse_tracker.handles import Completions
from onehouse_tracker.journal import SqliteJournal
from onehouse_tracker.limiters import LocalLimiter

USE = 0.002


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
        journal = SqliteJournal(self.order["journal"])
        async with (
            client,
            Tracker(client, limiter=LocalLimiter(2000), policy=policy, journal=journal) as tracker,
        ):
            ids = self.order["ids"]
            if ids:
                await getattr(self, self.order["way"])(tracker, ids)
            async for result in tracker.resume():
                await self.use(result)
        self.note("end")

    async def iterate(self, tracker: Tracker, ids: list[str]) -> None:
        """One by one."""
        async for result in tracker.as_completed(ids):
            await self.use(result)

    async def call_back(self, tracker: Tracker, ids: list[str]) -> None:
        """By callback."""
        await tracker.wait_all(ids, on_result=self.use)

    async def hold(self, tracker: Tracker, ids: list[str]) -> None:
        """By handles, in the order given."""
        for handle in [tracker.track(request_id) for request_id in ids]:
            await self.use(await handle)
            await handle.ack_and_wait()
            self.note("ack")

    async def gather(self, tracker: Tracker, ids: list[str]) -> None:
        """A few at a time, acknowledged together."""
        for start in range(0, len(ids), 5):
            results: Results = await tracker.wait_all(ids[start : start + 5])
            for result in results.values():
                await self.use(result)
            await results.ack_and_wait()
            self.note("ack")


def acknowledge_too_early() -> None:
    """The control: results count as delivered before they are used."""
    original = Completions.__anext__

    async def early(self: Completions) -> Result:
        result = await original(self)
        assert self._journal_queue is not None
        await self._journal_queue.acknowledge((result.request_id,))
        return result

    Completions.__anext__ = early  # type: ignore[method-assign] # sabotage


def tell_too_early() -> None:
    """Another control: nobody waits for the disk."""
    from onehouse_tracker.journal import Added, Entry  # noqa: PLC0415 - only for this control

    original = SqliteJournal.write

    def forgetful(self: SqliteJournal, entries: Iterable[Entry]) -> Any:
        # As if the commit had been cut off: it is confirmed, and not on disk.
        return original(self, [entry for entry in entries if not isinstance(entry, Added)])

    SqliteJournal.write = forgetful  # type: ignore[method-assign] # sabotage


SABOTAGE = {"acknowledge": acknowledge_too_early, "tell": tell_too_early}


def main() -> None:
    """Fork a victim for each order."""
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
