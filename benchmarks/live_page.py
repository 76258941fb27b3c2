"""
What a live page that many look at costs: the detection delay with twenty browsers, and without.

500 requests are followed over loopback, at 50 requests a second so that it takes seconds; the
page is the real one, and its readers, in a process of their own, read event streams as browsers
do.  Rounds with and without alternate, all with the same requests, and the simulator knows when
each request ended.

    python benchmarks/live_page.py             a table, after about a minute
    python benchmarks/live_page.py --json      one JSON object
    python benchmarks/live_page.py --check     exit with 1, and say why, if it is not good enough

mean_delay, p99_delay   seconds from the end of a request to knowing it
ratio                   of the mean delays with the page to those without, of the best round each:
                        whatever else runs on the machine only adds to a delay
noise                   by which factor rounds without the page differ among themselves
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
from dataclasses import asdict, dataclass, field
from random import Random

import aiohttp

from onehouse_tracker import Credentials, OnehouseClient, Request, Tracker, events
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.testing import SimulatedProject, SimulatorServer

REQUESTS = 500
RATE = 50.0
READERS = 20
ROUNDS = 2
RATIO_AT_MOST = 1.10


@dataclass
class Round:
    """One batch, followed to its end."""

    readers: int
    mean_delay: float
    p99_delay: float
    polls: int
    messages: int
    """Events that all readers together received."""


@dataclass
class Numbers:
    """What was measured."""

    machine: str
    requests: int
    rate: float
    rounds: list[Round] = field(default_factory=list)

    def best(self, *, readers: bool) -> float:
        """The mean delay of the best round with readers, or of the best without."""
        return min(each.mean_delay for each in self.rounds if bool(each.readers) is readers)

    @property
    def ratio(self) -> float:
        """How much later ends are known while somebody looks; 1 is no difference."""
        return self.best(readers=True) / self.best(readers=False)

    @property
    def noise(self) -> float:
        """How much rounds differ in which nobody looks."""
        quiet = [each.mean_delay for each in self.rounds if not each.readers]
        return max(quiet) / min(quiet)


async def measure(rounds: int) -> Numbers:
    """Follow the batch, by turns without readers and with them."""
    numbers = Numbers(f"{platform.machine()}, Python {platform.python_version()}", REQUESTS, RATE)
    for _ in range(rounds):
        for readers in (0, READERS):
            numbers.rounds.append(await follow(readers))
    return numbers


async def follow(readers: int) -> Round:
    """Follow the batch to its end, with so many who look at it."""
    rng = Random("live page")
    project = SimulatedProject(record=False)
    requests = [Request(f"r-{number}", label=f"L{number % 5}") for number in range(REQUESTS)]
    known_at: dict[str, float] = {}

    def observe(event: events.Event) -> None:
        if isinstance(event, events.RequestEnded):
            known_at[event.request_id] = event.at

    async with SimulatorServer(project, record=False) as server:
        client = OnehouseClient(Credentials.from_env(environ=server.environment()))
        limiter = LocalLimiter(RATE)
        async with (
            client,
            Tracker(client, limiter=limiter, observers=[observe], seed=1) as tracker,
        ):
            watchers = await start_readers((await tracker.serve_page()).url) if readers else None
            for request in requests:  # all of them begin now, whoever looks
                project.add(request.request_id, rng.uniform(1.0, 8.0))
            await tracker.wait_all(requests)
            polls = tracker.stats().polls
        messages = 0
        if watchers is not None:
            out, _ = await watchers.communicate()
            counts = json.loads(out)
            assert len(counts) == readers
            assert all(counts), "a reader saw nothing"
            messages = sum(counts)
    delays = sorted(at - project.finished_at(request_id) for request_id, at in known_at.items())
    assert len(delays) == REQUESTS

    return Round(
        readers=readers,
        mean_delay=statistics.fmean(delays),
        p99_delay=delays[round(len(delays) * 0.99) - 1],
        polls=polls,
        messages=messages,
    )


# --- The readers ---------------------------------------------------------------------------


async def start_readers(url: str) -> asyncio.subprocess.Process:
    """Start a process that looks at *url*, and wait until all of its readers do."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--read",
        url,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def read(url: str) -> None:
    """Read the page as many browsers do, to its end, and print how much each was told."""
    connector = aiohttp.TCPConnector(limit=0)
    ready = asyncio.Barrier(READERS + 1)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_read_one(session, url, ready)) for _ in range(READERS)]
        await ready.wait()
        print("ready", flush=True)
    print(json.dumps([task.result() for task in tasks]))


async def _read_one(session: aiohttp.ClientSession, url: str, ready: asyncio.Barrier) -> int:
    count = 0
    async with session.get(f"{url}events", timeout=aiohttp.ClientTimeout(None)) as response:
        await ready.wait()
        async for chunk in response.content.iter_any():
            count += chunk.count(b"event: view")
    return count


# --- The command ---------------------------------------------------------------------------


def table(numbers: Numbers) -> list[str]:
    """The numbers, for people."""
    lines = [
        f"{numbers.requests} requests at {numbers.rate:g} a second; {numbers.machine}",
        "",
        "readers  mean delay  p99 delay  polls  messages",
    ]
    lines += [
        f"{each.readers:7}  {each.mean_delay:8.3f} s  {each.p99_delay:7.3f} s"
        f"  {each.polls:5}  {each.messages:8}"
        for each in numbers.rounds
    ]
    lines += ["", f"ratio {numbers.ratio:.3f}, noise {numbers.noise:.3f}"]
    return lines


def main() -> int:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the bound is missed")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each kind")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read is not None:
        asyncio.run(read(arguments.read))
        return 0
    numbers = asyncio.run(measure(arguments.rounds))
    if arguments.json:
        print(json.dumps({**asdict(numbers), "ratio": numbers.ratio, "noise": numbers.noise}))
    else:
        print("\n".join(table(numbers)))
    if arguments.check and numbers.ratio > RATIO_AT_MOST:
        grown = f"with the page delays are {numbers.ratio:.3f} times as long"
        print(f"{grown}: more than {RATIO_AT_MOST}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
