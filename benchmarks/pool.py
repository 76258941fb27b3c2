"""
Many projects in one process: as if each were alone, and how many a second one process can ask.

virtual     200 projects of 500 requests in one `TrackerPool`, and each of them once more with a
            tracker of its own and the same seed, on the virtual clock.  The server's record
            tells whether a project kept to its budget, and how much later than alone it gave a
            final reply.
loopback    200 projects that ask 10 times a second each, over real sockets, against a server in
            a process of its own that answers after 80 ms: how many polls a second are sent, what
            one costs in CPU, how long the event loop is late, and how many connections stand.

    python benchmarks/pool.py                     a table
    python benchmarks/pool.py --json              one JSON object
    python benchmarks/pool.py --check             exit with 1, and name what is missed
    python benchmarks/pool.py --only virtual      one of the two; --projects, --ids, --seconds
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from random import Random
from statistics import quantiles
from typing import Any

from onehouse_tracker import Credentials, PollPolicy, Tracker, TrackerPool
from onehouse_tracker.testing import (
    FaultRule,
    SimulatedProject,
    SimulatedSource,
    SimulatorServer,
    SlidingLog,
    VirtualClockLoop,
    faults,
    lognormal,
)

LIMIT = 10  # requests a second of one project
LATER_AT_MOST = 0.001  # seconds by which a final reply may come later than alone
REACHED_AT_LEAST = 0.97  # of the budget of all projects together
LATENCY = 0.08


# --- on the virtual clock ----------------------------------------------------------------------


@dataclass
class Worlds:
    """One simulated project each, the same for the same seed."""

    projects: int
    ids: int
    duration: float = 60.0
    served: list[SimulatedProject] = field(default_factory=list)

    def source(self, number: int) -> SimulatedSource:
        """Make project *number*; half of its requests take longer than `duration`."""
        project = SimulatedProject(enforcer=SlidingLog(LIMIT), seed=number)
        random, draw = Random(f"durations {number}"), lognormal(self.duration, 0.6)
        for request_id in self.names(number):
            project.add(request_id, draw(random))
        self.served.append(project)
        return SimulatedSource(project, round_trip=lognormal(0.08, 0.05), seed=number)

    def names(self, number: int) -> list[str]:
        """Its request IDs."""
        return [f"p{number}-{index}" for index in range(self.ids)]

    def delays(self) -> dict[str, float]:
        """Seconds from the end of each request to the server's first final reply."""
        return {
            name: (request.first_final_at or float("inf")) - request.finished_at
            for project in self.served
            for name, request in project.requests.items()
        }


async def together(worlds: Worlds) -> None:
    """All projects in one pool."""
    async with TrackerPool() as pool:
        for number in range(worlds.projects):
            pool.add(f"p{number}", worlds.source(number), seed=number)
        results = await pool.wait_all(
            {f"p{number}": worlds.names(number) for number in range(worlds.projects)}
        )
    results.raise_for_failures()


async def alone(worlds: Worlds, number: int) -> None:
    """One project with a tracker of its own."""
    async with Tracker(worlds.source(number), seed=number) as tracker:
        results = await tracker.wait_all(worlds.names(number))
    results.raise_for_failures()


def compare(projects: int, ids: int, duration: float = 60.0) -> dict[str, Any]:
    """Run the projects together, then each alone, and compare."""
    pooled, single = Worlds(projects, ids, duration), Worlds(projects, ids, duration)
    started = time.process_time()
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(together(pooled))
    cpu = time.process_time() - started
    for number in range(projects):
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            runner.run(alone(single, number))
    delays, expected = pooled.delays(), single.delays()
    cuts = quantiles(delays.values(), n=100)
    return {
        "projects": projects,
        "ids": len(delays),
        "polls": sum(project.arrived for project in pooled.served),
        "refused": sum(project.refused for project in pooled.served),
        "most_in_a_second": max(project.peak_in_any_second() for project in pooled.served),
        "delay_p50_s": cuts[49],
        "delay_p99_s": cuts[98],
        "later_than_alone_at_most_s": max(delays[name] - expected[name] for name in delays),
        "differs_from_alone_at_most_s": max(abs(delays[name] - expected[name]) for name in delays),
        "cpu_s": cpu,
    }


# --- over real sockets -------------------------------------------------------------------------


async def serve() -> None:
    """Serve until the standard input ends; print the base URL, then what was seen."""
    project = SimulatedProject(rules=[FaultRule(fault=faults.delay(LATENCY))])
    async with SimulatorServer(project, record=False) as simulator:
        print(simulator.url, flush=True)
        projects, ids = (int(word) for word in sys.stdin.readline().split())
        for number in range(projects):
            for index in range(ids):
                project.add(f"p{number}-{index}", 1e6)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    # The arrivals of each project, judged as a server of its own would.
    judges: dict[str, SimulatedProject] = defaultdict(SimulatedProject)
    for arrival in project.arrivals:
        judges[arrival.request_id.partition("-")[0]].arrivals.append(arrival)
    peaks = Counter(judge.peak_in_any_second() for judge in judges.values())
    print(json.dumps({"arrived": project.arrived, "peaks": peaks}), flush=True)


@contextmanager
def server() -> Iterator[subprocess.Popen[str]]:
    """Run the server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.communicate()


def ask(process: subprocess.Popen[str], line: str) -> str:
    """Write one line, and read one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline()


def credentials(base_url: str, number: int) -> Credentials:
    """Made up."""
    return Credentials(
        account_uid="account",
        project_uid=f"project-{number}",
        api_key="benchmark-key",
        api_secret="benchmark-secret",
        link_uid="link",
        region="us-west-2",
        user_uid="user",
        base_url=base_url,
    )


async def polled(base_url: str, projects: int, ids: int, seconds: float) -> dict[str, float]:
    """Let all projects ask for so many seconds, after a quarter of that to begin with."""
    async with TrackerPool() as pool:
        # More is always due than the budget allows.
        policy = PollPolicy(gap_min=ids / LIMIT / 4, gap_max=ids / LIMIT / 2)
        for number in range(projects):
            pool.add(f"p{number}", credentials(base_url, number), policy=policy)
        waiting = asyncio.create_task(
            pool.wait_all(
                {f"p{n}": [f"p{n}-{index}" for index in range(ids)] for n in range(projects)},
            )
        )
        await asyncio.sleep(seconds / 4)
        polls, cpu, began = pool.stats().polls, time.process_time(), time.monotonic()
        late = []
        while (now := time.monotonic()) < began + seconds:
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - now - 0.01)
        lasted = time.monotonic() - began
        sent, used = pool.stats().polls - polls, time.process_time() - cpu
        open_files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number
        waiting.cancel()
        await asyncio.wait([waiting])
    return {
        "polls_per_s": sent / lasted,
        "share_of_budget": sent / lasted / (projects * LIMIT),
        "cpu_share": used / lasted,
        "cpu_us_per_poll": 1e6 * used / sent,
        "loop_late_p50_ms": 1e3 * quantiles(late, n=100)[49],
        "loop_late_p99_ms": 1e3 * quantiles(late, n=100)[98],
        "open_files": open_files,
    }


def measure_loopback(projects: int, ids: int, seconds: float) -> dict[str, Any]:
    """Run the server and the pool."""
    with server() as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        ask(process, f"{projects} {ids}")
        figures: dict[str, Any] = asyncio.run(polled(url, projects, ids, seconds))
        seen = json.loads(ask(process, "done"))
    return {"projects": projects} | figures | {"projects_by_most_in_a_second": seen["peaks"]}


# --- the whole ---------------------------------------------------------------------------------


@dataclass
class Numbers:
    """What was measured; `None` where it was not."""

    python: str
    cpus: int | None
    virtual: dict[str, Any] | None = None
    loopback: dict[str, Any] | None = None

    def missed(self) -> Iterator[str]:
        """Each bound that does not hold."""
        if self.virtual is not None:
            if self.virtual["refused"]:
                yield f"virtual: {self.virtual['refused']} polls were refused"
            if self.virtual["most_in_a_second"] > LIMIT:
                yield f"virtual: {self.virtual['most_in_a_second']} polls of a project in a second"
            if self.virtual["later_than_alone_at_most_s"] > LATER_AT_MOST:
                later = self.virtual["later_than_alone_at_most_s"]
                yield f"virtual: a final reply came {later:.4f} s later than alone"
        if self.loopback is not None and self.loopback["share_of_budget"] < REACHED_AT_LEAST:
            yield f"loopback: only {self.loopback['share_of_budget']:.1%} of the budget was used"


def main() -> int:
    """Measure, print, and judge if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--only", choices=("virtual", "loopback"))
    parser.add_argument("--projects", type=int, default=200)
    parser.add_argument("--ids", type=int, default=500, help="requests of each project")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long loopback measures")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return 0
    numbers = Numbers(python=platform.python_version(), cpus=os.cpu_count())
    if arguments.only != "loopback":
        numbers.virtual = compare(arguments.projects, arguments.ids)
    if arguments.only != "virtual":
        numbers.loopback = measure_loopback(arguments.projects, arguments.ids, arguments.seconds)
    print(json.dumps(asdict(numbers)) if arguments.json else "\n".join(table(numbers)))
    missed = list(numbers.missed()) if arguments.check else []
    for miss in missed:
        print(miss, file=sys.stderr)
    return 1 if missed else 0


def table(numbers: Numbers) -> Iterator[str]:
    """The numbers, for people."""
    yield f"Python {numbers.python}, {numbers.cpus} CPUs"
    for title in ("virtual", "loopback"):
        figures = getattr(numbers, title)
        for name, value in (figures or {}).items():
            shown = f"{value:,.6g}" if isinstance(value, float) else value
            yield f"{title}  {name:<30} {shown}"


if __name__ == "__main__":
    sys.exit(main())
