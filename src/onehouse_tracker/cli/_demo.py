"""
Shows the whole product at work on a simulated project, without credentials.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from random import Random

from onehouse_tracker import events
from onehouse_tracker.cli._codes import ExitCode
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._html_report import recorded, served
from onehouse_tracker.cli._output import summary
from onehouse_tracker.cli._state import CommandState
from onehouse_tracker.cli._status_line import live
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.cli._track import consume
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import Outcome, Request
from onehouse_tracker.observers._progress import duration
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.onehouse.labels import label_of
from onehouse_tracker.run_results import JobRun
from onehouse_tracker.testing.enforcers import SlidingLog
from onehouse_tracker.testing.faults import Draw
from onehouse_tracker.testing.job_runs import RunKind
from onehouse_tracker.testing.jobs import SimulatedJobs
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from onehouse_tracker.tracker import Tracker

__all__ = ["demo", "percentile"]

_LIMIT = 10


def _between(low: float, high: float) -> Draw:
    return lambda rng: rng.uniform(low, high)


# Short, so that the whole demonstration is: real ones take minutes.
_KINDS = (
    Kind(label="SHOW", duration=_between(0.5, 2)),
    Kind(label="DESCRIBE", duration=_between(0.5, 3)),
    Kind(label="RUN JOB", duration=_between(4, 16), failed=0.12, reason="the job has no cluster"),
    Kind(
        label="CREATE TABLE",
        duration=_between(2, 8),
        invalid=0.15,
        reason="type BIGNUM is unknown",
    ),
    Kind(label="ALTER TABLE", duration=_between(3, 9), partial=0.2),
    Kind(
        label="CREATE CLUSTER",
        duration=_between(10, 18),
        failed=0.1,
        reason="quota of clusters exceeded",
    ),
)
_RUNS = (RunKind(queued=_between(0.5, 2), duration=_between(4, 20), failed=0.15),)
_FEW_RUNS = 10
_STATEMENTS = (
    "SHOW TABLES IN lake_{0}",
    "DESCRIBE TABLE orders_{0}",
    "RUN JOB nightly_{0}",
    "RUN JOB hourly_{0}",
    "CREATE TABLE orders_{0} (id BIGINT)",
    "ALTER TABLE orders_{0} ADD COLUMN note STRING",
    "CREATE CLUSTER cluster_{0}",
)


async def demo(
    terminal: Terminal,
    *,
    count: int,
    seed: int,
    speed: float,
    report: str | None = None,
    page: int | None = None,
) -> ExitCode:
    """
    Submit *count* statements to a simulator, follow them, and print a summary.

    Nothing of the user's environment is used.  The requests go through real sockets.

    Args:
        terminal: Where to print.

        count: Statements.

        seed: Decides which statements there are, how long they take and how they end.

        speed: Divides every duration.

        report: Where to write an HTML report, if anywhere.

        page: The port of a live page, if there shall be one.

    Raises:
        ConfigError: The report cannot be written, or the page not be served.
    """
    rng = Random(f"{seed} demo")
    statements = [rng.choice(_STATEMENTS).format(number) for number in range(1, count + 1)]
    project = SimulatedProject(
        enforcer=SlidingLog(_LIMIT),
        kinds=_KINDS,
        jobs=SimulatedJobs(kinds=_RUNS),
        seed=seed,
        speed=speed,
    )
    state = CommandState()
    known_at: dict[str, float] = {}

    def observe(event: events.Event) -> None:
        if isinstance(event, events.RequestEnded):
            known_at[event.request_id] = event.at

    loop = asyncio.get_running_loop()
    with recorded(
        terminal,
        report,
        limit=_LIMIT,
        title="onehouse-tracker demo",
        delays=lambda: _delays(project, known_at),
    ) as recordings:
        async with SimulatorServer(project, record=False) as server:
            terminal.note(
                f"submitting {count} statements to a simulated Onehouse at {server.url},\n"
                f"which allows {_LIMIT} requests a second, and following them to their end ..."
            )
            client = OnehouseClient(Credentials.from_env(environ=server.environment()))
            limiter = LocalLimiter(_LIMIT)
            began = loop.time()
            async with (
                client,
                Tracker(
                    client, limiter=limiter, observers=[observe, *recordings], seed=seed
                ) as tracker,
                served(terminal, tracker, page, title="onehouse-tracker demo"),
                live(terminal, state, tracker.stats),
            ):
                requests = _submitted(tracker, statements, state)
                await consume(terminal, CommandSettings(), state, tracker, requests)
                lines = _summary(project, state, known_at, loop.time() - began)
                lines[-2:-2] = await _runs_followed(terminal, tracker, project)
    for line in lines:
        await terminal.emit(line)

    return ExitCode.OK


async def _runs_followed(
    terminal: Terminal, tracker: Tracker, project: SimulatedProject
) -> list[str]:
    """Follow some of the runs that the statements have started to their real end."""
    runs = [JobRun(each.job, each.run_id) for each in project.runs.values()][:_FEW_RUNS]
    if not runs:
        return []
    terminal.note(f"following {len(runs)} of the job runs that they started to their real end ...")
    results = await tracker.runs.wait_all(runs)
    return [f"runs of jobs           {summary(Counter(each.outcome for each in results))}"]


async def _submitted(
    tracker: Tracker, statements: Sequence[str], state: CommandState
) -> AsyncIterator[Request]:
    handles = []
    for statement in statements:
        handle = await tracker.submit(statement, label=label_of(statement))
        handles.append(handle)  # a handle that is let go is not followed
        request = Request(handle.request_id, label=handle.label)
        state.join(request)
        yield request
    state.complete = True


def _summary(
    project: SimulatedProject, state: CommandState, known_at: dict[str, float], took: float
) -> list[str]:
    results = state.results()
    ended = Counter((result.label or "", result.outcome) for result in results)
    delays = sorted(_delays(project, known_at).values())
    arrivals = project.arrivals
    submissions = sum(arrival.kind == "submit" for arrival in arrivals)
    lines = [f"{len(results)} statements followed to their end in {duration(took)}", ""]
    lines += _by_label(ended)
    p50, p99, most = (percentile(delays, percent) for percent in (50, 99, 100))
    polls = project.arrived - submissions
    lines += [
        "",
        f"known after the end    p50 {p50:.2f} s, p99 {p99:.2f} s, max {most:.2f} s",
        f"requests on the wire   {project.arrived}: {submissions} submissions, {polls} polls",
    ]
    if arrivals and arrivals[-1].at > arrivals[0].at:
        used = project.budget_used(arrivals[0].at, arrivals[-1].at, _LIMIT)
        lines.append(f"budget used            {used:.0%} of {_LIMIT} requests a second")
    lines += [
        f"refused by the server  {project.refused}",
        f"lost                   {len(project.requests) - len(results)}",
        "",
        "some statements end badly by design, so this is a success: exit code 0",
    ]
    return lines


def _delays(project: SimulatedProject, known_at: dict[str, float]) -> dict[str, float]:
    """By how many seconds each end was known too late: here somebody knows the truth."""
    return {
        request_id: max(0.0, at - project.finished_at(request_id))
        for request_id, at in known_at.items()
    }


def _by_label(ended: Counter[tuple[str, Outcome]]) -> list[str]:
    outcomes = [outcome for outcome in Outcome if any(key[1] is outcome for key in ended)]
    labels = sorted({label for label, _ in ended})
    names = [str(outcome).removesuffix("_SUCCEEDED") for outcome in outcomes]
    head = ["", "ALL", *names]
    rows = [head]
    for label in labels:
        counts = [ended[label, outcome] for outcome in outcomes]
        rows.append([label, str(sum(counts)), *(str(count or "") for count in counts)])
    totals = [sum(ended[label, outcome] for label in labels) for outcome in outcomes]
    rows.append(["all", str(sum(totals)), *map(str, totals)])
    widths = [max(len(row[index]) for row in rows) for index in range(len(head))]

    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the sorted *values* that *percent* of them do not exceed; 0 for none."""
    if not values:
        return 0.0
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]
