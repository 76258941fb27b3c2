"""
Ray actors on several machines that follow the requests of many projects together.

Each actor holds one `TrackerPool`, with a tracker for each project that it has ever been asked
about.  The requests of one project may be spread over all actors: they share its budget through
Redis, which every machine must reach.  An actor that dies loses nothing but its waiting: the IDs
are with whoever called, and can be given to another one.

    pip install onehouse-tracker[redis] ray
    ONEHOUSE_LIMITER=redis://redis.internal:6379/0 \
        python ray_actors.py prod=ID,ID,... staging=ID,...

The projects are profiles in ~/.onehouse/credentials, on every machine.

Last run on 2026-11-23 with ray 2.60.0 and redis 8.1.0 on Python 3.11: `make test-example-ray`.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle

import ray

from onehouse_tracker import TrackerPool

ACTORS = 3


@ray.remote(max_restarts=-1, max_task_retries=3)
class Follower:
    """Waits for requests of any project; any number of calls may run at once."""

    def __init__(self, limiter: str) -> None:
        self._limiter = limiter
        self._pool: TrackerPool | None = None
        self._opening = asyncio.Lock()

    async def wait(self, project: str, request_ids: Sequence[str]) -> dict[str, str]:
        """Tell how each request ended."""
        async with self._opening:
            if self._pool is None:
                self._pool = await TrackerPool().__aenter__()
        self._pool.add(project, limiter=self._limiter)  # again and again does no harm
        tracker = await self._pool.tracker(project)
        results = await tracker.wait_all(request_ids, timeout=3600)
        return {request_id: str(result.outcome) for request_id, result in results.items()}

    async def close(self) -> None:
        """Stop all polling."""
        if self._pool is not None:
            await self._pool.__aexit__(None, None, None)


def follow(requests: Mapping[str, Sequence[str]], limiter: str) -> dict[str, str]:
    """Spread the requests of each project over all actors."""
    actors = [Follower.remote(limiter) for _ in range(ACTORS)]
    turn = cycle(actors)
    calls = [
        next(turn).wait.remote(project, ids[start::ACTORS])
        for project, ids in requests.items()
        for start in range(ACTORS)
    ]
    outcomes: dict[str, str] = {}
    for part in ray.get(calls):
        outcomes |= part
    ray.get([actor.close.remote() for actor in actors])
    return outcomes


if __name__ == "__main__":
    wanted = dict(argument.split("=", 1) for argument in sys.argv[1:])
    ids = {project: listed.split(",") for project, listed in wanted.items()}
    for request_id, outcome in follow(ids, os.environ["ONEHOUSE_LIMITER"]).items():
        print(request_id, outcome)
