"""
Random worlds in which some requests are sick, each beside the same world in which they are not.

``ISOLATED_WORLDS=1000`` says how many, ``ISOLATED_WORLDS_FROM=7`` which is the first.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from onehouse_tracker import PollPolicy, StatusReply, Tracker
from onehouse_tracker.errors import (
    NotFoundError,
    StaleConnectionError,
    StatusError,
    TransportError,
)
from onehouse_tracker.events import Event, OutageBegan
from tests.support import PENDING, SUCCESS, now, run

WORLDS = int(os.environ.get("ISOLATED_WORLDS", "50"))
FIRST = int(os.environ.get("ISOLATED_WORLDS_FROM", "0"))
RATE = 9.8
"""Requests per second that the pace allows."""

WAYS: dict[str, Callable[[Random], StatusReply | StatusError | float]] = {
    "5xx": lambda _: TransportError("internal", http_status=500),
    "reset": lambda _: TransportError("connection reset"),
    "broken": lambda _: TransportError("the body is not JSON", http_status=200),
    "no status": lambda _: StatusReply(None),
    "hanging": lambda _: math.inf,
    "slow": lambda dice: dice.uniform(5, 60),
    "stale": lambda _: StaleConnectionError("stale"),
    "404 now and then": lambda dice: (
        NotFoundError("not found", http_status=404)
        if dice.random() < 0.3
        else StatusReply(PENDING)
    ),
}


@dataclass
class World:
    """
    Some requests, with their ends, round trips and sicknesses; all decided by the seed.

    Attributes:
        are_sick: Whether the sick ones are; else they are pending for ever.
    """

    seed: int
    are_sick: bool
    told: dict[str, float] = field(default_factory=dict)
    outages: int = 0

    def __post_init__(self) -> None:
        dice = Random(f"isolated world {self.seed}")
        count = dice.choice([10, 40, 150])
        self.ids = [f"r{number}" for number in range(count)]
        share = dice.uniform(0.0, 0.2)
        sick = max(1, round(count * share))
        first = dice.choice([0, count - sick, None])
        chosen = dice.sample(self.ids, sick) if first is None else self.ids[first : first + sick]
        one_way = dice.choice([*WAYS, None])
        self.way = {name: one_way or dice.choice([*WAYS]) for name in chosen}
        self.healthy_replies = dice.choice([0, 1, 3])
        mean = dice.choice([5.0, 20.0, 40.0])
        spread = dice.choice([0.0, count / 10])
        self.starts = {name: dice.uniform(0, spread) for name in self.ids}
        self.ends = {
            name: self.starts[name] + min(100.0, dice.expovariate(1 / mean)) for name in self.ids
        }
        self.order = dice.choice(["due", "learned", "learned"])
        self.polls = dict.fromkeys(self.ids, 0)

    async def fetch(self, request_id: str) -> StatusReply:
        """Answer as the world is."""
        self.polls[request_id] += 1
        number = self.polls[request_id]
        dice = Random(f"{self.seed} {request_id} {number}")
        trip = 0.08 * math.exp(dice.gauss(0, 0.4))
        await asyncio.sleep(trip / 2)
        at = now()
        if request_id not in self.way:
            await asyncio.sleep(trip / 2)
            return StatusReply(SUCCESS if at >= self.ends[request_id] else PENDING)
        if self.are_sick and number > self.healthy_replies:
            answer = WAYS[self.way[request_id]](dice)
            if isinstance(answer, float):
                await asyncio.sleep(min(answer, 1e6))
                answer = StatusReply(PENDING)
            await asyncio.sleep(trip / 2)
            if isinstance(answer, StatusError):
                raise answer
            return answer
        await asyncio.sleep(trip / 2)
        return StatusReply(PENDING)

    async def live(self) -> None:
        """Track all of them until every healthy one is told."""
        healthy = [name for name in self.ids if name not in self.way]

        async def arrivals() -> AsyncIterator[str]:
            for name in sorted(self.ids, key=self.starts.__getitem__):
                await asyncio.sleep(max(0.0, self.starts[name] - now()))
                yield name

        def observe(event: Event) -> None:
            self.outages += isinstance(event, OutageBegan)

        policy = PollPolicy(order=self.order)  # type: ignore[arg-type]
        async with Tracker(self, policy=policy, seed=self.seed, observers=[observe]) as tracker:
            async for result in tracker.as_completed(arrivals()):
                if result.request_id in healthy:
                    assert result.ok, result
                    self.told[result.request_id] = now()
                    if len(self.told) == len(healthy):
                        return


@pytest.mark.parametrize("start", range(FIRST, FIRST + WORLDS, 50))
def test_sick_requests_delay_no_healthy_one(start: int) -> None:
    """
    None is told later than two rounds and five seconds after the reference, and all together
    wait at most 1.15 times as long.
    """
    mine = reference = 0.0
    late = []
    for seed in range(start, start + 50):
        sick, well = World(seed, are_sick=True), World(seed, are_sick=False)
        run(sick.live())
        run(well.live())
        rounds = 2 * len(sick.ids) / RATE
        for name, told in sick.told.items():
            mine += told - sick.ends[name]
            reference += well.told[name] - well.ends[name]
            if told > well.told[name] + rounds + 5:
                late.append((seed, name, told, well.told[name], sick.way, sick.outages))

    assert not late, late[:5]
    assert mine <= 1.15 * reference, (mine, reference)
