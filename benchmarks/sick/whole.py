"""
Trouble of the whole project, which must not be taken for that of single requests.

The server is down, the key expires, others spend the same rate limit; and the other way round,
what is refused for single requests must not slow the project down for long.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeAlias

from benchmarks.sick.runs import (
    BEYOND,
    LIMIT,
    Arrivals,
    Cell,
    Job,
    Seen,
    follow,
    follow_cell,
    jobs_of,
)
from benchmarks.sick.ways import REFUSED as REFUSED_ALWAYS
from benchmarks.sick.ways import PairedSource, SickSource, now
from onehouse_tracker import events
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.testing import SimulatedProject, SlidingLog, VirtualClockLoop
from onehouse_tracker.testing.faults import (
    Fault,
    FaultRule,
    hang,
    outage,
    reset,
    unauthorized,
    unavailable,
)

__all__ = [
    "CASES",
    "FOREIGN",
    "Outage",
    "Shown",
    "judge_margin",
    "judge_outage",
    "judge_refused",
    "run_case",
]

DOWN_FOR = 500.0  # seconds; less than the patience
FOREIGN = "another client,"
FOREIGN_SIZE = 200
EXPIRES_AT = 60.0  # seconds

NOTICED_LATER_BY = 1.0  # seconds, at most
PROBES_PER_S = 1.1
FULL_SPEED = 0.85 * LIMIT  # polls a second after an outage, where enough is due
MORE_REFUSED = 0.01  # of what is sent, chance aside
MARGIN = 0.05  # of the pace, a minute after the last sick request was refused first


Seeds: TypeAlias = Sequence[int]


@dataclass(slots=True, kw_only=True)
class Shown:
    """What the runs of one case showed, the worst of each figure, and what is wrong with it."""

    figures: dict[str, float] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)


# --- the server is down ------------------------------------------------------------------------

_FAULTS = {"503": unavailable(), "hanging": hang(), "reset": reset()}
_MOMENTS = {
    "from the first moment": {500: 0.0, 5: 0.0},
    "while most were never asked": {500: 5.0, 5: 0.05},
    "later": {500: 60.0, 5: 20.0},
}
"""Seconds from the beginning of the run, by the number of requests."""

NOTICED = {
    ("503", 500): (1.2, 1.1, 1.2),
    ("503", 5): (1.7, 1.7, 2.9),
    ("hanging", 500): (300.0, 31.0, 31.0),
    ("hanging", 5): (300.0, 61.4, 92.7),
    ("reset", 500): (1.2, 1.1, 1.2),
    ("reset", 5): (1.7, 1.7, 2.9),
}
"""Seconds after which an outage was declared, for each of `_MOMENTS`, while ten failures in a row
over two requests were enough: no witness was asked, which is as fast as it can be."""


@dataclass(frozen=True, slots=True)
class Outage:
    """What is judged of one outage.  Times are seconds since the beginning of the run."""

    began: float
    """When the server went down."""

    declared: Sequence[float]
    """When the tracker said so."""

    ended: Sequence[float]
    """When it took that back."""

    replies: Sequence[float]
    """When polls were answered."""

    arrivals: Sequence[float]
    """When polls arrived at the server."""

    up_again: float
    """When the server was back."""

    def figures(self) -> dict[str, float]:
        """Tell what `--check` looks at; infinity for what did not happen."""
        if not self.declared or not self.ended:
            return {"noticed": float("inf")}
        noticed, over = self.declared[0], self.ended[-1]
        # What was sent before it was noticed is still on its way.
        first = noticed + 0.5
        probes = sum(first < at <= self.up_again for at in self.arrivals)
        after = sum(over + 0.2 < at <= over + 2.2 for at in self.arrivals)
        return {
            "noticed": noticed - self.began,
            # One more or less is a matter of where the span begins.
            "probes_per_s": (probes - 1) / (self.up_again - first),
            "replies_to_recover": float(sum(self.up_again < at <= over for at in self.replies)),
            "recovered": over - self.up_again,
            "speed": after / 2.0,
            "outages": float(len(self.declared)),
        }


async def _down(seeds: Seeds, size: int, start: float, fault: Fault, noticed: float) -> Shown:
    shown = Shown()
    for seed in seeds:
        began = now() + start
        jobs = jobs_of(size, "batch", seed, since=now())
        project = _project(jobs, seed, record=True)
        project.rules.append(outage(start, start + DOWN_FOR, fault))
        seen, told = Seen(), list[events.Event]()
        await follow(
            jobs,
            PairedSource(project, seed),
            LocalLimiter(LIMIT),
            seen,
            seed=seed,
            beyond=start + DOWN_FOR + BEYOND,
            observer=told.append,
        )
        figures = Outage(
            began=began,
            up_again=began + DOWN_FOR,
            declared=[each.at for each in told if isinstance(each, events.OutageBegan)],
            ended=[each.at for each in told if isinstance(each, events.OutageEnded)],
            replies=[
                each.at
                for each in told
                if isinstance(each, events.PollFinished) and each.error is None
            ],
            arrivals=[each.at for each in project.arrivals],
        ).figures()
        shown.figures = _worst(shown.figures, figures)
        shown.missed += _nobody_failed(seen)
    shown.missed += judge_outage(shown.figures, noticed, full_speed=size > LIMIT)
    return shown


def judge_outage(figures: dict[str, float], noticed: float, *, full_speed: bool) -> list[str]:
    """Name each figure of an outage that is not good enough."""
    found = []
    if not figures["noticed"] <= noticed + NOTICED_LATER_BY:
        found.append(f"noticed after {figures['noticed']:.1f} s, not within 1 s of {noticed:.1f}")
    if len(figures) == 1:
        return found or ["never noticed"]
    if figures["probes_per_s"] > PROBES_PER_S:
        found.append(f"{figures['probes_per_s']:.2f} polls a second, not at most {PROBES_PER_S}")
    if figures["replies_to_recover"] != 1:
        found.append(f"{figures['replies_to_recover']:.0f} good replies to recover, not 1")
    if full_speed and figures["speed"] < FULL_SPEED:
        found.append(f"{figures['speed']:.1f} polls a second afterwards, not {FULL_SPEED:.1f}")
    if figures["outages"] != 1:
        found.append(f"{figures['outages']:.0f} outages, not 1")
    return found


# --- the key expires ---------------------------------------------------------------------------

_EXPIRES: tuple[tuple[int, Arrivals], ...] = ((500, "batch"), (50, "staggered"), (10, "batch"))


async def _key_expires(
    seeds: Seeds, size: int, arrivals: Arrivals, status: int, *, sick: bool
) -> Shown:
    shown = Shown()
    for seed in seeds:
        jobs = jobs_of(size, arrivals, seed, since=now())
        project = _project(jobs, seed)
        project.rules.append(FaultRule(fault=unauthorized(status), start=EXPIRES_AT))
        names = [job.request_id for job in jobs]
        ill = Random(seed).sample(names, size // 10) if sick else []
        source = SickSource(project, seed, sick=ill, way="5xx" if ill else None)
        expired_at = now() + EXPIRES_AT
        seen = Seen()
        await follow(jobs, source, LocalLimiter(LIMIT), seen, sick=frozenset(ill), seed=seed)
        rejected = seen.harmed.get("REJECTED", 0) + seen.sick.get("REJECTED", 0)
        figures = {"took": now() - expired_at, "rejected": float(rejected)}
        shown.figures = _worst(shown.figures, figures)
        if rejected:
            shown.missed.append(f"{rejected} requests REJECTED")
        if seen.error != "AuthenticationError":
            shown.missed.append(f"ended in {seen.error or 'no error'}, not AuthenticationError")
    return shown


# --- others spend the same limit -------------------------------------------------------------

REFUSED = {5: (0.127, 0.008), 10: (0.299, 0.012), 20: (0.545, 0.024), 40: (0.766, 0.030)}
"""Shares of what we sent that were refused, by requests a second of the other client, while
every refusal was taken for the project's; and how much they differ from seed to seed."""


async def _foreign(seeds: Seeds, rate: int) -> Shown:
    shown = Shown()
    sent = refused = 0
    for seed in seeds:
        jobs = jobs_of(FOREIGN_SIZE, "batch", seed, since=now())
        limit = SlidingLog(LIMIT)
        project = _project(jobs, seed, enforcer=limit)
        seen = Seen()
        other = asyncio.create_task(_spend(limit, rate, seed))
        await follow(jobs, PairedSource(project, seed), LocalLimiter(LIMIT), seen, seed=seed)
        other.cancel()
        sent += project.arrived
        refused += project.refused
        seen.lost, lost = 0, seen.lost  # whoever is crowded out is late
        shown.missed += _nobody_failed(seen)
        shown.figures = _worst(shown.figures, {"lost": float(lost)})
    shown.figures["refused"] = refused / sent
    shown.missed += judge_refused(refused / sent, rate, len(seeds))
    return shown


def judge_refused(share: float, rate: int, seeds: int) -> list[str]:
    """Say so if more was refused than before, chance aside."""
    before, deviation = REFUSED[rate]
    most = before + MORE_REFUSED + 2 * deviation / math.sqrt(seeds)
    return [f"{share:.1%} refused, not at most {most:.1%}"] if share > most else []


async def _spend(limit: SlidingLog, rate: float, seed: int) -> None:
    """Send requests at random moments, and take no notice of refusals."""
    random = Random(f"{seed} foreign")
    while True:
        await asyncio.sleep(random.expovariate(rate))
        limit.admit(now())


# --- single requests are refused for the rate -----------------------------------------------

_REFUSED_SHARES = ((REFUSED_ALWAYS[0], (1, 5, 20)), (REFUSED_ALWAYS[1], (1,)))


async def _margin(seeds: Seeds, way: str, percent: int) -> Shown:
    shown = Shown()
    for seed in seeds:
        cell = Cell(way, 500, percent, "batch", seed, "random", 0, calm=True)
        seen = await follow_cell(cell)
        # A run that never came so far has shown nothing good.
        margin = 1.0 if seen.margin is None else seen.margin
        shown.figures = _worst(shown.figures, {"margin": margin})
    shown.missed += judge_margin(shown.figures["margin"])
    return shown


def judge_margin(margin: float) -> list[str]:
    """Say so if the pace learned too much from single requests."""
    return [f"margin is {margin:.3f}, not below {MARGIN:g}"] if margin >= MARGIN else []


# --- all of them -------------------------------------------------------------------------------


def _project(
    jobs: Sequence[Job], seed: int, *, enforcer: SlidingLog | None = None, record: bool = False
) -> SimulatedProject:
    project = SimulatedProject(enforcer=enforcer or SlidingLog(LIMIT), seed=seed, record=record)
    for job in jobs:
        project.add(job.request_id, job.end - job.start, submitted_at=job.start)
    return project


def _nobody_failed(seen: Seen) -> list[str]:
    found = [f"{count} requests {name}" for name, count in seen.harmed.items()]
    if seen.error:
        found.append(f"all failed with {seen.error}")
    if seen.lost:
        found.append(f"{seen.lost} requests without a result")
    return found


def _worst(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """Join the figures of two seeds: of speed the least is the worst, of all else the most."""
    joined = one | other
    for name in one.keys() & other.keys():
        joined[name] = (min if name == "speed" else max)(one[name], other[name])
    return joined


Case: TypeAlias = Callable[[Seeds], Coroutine[object, object, Shown]]


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for (way, size), noticed in NOTICED.items():
        for nth, (moment, starts) in enumerate(_MOMENTS.items()):
            cases[f"down {moment}, {way}, {size} requests"] = partial(
                _down, size=size, start=starts[size], fault=_FAULTS[way], noticed=noticed[nth]
            )
    for status in (401, 403):
        for size, arrivals in _EXPIRES:
            for sick in (False, True):
                beside = ", a tenth sick" if sick else ""
                cases[f"key expires, {status}, {size} requests{beside}"] = partial(
                    _key_expires, size=size, arrivals=arrivals, status=status, sick=sick
                )
    for way, shares in _REFUSED_SHARES:
        for percent in shares:
            cases[f"pace, {way}, {percent} % of 500 requests"] = partial(
                _margin, way=way, percent=percent
            )
    for rate in REFUSED:
        cases[f"{FOREIGN} {rate} requests/s"] = partial(_foreign, rate=rate)
    return cases


CASES = _cases()


def run_case(name: str, seeds: Seeds) -> Shown:
    """Run one of `CASES` with each seed, on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(CASES[name](seeds))
