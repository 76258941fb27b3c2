"""
A day of polling: memory stays flat, and every result is right.

``SOAK_IDS=100000`` asks for the whole day, which takes minutes; the default run has a part
of an hour.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import tracemalloc
from collections.abc import Iterator
from random import Random

import pytest

from onehouse_tracker import PollPolicy, Request, Tracker
from onehouse_tracker.models import ApiStatus, Outcome
from onehouse_tracker.testing import (
    FaultRule,
    SimulatedProject,
    SimulatedSource,
    SlidingLog,
    faults,
    lognormal,
)
from tests.support import run

IDS = int(os.environ.get("SOAK_IDS", "1000"))
DAY = 86_400.0
PER_DAY = 100_000
BATCH = 50
SAMPLES = 20
ALLOWED = 256 * 1024  # bytes: a thousand requests may be pending, or hardly any

TRUTH = {ApiStatus.SUCCESS: Outcome.SUCCEEDED, ApiStatus.FAILED: Outcome.FAILED}


@pytest.fixture
def traced() -> Iterator[None]:
    """Count every byte that Python allocates."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def memory() -> int:
    """Bytes in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_memory_is_flat_and_results_are_right(
    traced: None, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What is forgotten too late, a few bytes for each request or poll, ends a long-running
    service after weeks.
    """
    # Captured log records stay in memory, and so does the library that writes them.
    caplog.set_level(logging.CRITICAL)
    dice = Random(7)
    draw = lognormal(60.0, 0.8)
    project = SimulatedProject(
        enforcer=SlidingLog(10),
        seed=7,
        record=False,
        rules=[
            FaultRule(fault=faults.unavailable(), rate=0.01),
            FaultRule(fault=faults.throttled(), rate=0.0005),
        ],
    )
    source = SimulatedSource(project, seed=7)
    done = 0

    async def follow(number: int, tracker: Tracker) -> None:
        nonlocal done
        truth = {}
        for index in range(BATCH):
            request_id = f"{number}-{index}"
            status = dice.choice(list(TRUTH))
            project.add(request_id, draw(dice), status, response={"id": request_id})
            truth[request_id] = TRUTH[status]
        requests = [Request(key, label=f"kind {number % 5}") for key in truth]
        async for result in tracker.as_completed(requests):
            assert result.outcome is truth.pop(result.request_id)
            assert result.response == {"id": result.request_id}
            # The server forgets too, or its memory would be measured.
            del project.requests[result.request_id]
            done += 1
        assert not truth

    async def scenario() -> list[int]:
        samples = []
        batches = IDS // BATCH
        policy = PollPolicy(gap_min=15.0, gap_coefficient=6.0, gap_max=60.0, idle_share=0.1)
        async with Tracker(source, policy=policy, seed=7) as tracker, asyncio.TaskGroup() as all_:
            for number in range(batches):
                all_.create_task(follow(number, tracker))
                await asyncio.sleep(DAY * BATCH / PER_DAY)
                if (number + 1) % (batches // SAMPLES) == 0:
                    samples.append(memory())
        return samples

    samples = run(scenario())

    assert done == IDS
    warm = samples[SAMPLES // 4 :]
    assert max(warm) - warm[0] < ALLOWED, samples
    # The end is no higher than the beginning, up to what happens to be pending.
    half = len(warm) // 2
    assert sum(warm[half:]) / (len(warm) - half) - sum(warm[:half]) / half < ALLOWED / 2, samples
