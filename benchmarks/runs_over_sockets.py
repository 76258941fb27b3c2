"""
Following job runs over real sockets: are all ends right, is nothing refused, does the loop turn?

Run it with ``python benchmarks/runs_over_sockets.py``, which takes about a minute and a half;
``--check`` fails where a figure is missed.

*ends*: 100 statements start runs of 10 jobs that last 10 to 40 s.  The server enforces a sliding
log of ten requests a second, the tracker has a journal on disk and is what anybody gets.

*large*: one job whose listing has 26,000 rows, about 6.2 MiB.  How long the event loop that
follows its runs was held in one go, while a task on it asked for a turn every millisecond: in
seconds of the processor, of all threads of the process, so that other processes do not count.
Python's own collections of garbage are told apart: a full one looks at every object there is,
whoever made it.  The server is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from onehouse_tracker import JobRun, RunOutcome, SqliteJournal, Tracker
from onehouse_tracker.events import CheckEnded, Event
from onehouse_tracker.testing import (
    Kind,
    Listing,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatorServer,
    SlidingLog,
)
from onehouse_tracker.testing.listings import ListedRun, history_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

LIMIT = 10
STATEMENTS, JOBS = 100, 10
ROWS, OPEN = 26_000, 25
LAST_END = 30.0
MOST_HELD = 0.020
OUTCOMES = {
    "COMPLETED": RunOutcome.SUCCEEDED,
    "FAILED": RunOutcome.FAILED,
    "CANCELED": RunOutcome.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Ends:
    """What came of the hundred statements."""

    right: int
    refused: int
    requests: int
    started_s: float
    """Seconds until the last statement had arrived."""
    took_s: float

    @property
    def missed(self) -> bool:
        """Whether anything is wrong."""
        return self.right < STATEMENTS or bool(self.refused)

    def __str__(self) -> str:
        return (
            f"{self.right} of {STATEMENTS} ends are right, {self.refused} of {self.requests}"
            f" requests refused; started in {self.started_s:.1f} s,"
            f" all over in {self.took_s:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class Large:
    """What one large listing cost."""

    listings: int
    ended: int
    megabytes: float
    held_ms: tuple[float, ...]
    """The longest times for which the loop was held, longest first, without collections."""
    collected_ms: float
    """The longest collection."""

    @property
    def missed(self) -> bool:
        """Whether the loop was held for too long, or the listing was not read."""
        return self.ended < OPEN or self.held_ms[0] > 1e3 * MOST_HELD or self.listings < 2

    def __str__(self) -> str:
        held = ", ".join(f"{each:.0f}" for each in self.held_ms)
        return (
            f"{self.ended} of {OPEN} ends known, {self.listings} listings of {ROWS:,} rows"
            f" ({self.megabytes:.1f} MiB); the loop was held for at most {held} ms, and for"
            f" {self.collected_ms:.0f} ms by a collection of garbage"
        )


# --- A hundred statements ------------------------------------------------------------------------


async def ends() -> Ends:
    """Let a hundred statements start runs, and follow these to their ends."""
    project = SimulatedProject(
        enforcer=SlidingLog(LIMIT),
        kinds=(Kind(label="RUN JOB", duration=2.0), Kind(label="", duration=1.5)),
        jobs=SimulatedJobs(
            kinds=[RunKind(queued=2.0, duration=_duration, failed=0.2, canceled=0.1)],
            listing=Listing(history=100),
        ),
    )
    began = time.monotonic()
    with TemporaryDirectory() as directory:
        journal = SqliteJournal(Path(directory) / "runs.db")
        async with (
            SimulatorServer(project) as server,
            Tracker.from_env(environ=server.environment(), journal=journal) as tracker,
        ):
            wanted = [f"RUN JOB load_{number % JOBS}" for number in range(STATEMENTS)]
            results = await tracker.runs.execute_all(wanted, timeout=300.0)
    truth = {run_id: run.status or "" for run_id, run in project.runs.items()}
    right = sum(
        result.outcome is OUTCOMES.get(truth[result.run_id or ""].rpartition("_")[2])
        for result in results
        if result.run_id in truth
    )
    sent = [
        request.submitted_at or 0.0
        for request in project.requests.values()
        if (request.statement or "").startswith("RUN JOB")
    ]
    return Ends(
        right if len(truth) == STATEMENTS else 0,
        project.refused,
        project.arrived,
        max(sent) - min(sent),
        time.monotonic() - began,
    )


def _duration(draw: Random) -> float:
    return draw.uniform(10.0, 40.0)


# --- One large listing ---------------------------------------------------------------------------


def _wide(job: str, runs: Sequence[ListedRun]) -> dict[str, Any]:
    """Rows of about 250 bytes."""
    rows = [
        {
            "jobRunId": run.run_id,
            "jobName": job,
            "createdBy": "ingestion@example.com",
            "sparkJobRun": {
                "status": run.status,
                "createdAt": f"2026-01-01T00:00:00.{int(run.created_at) % 1000:03d}Z",
                "cluster": "nightly-ingestion",
            },
        }
        for run in runs
    ]
    return {"showRunsApiResponse": {"jobRuns": rows}}


async def serve() -> None:
    """Be the server of the large listing, until standard input ends."""
    project = SimulatedProject(
        kinds=(Kind(label="", duration=0.5),),
        jobs=SimulatedJobs(listing=Listing(shape=_wide, history=ROWS - OPEN)),
        record=False,
    )
    draw = Random(1)
    body = json.dumps({"apiResponse": _wide("large", history_of("large", ROWS))})
    for number in range(OPEN):
        project.add_run("large", f"run-{number}", draw.uniform(1.0, LAST_END))
    async with SimulatorServer(project) as server:
        print(json.dumps([dict(server.environment()), len(body) / 2**20]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[dict[str, str], float]]:
    """A server in a process of its own: what leads to it, and MiB of its listing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--serve"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        environ, megabytes = json.loads(await process.stdout.readline())
        yield environ, megabytes
    finally:
        process.stdin.close()
        await process.wait()


class Span(NamedTuple):
    """From when to when, on the clock of the process's own time on processors."""

    begins: float
    ends: float

    def beside(self, others: Sequence[Span]) -> float:
        """Seconds of it that are in none of *others*, which do not overlap."""
        shared = (min(self.ends, each.ends) - max(self.begins, each.begins) for each in others)
        return self.ends - self.begins - sum(max(0.0, each) for each in shared)


class Collections:
    """When garbage was collected."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._begins = 0.0

    def __call__(self, phase: str, _: object) -> None:
        """Be told by the collector."""
        now = time.process_time()
        if phase == "start":
            self._begins = now
        else:
            self.spans.append(Span(self._begins, now))


async def watch(held: list[Span]) -> None:
    """Note when each turn came, and when it was asked for."""
    while True:
        asked = time.process_time()
        await asyncio.sleep(0.001)
        held.append(Span(asked, time.process_time()))


async def large() -> Large:
    """Follow the runs of a job whose listing is large."""
    held: list[Span] = []
    collections = Collections()
    seen: list[Event] = []
    async with (
        served() as (environ, megabytes),
        Tracker.from_env(environ=environ, limit=LIMIT, observers=[seen.append]) as tracker,
    ):
        runs = [JobRun("large", f"run-{number}") for number in range(OPEN)]
        gc.callbacks.append(collections)
        watching = asyncio.create_task(watch(held))
        results = await tracker.runs.wait_all(runs, timeout=2 * LAST_END)
        watching.cancel()
        gc.callbacks.remove(collections)
        with suppress(asyncio.CancelledError):
            await watching
    listings = [event for event in seen if isinstance(event, CheckEnded) and event.runs > 1]
    alone = sorted((span.beside(collections.spans) for span in held), reverse=True)
    return Large(
        len(listings),
        sum(result.ok for result in results),
        megabytes,
        tuple(1e3 * each for each in alone[:5]),
        1e3 * max((span.ends - span.begins for span in collections.spans), default=0.0),
    )


def main() -> int:
    """Run the benchmark as the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--only", choices=["ends", "large"], help="only this part")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.serve:
        asyncio.run(serve())
        return 0
    missed = False
    parts: dict[str, Callable[[], Coroutine[Any, Any, Ends | Large]]]
    parts = {"ends": ends, "large": large}
    for name, part in parts.items():
        if options.only in {None, name}:
            found = asyncio.run(part())
            print(f"{name}: {found}", flush=True)
            missed = missed or found.missed
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
