"""
Batches that the real engine followed on a virtual clock, recorded: what pages are made of.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from onehouse_tracker import Request, Results, Tracker
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.report import ReportObserver
from onehouse_tracker.testing import FaultRule, SimulatedProject, SimulatedSource, faults, outage
from tests.support import run

__all__ = ["FAILING", "NOON", "batch"]

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)

FAILING = (
    ("RUN JOB", "job orders_daily has no cluster assigned"),
    ("CREATE TABLE", "table <lake>.orders exists already"),
    ("ALTER TABLE", "column note is of type STRING, not BIGINT"),
)
"""The labels of which some requests fail, and what the server says then."""

_LABELS = ("SHOW", "DESCRIBE", "RUN JOB", "CREATE TABLE", "ALTER TABLE", "CREATE CLUSTER")


def batch(
    count: int,
    failures: int,
    *,
    seed: int = 1,
    trouble: bool = False,
    labels: dict[int, str] | None = None,
    timeout: float | None = None,
) -> tuple[ReportObserver, Results, dict[str, float]]:
    """
    Follow *count* requests of which *failures* fail.

    Returns:
        The recording, the results, and the true delays by request ID.
    """
    rng = random.Random(f"{seed} batch")
    bad = set(rng.sample(range(count), failures))
    rules: list[FaultRule] = []
    if trouble:
        rules += [outage(20, 35), FaultRule(fault=faults.throttled(2), start=50, end=50.4)]
    project = SimulatedProject(seed=seed, rules=rules)
    requests = []
    for number in range(count):
        label = rng.choice(_LABELS)
        status, reason = ApiStatus.SUCCESS, None
        if number in bad:
            label, reason = FAILING[number % len(FAILING)]
            status = ApiStatus.FAILED
        elif rng.random() < 0.03:
            status = ApiStatus.SUCCESS_PARTIAL
        slow = label in {"RUN JOB", "CREATE CLUSTER"}
        request_id = f"{rng.getrandbits(64):016x}"
        project.add(
            request_id,
            rng.lognormvariate(4.2 if slow else 1.5, 0.6),
            status,
            response=None if reason is None else {"errorMessage": reason},
        )
        label = (labels or {}).get(number, label)
        requests.append(Request(request_id, label=label))
    recording = ReportObserver(limit=10, wall_clock=lambda: NOON)
    known_at: dict[str, float] = {}

    async def scenario() -> Results:
        limiter = LocalLimiter(10)
        source = SimulatedSource(project)
        async with Tracker(source, limiter=limiter, observers=[recording], seed=seed) as tracker:
            results = await tracker.wait_all(requests, timeout=timeout)
        for request_id, result in results.items():
            if result.outcome.finished:
                known_at[request_id] = result.waited
        return results

    results = run(scenario())
    # All were added in the simulation's first moment, so ages are times.
    delays = {key: max(0.0, at - project.requests[key].duration) for key, at in known_at.items()}
    return recording, results, delays


def later(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)
