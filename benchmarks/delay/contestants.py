"""
The contestants of the detection-delay benchmark: each follows one workload and says when it knew.

They share the simulated project, which enforces a sliding log of ten requests a second, the
round trips and, but for those "as people write them", our limiter: what differs is the schedule.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias
from unittest import mock

import tenacity
from aiolimiter import AsyncLimiter

from benchmarks.delay.ideas import IDEAS, Idea
from benchmarks.delay.workloads import Job, Law, Workload
from onehouse_tracker import PollPolicy, Request, Tracker
from onehouse_tracker._engine.schedule.durations import Durations, Factor, Label
from onehouse_tracker.errors import ThrottledError
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import ApiStatus, StatusReply
from onehouse_tracker.testing import SimulatedProject, SimulatedSource, SlidingLog

__all__ = ["CONTESTANTS", "LIMIT", "Outcome", "clairvoyant", "follow", "ours", "round_trip"]

LIMIT = 10  # requests per second of the project
ROUND_TRIP = 0.08  # seconds, median
ROUND_TRIP_SIGMA = 0.4


@dataclass(slots=True)
class Outcome:
    """What one contestant did with one workload.  Times are seconds."""

    detected: dict[str, float] = field(default_factory=dict)
    """When it knew, by request."""

    polls: int = 0
    refusals: int = 0
    longest_wait: float = 0.0
    """Between two looks at one request, or its submission and the first look."""


def round_trip(rng: random.Random) -> float:
    """Draw one round trip."""
    return ROUND_TRIP * math.exp(rng.gauss(0.0, ROUND_TRIP_SIGMA))


class Watched:
    """The simulated source, and how long it was not asked about each request."""

    def __init__(self, source: SimulatedSource, outcome: Outcome) -> None:
        self._source = source
        self._outcome = outcome
        self._looked: dict[str, float] = {}

    def submitted(self, request_id: str) -> None:
        """The request exists from now on."""
        self._looked[request_id] = asyncio.get_running_loop().time()

    def fetch(self, request_id: str) -> Coroutine[object, object, StatusReply]:
        """Ask once."""
        now = asyncio.get_running_loop().time()
        self._outcome.polls += 1
        wait = now - self._looked[request_id]
        self._outcome.longest_wait = max(wait, self._outcome.longest_wait)
        self._looked[request_id] = now
        return self._source.fetch(request_id)


Jobs: TypeAlias = "list[tuple[str, Job]]"
Contestant: TypeAlias = Callable[[Workload, Jobs, Watched, Outcome, int], Awaitable[None]]


async def follow(name: str, workload: Workload, seed: int) -> Outcome:
    """Let one contestant follow a workload to its end, on the running (virtual) loop."""
    project = SimulatedProject(enforcer=SlidingLog(LIMIT), record=False)
    jobs = [(f"r{number}", job) for number, job in enumerate(workload.jobs)]
    for request_id, job in jobs:
        project.add(request_id, job.duration, submitted_at=job.start)
    outcome = Outcome()
    source = Watched(SimulatedSource(project, round_trip=round_trip, seed=seed), outcome)
    contestant = CONTESTANTS.get(name) or _changed(IDEAS[name])
    await contestant(workload, jobs, source, outcome, seed)
    outcome.refusals = project.refused
    return outcome


async def _arrivals(jobs: Jobs, source: Watched) -> AsyncIterator[tuple[str, Job]]:
    loop = asyncio.get_running_loop()
    for request_id, job in jobs:
        if job.start > loop.time():
            await asyncio.sleep(job.start - loop.time())
        source.submitted(request_id)
        yield request_id, job


# --- ours ----------------------------------------------------------------------------------


def ours(policy: PollPolicy) -> Contestant:
    """Make the product itself a contestant, with this policy."""

    async def run(_: Workload, jobs: Jobs, source: Watched, outcome: Outcome, seed: int) -> None:
        async def requests() -> AsyncIterator[Request]:
            async for request_id, job in _arrivals(jobs, source):
                yield Request(request_id, label=job.label)

        loop = asyncio.get_running_loop()
        async with Tracker(
            source, limiter=LocalLimiter(LIMIT), policy=policy, seed=seed
        ) as tracker:
            async for result in tracker.as_completed(requests()):
                assert result.ok, result
                outcome.detected[result.request_id] = loop.time()

    return run


class _Truth(Durations):
    """What an oracle has instead of experience: the law that made the durations."""

    def __init__(self, law: Law) -> None:
        super().__init__()
        self._law = law
        self._names: dict[int, str | None] = {}
        self._accounts: dict[str | None, Label] = {}

    def label(self, name: str | None, *, known: bool = False) -> Label:  # noqa: ARG002
        label = self._accounts.get(name)
        if label is None:
            label = self._accounts[name] = Label()
            self._names[id(label)] = name
        return label

    def chance(self, label: Label, place: Factor, since: float, until: float) -> float:  # noqa: ARG002
        name = self._names[id(label)]
        before = self._law(name, since)
        return (self._law(name, until) - before) / max(1.0 - before, 1e-9)

    def learn(
        self, label: Label, place: Factor, since: float, until: float, *, ended: bool
    ) -> None:
        """Nothing: there is nothing left to learn."""


async def _oracle(
    workload: Workload, jobs: Jobs, source: Watched, outcome: Outcome, seed: int
) -> None:
    """Run our very engine; only what it would have to learn is replaced by the truth."""
    law = workload.law
    assert law is not None
    with mock.patch("onehouse_tracker._engine.schedule.ranking.Durations", partial(_Truth, law)):
        await ours(PollPolicy())(workload, jobs, source, outcome, seed)


def _changed(idea: Idea) -> Contestant:
    """Make ours with one idea put into practice."""

    async def run(
        workload: Workload, jobs: Jobs, source: Watched, outcome: Outcome, seed: int
    ) -> None:
        with idea.applied():
            await ours(idea.policy)(workload, jobs, source, outcome, seed)

    return run


# --- one coroutine per request ---------------------------------------------------------------

Look: TypeAlias = Callable[[str], Awaitable[bool]]
"""Ask once, and say whether it has ended."""
Follower: TypeAlias = Callable[[str, Look], Awaitable[None]]


class _Queue:
    """Our limiter for many: first come, first served; what the server refused keeps its turn."""

    def __init__(self) -> None:
        self.limiter = LocalLimiter(LIMIT)
        self._turns: deque[asyncio.Future[None]] = deque()
        self._news = asyncio.Event()

    async def turn(self, *, first: bool) -> None:
        """Wait for a slot."""
        turn = asyncio.get_running_loop().create_future()
        if first:
            self._turns.appendleft(turn)
        else:
            self._turns.append(turn)
        self._news.set()
        await turn

    async def serve(self) -> None:
        """Hand out slots until cancelled."""
        await self.limiter.start()
        while True:
            while self._turns:
                await self.limiter.acquire()
                self._turns.popleft().set_result(None)
            self._news.clear()
            await self._news.wait()


def _each(follower: Follower, *, as_people_write_it: bool = False) -> Contestant:
    async def run(_: Workload, jobs: Jobs, source: Watched, outcome: Outcome, seed: int) -> None:
        random.seed(seed)  # tenacity draws from the module's own generator
        loop = asyncio.get_running_loop()
        queue = _Queue()
        limiter = AsyncLimiter(LIMIT, 1)

        async def look(request_id: str) -> bool:
            refused = False
            while True:
                await queue.turn(first=refused)
                sent_at = loop.time()
                try:
                    reply = await source.fetch(request_id)
                except ThrottledError as error:
                    queue.limiter.throttled(sent_at, error.retry_after)
                    refused = True
                else:
                    queue.limiter.answered(sent_at)
                    return reply.status != ApiStatus.PENDING

        async def naive_look(request_id: str) -> bool:
            async with limiter:
                with suppress(ThrottledError):
                    return (await source.fetch(request_id)).status != ApiStatus.PENDING
            return False

        async def one(request_id: str) -> None:
            await follower(request_id, naive_look if as_people_write_it else look)
            outcome.detected[request_id] = loop.time()

        server = asyncio.create_task(queue.serve())
        async with asyncio.TaskGroup() as group:
            async for request_id, _job in _arrivals(jobs, source):
                group.create_task(one(request_id))
        server.cancel()

    return run


def _fixed(seconds: float) -> Follower:
    async def follower(request_id: str, look: Look) -> None:
        while not await look(request_id):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(seconds)

    return follower


async def _tenacity(request_id: str, look: Look) -> None:
    """Ask as a decorator would: exponential backoff with full jitter, a minute at most."""
    retrying = tenacity.AsyncRetrying(
        wait=tenacity.wait_random_exponential(multiplier=1, max=60),
        retry=tenacity.retry_if_result(lambda ended: not ended),
    )
    await retrying(look, request_id)


async def _google(request_id: str, look: Look) -> None:
    """Wait as google.api_core's DEFAULT_POLLING does: full jitter under 1 s x 1.5**n, 20 s."""
    longest = 1.0
    while not await look(request_id):
        await asyncio.sleep(random.uniform(0.0, longest))
        longest = min(longest * 1.5, 20.0)


# --- one loop over all -------------------------------------------------------------------------


async def _round_robin(
    _: Workload, jobs: Jobs, source: Watched, outcome: Outcome, seed: int
) -> None:
    """Spend the whole budget at all times, on each in turn."""
    del seed
    loop = asyncio.get_running_loop()
    limiter = LocalLimiter(LIMIT)
    await limiter.start()
    turns: deque[str] = deque()
    news = asyncio.Event()

    async def poll(request_id: str) -> None:
        sent_at = loop.time()
        try:
            reply = await source.fetch(request_id)
        except ThrottledError as error:
            limiter.throttled(sent_at, error.retry_after)
            turns.appendleft(request_id)
        else:
            limiter.answered(sent_at)
            if reply.status == ApiStatus.PENDING:
                turns.append(request_id)
            else:
                outcome.detected[request_id] = loop.time()
        news.set()

    async def arrive() -> None:
        async for request_id, _job in _arrivals(jobs, source):
            turns.append(request_id)
            news.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(arrive())
        while len(outcome.detected) < len(jobs):
            if turns:
                await limiter.acquire()
                group.create_task(poll(turns.popleft()))
            else:
                news.clear()
                await news.wait()


def clairvoyant(workload: Workload, seed: int) -> Outcome:
    """Know when each request ends, ask once, first ended first asked: nobody can do better."""
    rng = random.Random(f"{seed} clairvoyant")
    outcome = Outcome()
    ends = sorted((job.end, f"r{number}", job.start) for number, job in enumerate(workload.jobs))
    sent: list[float] = []
    for end, request_id, start in ends:
        trip = round_trip(rng)
        at = max(end - trip / 2, start)
        if sent:
            at = max(at, sent[-1])
        if len(sent) >= LIMIT:
            at = max(at, sent[-LIMIT] + 1.0)
        sent.append(at)
        outcome.detected[request_id] = at + trip
        outcome.longest_wait = max(outcome.longest_wait, at - start)
    outcome.polls = len(sent)
    return outcome


CONTESTANTS: dict[str, Contestant] = {
    "fixed 1 s": _each(_fixed(1)),
    "ours, due": ours(PollPolicy(order="due", idle_share=0)),
    "ours": ours(PollPolicy()),
    "fixed 10 s": _each(_fixed(10)),
    "tenacity": _each(_tenacity),
    "azure-core": _each(_fixed(30)),
    "google-api-core": _each(_google),
    "round robin": _round_robin,
    "fixed 1 s, as written": _each(_fixed(1), as_people_write_it=True),
    "tenacity, as written": _each(_tenacity, as_people_write_it=True),
    "oracle": _oracle,
}
"""By name.  The poller of azure-core asks every 30 s where the server names no interval."""
