"""
Serves the simulated Onehouse until it is stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from onehouse_tracker.cli._codes import CommandError, ExitCode
from onehouse_tracker.cli._command_settings import parse_duration
from onehouse_tracker.cli._shell import set_variables
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.testing.enforcers import Enforcer, make_enforcer
from onehouse_tracker.testing.faults import Draw
from onehouse_tracker.testing.job_runs import RUN_KINDS, RunKind
from onehouse_tracker.testing.jobs import SimulatedJobs
from onehouse_tracker.testing.listings import Listing, ShapeName
from onehouse_tracker.testing.records import Answer
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import KINDS, Kind

__all__ = ["Behavior", "kinds_from", "run_kind_from", "simulate"]


@dataclass(frozen=True, kw_only=True)
class Behavior:
    """How the statements and runs of a simulated project behave, as options say it."""

    durations: str | None = None
    fail_rate: float | None = None
    run_durations: str | None = None
    run_fail_rate: float | None = None
    listing: ShapeName = "nested"
    force: Sequence[str] = ()


async def simulate(
    terminal: Terminal,
    *,
    port: int,
    limit: float,
    enforcer: str,
    seed: int,
    behavior: Behavior,
    accept_any: bool,
) -> ExitCode:
    """
    Serve until cancelled.

    Raises:
        CommandError: The port cannot be had, or *behavior* makes no sense.
    """
    project = _Hospitable(
        kinds=kinds_from(behavior.durations, behavior.fail_rate),
        jobs=SimulatedJobs(
            kinds=[run_kind_from(behavior.run_durations, behavior.run_fail_rate)],
            listing=Listing(shape=behavior.listing),
        ),
        enforcer=None if enforcer == "none" else make_enforcer(enforcer, limit),
        seed=seed,
        accept_any=accept_any,
    )
    for text in behavior.force:
        _force(project, text)
    server = SimulatorServer(project, port=port, record=False)
    try:
        await server.start()
    except OSError as error:
        raise CommandError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from None
    try:
        rule = "no limit" if enforcer == "none" else f"{limit:g} requests a second ({enforcer})"
        terminal.note(f"simulated Onehouse at {server.url}, {rule}; Ctrl-C stops it")
        terminal.note("paste this where its clients run:")
        await terminal.emit("\n".join(set_variables(server.environment())))
        await asyncio.get_running_loop().create_future()
    finally:
        await server.stop()
        terminal.note(
            f"served {project.arrived} requests, refused {project.refused} of them for their rate"
        )
    return ExitCode.OK


def kinds_from(durations: str | None, fail_rate: float | None) -> list[Kind]:
    """
    The usual kinds of statement, with other durations and another chance to fail.

    Args:
        durations: ``5`` or ``1-25``, with the units of `parse_duration`; `None` keeps them.

        fail_rate: 0 to 1; `None` keeps it.

    Raises:
        CommandError: *durations* are no time spans.
    """
    kinds = list(KINDS)
    if durations is not None:
        draw = _draw(durations, "--durations")
        kinds = [replace(kind, duration=draw) for kind in kinds]
    if fail_rate is not None:
        kinds = [replace(kind, failed=fail_rate, invalid=0.0, partial=0.0) for kind in kinds]
    return kinds


def run_kind_from(durations: str | None, fail_rate: float | None) -> RunKind:
    """
    The usual runs, with other durations and another chance to fail.

    Args:
        durations: As for `kinds_from`; a run is queued for a tenth of such a time before.

        fail_rate: 0 to 1; `None` keeps it.

    Raises:
        CommandError: *durations* are no time spans.
    """
    (kind,) = RUN_KINDS
    if durations is not None:
        draw = _draw(durations, "--run-durations")
        kind = replace(kind, duration=draw, queued=lambda rng: draw(rng) / 10)
    if fail_rate is not None:
        kind = replace(kind, failed=fail_rate, canceled=0.0)
    return kind


def _force(project: SimulatedProject, text: str) -> None:
    pattern, _, outcome = text.rpartition("=")
    if not pattern:
        raise CommandError(f"--force: {text!r} is no PATTERN=OUTCOME")
    try:
        project.force(pattern, outcome.strip().lower())
    except ValueError as error:
        raise CommandError(f"--force: {error}") from None


def _draw(text: str, option: str) -> Draw:
    low, dash, high = text.partition("-")
    try:
        first = parse_duration(low)
        last = parse_duration(high) if dash else first
    except ValueError as error:
        raise CommandError(f"{option}: {error}; give 5 or 1-25 or 10s-2m") from None

    if last < first:
        raise CommandError(f"{option}: the first is the shorter one")
    return lambda rng: rng.uniform(first, last)


class _Hospitable(SimulatedProject):
    """A project that, if it is to, makes up each request that it does not know."""

    def __init__(
        self,
        *,
        kinds: list[Kind],
        jobs: SimulatedJobs,
        enforcer: Enforcer | None,
        seed: int,
        accept_any: bool,
    ) -> None:
        # Nobody judges by single arrivals here, and a server may run for weeks.
        super().__init__(kinds=kinds, jobs=jobs, enforcer=enforcer, seed=seed, record=False)
        self._accept_any = accept_any
        self._any_kind = kinds[0]
        self._strangers = Random(f"{seed} strangers")

    def poll(self, request_id: str, now: float) -> Answer:
        """Answer a poll that arrives at *now*, as limit and faults have it."""
        if self._accept_any and request_id not in self.requests:
            duration, status = self._any_kind.draw(self._strangers)
            self.add(request_id, duration, status, submitted_at=now)

        return super().poll(request_id, now)
