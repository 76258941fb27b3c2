"""A simulated project whose statements take seconds, and a tracker of it on a virtual clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from onehouse_tracker import PollPolicy, Tracker
from onehouse_tracker.testing import (
    Kind,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatedSource,
)
from tests.support import run

__all__ = ["KINDS", "STEADY", "checks_sent", "follow", "project_of", "statements"]

T = TypeVar("T")

KINDS = (
    Kind(label="RUN JOB", duration=2),
    Kind(label="CREATE AND RUN JOB", duration=2),
    Kind(label="CREATE CLUSTER", duration=20, failed=1, reason="no such size"),
    Kind(label="CREATE", duration=20),
    Kind(label="", duration=1.5),
)
"""Every statement takes a time that is known."""

STEADY = (RunKind(queued=4, duration=60),)


def project_of(*kinds: Kind, **jobs: Any) -> SimulatedProject:
    """A project; *kinds* come before those that it has anyway."""
    return SimulatedProject(
        kinds=(*kinds, *(kind for kind in KINDS if kind.label not in {k.label for k in kinds})),
        jobs=SimulatedJobs(**({"kinds": STEADY} | jobs)),
        seed=1,
    )


def follow(
    project: SimulatedProject,
    scenario: Callable[[Tracker], Awaitable[T]],
    *,
    policy: PollPolicy | None = None,
    **settings: Any,
) -> T:
    """Run *scenario* with a tracker of the project."""

    async def opened() -> T:
        source = SimulatedSource(project)
        async with Tracker(source, policy=policy, seed=1, **settings) as tracker:
            return await scenario(tracker)

    return run(opened())


def statements(project: SimulatedProject) -> list[tuple[float, str]]:
    """What was submitted, and when."""
    return [
        (request.submitted_at or 0.0, request.statement or "")
        for request in project.requests.values()
    ]


def checks_sent(project: SimulatedProject, begins: str = "") -> list[float]:
    """When statements were sent that begin so."""
    return [at for at, statement in statements(project) if statement.startswith(begins)]
