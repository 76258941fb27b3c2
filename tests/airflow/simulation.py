"""
A simulated project for Airflow to follow, and the connection that leads to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import (
    Kind,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatorServer,
    make_enforcer,
)
from onehouse_tracker.testing.records import Answer
from onehouse_tracker.testing.threaded import RunningSimulator

EXTRA = {
    "account_uid": "account-of-a-test",
    "project_uid": "project-of-a-test",
    "api_key": "key-of-a-test",
    "api_secret": "secret-of-a-test",
    "link_uid": "link-of-a-test",
    "region": "us-west-2",
    "user_id": "user-of-a-test",
}

KINDS = (
    Kind(label="SHOW", duration=0.5),
    Kind(label="RUN JOB", duration=1.0),
    Kind(label="DELETE", duration=0.5, failed=1.0),
    Kind(label="CREATE", duration=0.5, invalid=1.0),
    Kind(label="ALTER", duration=0.5, partial=1.0),
)
"""One kind of statement for each way to end."""

REASON = "no such table: orders"
"""Why a statement fails, in the server's words."""

LIMIT = 60
"""Requests a second that the simulator lets in, so that the tests end soon.  The connections
ask for a tenth less: the machine that tests is busy, and late by more than a network."""


class Reasoning(SimulatedProject):
    """A project that says why a statement failed."""

    def submit(self, statement: str, now: float) -> Answer:
        """As every project does, and with a reason."""
        answer = super().submit(statement, now)
        request = self.requests.get(answer.request_id)
        if request is not None and request.status == ApiStatus.FAILED:
            request.response = {"errorMessage": REASON}
        return answer

    def submitted(self) -> int:
        """How many statements run or ran."""
        return sum(one.kind == "submit" and bool(one.request_id) for one in self.arrivals)


class WatchedServer(SimulatorServer):
    """A simulator that also knows over which connections its requests came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peers: set[object] = set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        return await super()._handle(request)


Simulate = Callable[..., AbstractContextManager[RunningSimulator]]


@contextmanager
def simulated(*, limit: float = LIMIT, **settings: Any) -> Iterator[RunningSimulator]:
    """Run a simulator that lets in *limit* requests in any second, and knows one key."""
    jobs = SimulatedJobs(kinds=[RunKind(queued=0.5, duration=2.0)])
    settings = {"kinds": KINDS, "jobs": jobs, **settings}
    project = Reasoning(enforcer=make_enforcer("sliding", limit), **settings)
    expected = {"x-onehouse-api-key": EXTRA["api_key"]}
    with RunningSimulator(WatchedServer(project, expected_headers=expected)) as simulator:
        yield simulator


def connection(url: str, *, tmp_path: Path, **extra: Any) -> dict[str, Any]:
    """A connection to *url*, as JSON; the rate limit is in a file of the test's own."""
    # Where no scheduler runs, nothing is gained by a deferral that is longer than it has to be.
    ours = {"limiter": f"host:{tmp_path / 'limit'}", "limit": 0.9 * LIMIT, "min_deferral": 0}
    extra = {**EXTRA, **ours, **extra}
    return {"conn_type": "onehouse", "host": url, "extra": json.dumps(extra)}
