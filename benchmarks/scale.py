"""
What a poll costs, in time and in memory, when very many requests are pending.

The limit is lifted and the source answers at once, so that only our own work is measured, on a
real event loop.  Each size runs in fresh processes: one for the times and the resident memory,
one under tracemalloc.  Beside it, a task per request that asks and sleeps, as people write it.

    python benchmarks/scale.py             a table for 1 k, 10 k, 100 k and 1 M requests
    python benchmarks/scale.py --json      one JSON object
    python benchmarks/scale.py --check     exit with 1, and say why, if it is not good enough

choose_us         microseconds of CPU to choose the next request, all of them being due
schedule_us       the same with taking it back and learning from the reply
cpu_us_per_poll   the whole engine: dispatcher, limiter, task, reply
bytes_per_id      of Python objects per pending request that was polled (tracemalloc; of more than
                  100 k the first so many are polled, and what that adds holds for all)
rss_per_id        of resident memory per pending request
add_us, drain_us  to add one request, and to learn its end and hand the result over
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from onehouse_tracker import PollPolicy, Tracker
from onehouse_tracker._engine.schedule.schedule import Schedule
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.limiters import RateLimiterStats
from onehouse_tracker.models import ApiStatus, StatusReply

SIZES = (1_000, 5_000, 10_000, 100_000, 1_000_000)
TASKS_AT_MOST = 100_000  # a task per request: a million of them take gigabytes
POLLS = 50_000  # measured per size, at least
CHOICES = 20_000
TRACED_POLLS = 100_000  # under tracemalloc a poll takes 400 us
LABELS = ("ddl", "query", "ingest", "export")

CHOOSE_AT_MOST = {5_000: 20.0, 1_000_000: 40.0}  # microseconds
BYTES_AT_MOST = 600
GROWTH_AT_MOST = 2.0  # CPU per poll at the largest size, as a multiple of that at the smallest
TOLERANCE = 1.1

_PENDING = StatusReply(ApiStatus.PENDING)
_SUCCESS = StatusReply(ApiStatus.SUCCESS)


class Source:
    """Answers at once, and counts."""

    def __init__(self) -> None:
        self.polls = 0
        self.reply = _PENDING
        self.until = sys.maxsize
        self.reached = asyncio.Event()

    async def fetch(self, request_id: str) -> StatusReply:
        """Say the same about every request."""
        del request_id
        self.polls += 1
        if self.polls >= self.until:
            self.reached.set()
        return self.reply

    async def polled(self, count: int) -> None:
        """Wait for so many more polls."""
        self.reached.clear()
        self.until = self.polls + count
        await self.reached.wait()


class OpenLimiter:
    """No limit at all; every slot yields to the loop once, as a real limiter does."""

    limit = 1000.0  # less than the demand of what is pending: no idle looks
    paused_until = 0.0

    async def start(self) -> None:
        """Nothing to make ready."""

    async def acquire(self) -> None:
        """Grant at the next turn of the loop."""
        await asyncio.sleep(0)

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        """Never happens."""

    def forgive(self, refusals: int) -> None:
        """Never happens."""

    def answered(self, sent_at: float) -> None:
        """Nothing to learn."""

    def stats(self) -> RateLimiterStats:
        """Nothing to tell."""
        return RateLimiterStats(
            kind="open", rate=1000.0, granted=0, waited=0, refusals=0, margin=0, paused_for=0
        )

    async def aclose(self) -> None:
        """Nothing to let go."""


# --- measured in a process of its own ----------------------------------------------------------


def choosing(size: int) -> dict[str, float]:
    """Take and give back requests of four labels, submitted over an hour, all of them due."""
    random, wait = Random(size), Wait()
    schedule = Schedule(PollPolicy(), limit=10.0)
    now = 3600.0
    for number, born in enumerate(sorted(random.uniform(0, now) for _ in range(size))):
        label = LABELS[number % len(LABELS)]
        tracked = Tracked(f"r{number}", label=label, born=born, now=born, wait=wait)
        schedule.add(tracked, born)
    step = 0.1
    choose = 0.0
    started = time.process_time()
    rounds = 0
    while rounds < CHOICES + size // 10:
        if rounds == size // 10:  # what has become due by now was taken over
            choose, started = 0.0, time.process_time()
        now += step
        before = time.process_time()
        taken = schedule.pop(now)
        choose += time.process_time() - before
        if taken is None:
            raise RuntimeError("nothing was due")
        schedule.pending(taken, now, now)
        rounds += 1
    whole = time.process_time() - started
    return {"choose_us": 1e6 * choose / CHOICES, "schedule_us": 1e6 * whole / CHOICES}


async def engine(size: int, *, traced: bool) -> dict[str, float]:
    """Follow *size* requests with the tracker."""
    source = Source()
    ids = [f"01890a5d-ac96-774b-bcce-{number:012d}" for number in range(size)]
    memory = _memory(traced=traced)
    async with Tracker(
        source, limiter=OpenLimiter(), policy=PollPolicy(max_in_flight=100)
    ) as tracker:
        started = time.process_time()
        results = tracker.as_completed(ids)
        added = time.process_time() - started
        if traced:
            fresh = memory(size)["bytes_per_id"]
            polls = min(size, TRACED_POLLS)
            await source.polled(polls)
            return {"bytes_per_id": fresh + (memory(size)["bytes_per_id"] - fresh) * size / polls}
        await source.polled(size)
        figures = {"add_us": 1e6 * added / size, **memory(size)}
        started, before = time.process_time(), source.polls
        await source.polled(POLLS)
        figures["cpu_us_per_poll"] = _per(time.process_time() - started, source.polls - before)
        source.reply = _SUCCESS
        started = time.process_time()
        async for _ in results:
            pass
        figures["drain_us"] = 1e6 * (time.process_time() - started) / size
    return figures


async def tasks(size: int, *, traced: bool) -> dict[str, float]:
    """Follow *size* requests with a task each."""
    source = Source()
    ids = [f"01890a5d-ac96-774b-bcce-{number:012d}" for number in range(size)]
    memory = _memory(traced=traced)

    async def one(request_id: str) -> None:
        while (  # noqa: ASYNC110 - what people write
            await source.fetch(request_id)
        ).status == ApiStatus.PENDING:
            await asyncio.sleep(1.0)

    started = time.process_time()
    running = [asyncio.create_task(one(request_id)) for request_id in ids]
    added = time.process_time() - started
    await source.polled(size)
    figures = {"add_us": 1e6 * added / size, **memory(size)}
    if not traced:
        started, before = time.process_time(), source.polls
        await source.polled(max(size, POLLS))
        figures["cpu_us_per_poll"] = _per(time.process_time() - started, source.polls - before)
        source.reply = _SUCCESS
        started = time.process_time()
        await asyncio.gather(*running)
        figures["drain_us"] = 1e6 * (time.process_time() - started) / size
    else:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return figures


def _per(seconds: float, polls: int) -> float:
    return 1e6 * seconds / polls


def _memory(*, traced: bool) -> Callable[[int], dict[str, float]]:
    """Start to measure; what comes back tells the growth per request."""
    gc.collect()
    resident = _resident()
    if traced:
        tracemalloc.start()

    def grown(size: int) -> dict[str, float]:
        gc.collect()
        if traced:
            return {"bytes_per_id": tracemalloc.get_traced_memory()[0] / size}
        return {"rss_per_id": (_resident() - resident) / size}

    return grown


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(what: str, size: int) -> dict[str, float]:
    """One measurement, in this process."""
    if what == "choosing":
        return choosing(size)
    contestant, _, mode = what.partition("-")
    run = engine if contestant == "ours" else tasks
    return asyncio.run(run(size, traced=mode == "traced"))


# --- the whole -----------------------------------------------------------------------------------


def in_fresh_process(what: str, size: int) -> dict[str, float]:
    """One measurement, in a process that did nothing else."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", what, str(size)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    return {name: round(value, 1) for name, value in figures.items()}


def missed(ours: dict[str, dict[str, float]], sizes: list[int]) -> list[str]:
    """Name every figure that is not good enough."""
    found = []
    for size in sizes:
        figures = ours[str(size)]
        limit = CHOOSE_AT_MOST.get(size)
        if limit is not None and figures["choose_us"] > limit * TOLERANCE:
            found.append(f"{size}: choosing takes {figures['choose_us']} us, not {limit:g}")
    largest, smallest = ours[str(sizes[-1])], ours[str(sizes[0])]
    if largest["bytes_per_id"] > BYTES_AT_MOST * TOLERANCE:
        found.append(f"{sizes[-1]}: {largest['bytes_per_id']} bytes per ID, not {BYTES_AT_MOST}")
    growth = largest["cpu_us_per_poll"] / smallest["cpu_us_per_poll"]
    if growth > GROWTH_AT_MOST * TOLERANCE:
        found.append(f"a poll costs {growth:.1f} times as much at {sizes[-1]} as at {sizes[0]}")
    return found


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], int(options.measure[1]))))
        return 0
    ours: dict[str, dict[str, float]] = {}
    baseline: dict[str, dict[str, float]] = {}
    for size in options.sizes:
        ours[str(size)] = (
            in_fresh_process("choosing", size)
            | in_fresh_process("ours", size)
            | {"bytes_per_id": in_fresh_process("ours-traced", size)["bytes_per_id"]}
        )
        _tell("ours", size, ours[str(size)], quiet=options.json)
        if size <= TASKS_AT_MOST:
            baseline[str(size)] = in_fresh_process("tasks", size) | {
                "bytes_per_id": in_fresh_process("tasks-traced", size)["bytes_per_id"]
            }
            _tell("a task per ID", size, baseline[str(size)], quiet=options.json)
    found = missed(ours, options.sizes)
    if options.json:
        report: dict[str, Any] = {"ours": ours, "task_per_id": baseline, "missed": found}
        print(json.dumps(report | {"python": sys.version.split()[0]}))
    for line in found:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if options.check and found else 0


def _tell(name: str, size: int, figures: dict[str, float], *, quiet: bool) -> None:
    if not quiet:
        numbers = "  ".join(f"{key} {value:g}" for key, value in figures.items())
        print(f"{name:14} {size:>9,}  {numbers}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
