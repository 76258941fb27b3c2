"""
Whether requests that are sick harm the healthy ones of their project.

The product itself, tracker, engine, schedule and pace, tracks simulated requests on a virtual
clock.  Some of them are sick: the server never answers about them as it should, in one of the
ways of `sick/ways.py`, from the start or after the first or third proper reply.  Each run is
paired with a reference: the same requests, places, durations and round trips, but the sick ones
are simply pending for ever.  What counts is how late the healthy ones are known, over all seeds of
a cell together, as a share of the reference; `sick/judge.py` holds the limits.

The counter-tests are in `sick/whole.py`: what concerns the whole project must not be taken for
trouble of single requests.  The server is down, the key expires, another client spends the same
rate limit; and requests that are answered 429 must not slow the pace down for long.

    python benchmarks/isolation.py                  one line per cell and case, then tables
    python benchmarks/isolation.py --check          exit with 1, name each missed figure
    python benchmarks/isolation.py --quick          a tenth of it, in less than a minute
    python benchmarks/isolation.py --only 5xx       only this way; may be given several times
    python benchmarks/isolation.py --only whole     only the counter-tests
    python benchmarks/isolation.py -j 2             so many processes
    python benchmarks/isolation.py --json           one JSON object
    python benchmarks/isolation.py --write-table    the tables into the documentation

It takes less than 15 minutes of one core.  So not everything is combined with everything: ways,
shares and arrival patterns are, with ten seeds at 50 requests and three at 500.  Where the sick
ones stand in the list (anywhere, first, last) and when they fall sick turn with the seeds: each
cell has each of both, and at 50 requests all nine pairs.  Requests take 120 s in the mean,
exponential, at most 300 s; staggered ones arrive within 200 s.  A run ends with its last healthy
request, at the latest 300 s after the server finished that: a request that was not seen by then
counts as seen at that moment, and is named.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.pages import write_into  # noqa: E402
from benchmarks.sick.judge import TaskResult, judge, limits_of  # noqa: E402
from benchmarks.sick.runs import Arrivals, Cell, Seen, Where, run_cell  # noqa: E402
from benchmarks.sick.tables import (  # noqa: E402
    Group,
    case_line,
    group_line,
    tables,
)
from benchmarks.sick.ways import WAYS  # noqa: E402
from benchmarks.sick.whole import CASES, FOREIGN, Shown, run_case  # noqa: E402

PAGE = ROOT / "docs" / "explanations" / "one-sick-request.md"

SHARES = {50: (2, 10, 20, 50), 500: (1, 5, 10, 20, 50)}  # per cent
SEEDS = {50: 10, 500: 3}
SEEDS_OF_CASES = 3
SEEDS_OF_CHANCE = 10  # where another client comes at random
ARRIVALS: tuple[Arrivals, ...] = ("staggered", "batch")
WHERE: tuple[Where, ...] = ("random", "first", "last")
AFTER = (0, 1, 3)
WHOLE = "whole"

QUICK: tuple[tuple[int, int, Arrivals], ...] = ((50, 20, "staggered"), (500, 10, "batch"))
SEEDS_OF_QUICK = {50: 3, 500: 1}
SLACK_OF_QUICK = 1.15
"""By how much the limits are wider where there are so few requests."""


@dataclass(slots=True)
class Plan:
    """What is to be run."""

    members: dict[Group, list[Cell]]
    """The runs of each group of the grid."""

    cases: dict[str, Sequence[int]]
    """The seeds of each counter-test."""

    slack: float = 1.0


@dataclass(slots=True)
class Found:
    """What the runs showed."""

    verdicts: dict[Group, TaskResult] = field(default_factory=dict)
    cases: dict[str, Shown] = field(default_factory=dict)
    cpu: float = 0.0

    def missed(self) -> list[str]:
        """Name everything that is not good enough."""
        of_grid = [
            f"{group.way}, {group.percent} % of {group.size} {group.arrivals}: {miss}"
            for group, verdict in self.verdicts.items()
            for miss in verdict.missed()
        ]
        of_cases = [
            f"{name}: {miss}" for name, shown in self.cases.items() for miss in shown.missed
        ]
        return [*of_grid, *of_cases]

    def report(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        return {
            "cells": [
                {
                    **group._asdict(), **asdict(verdict), "mean_ratio": verdict.mean_ratio,
                    "p99_ratio": verdict.p99_ratio,
                }
                for group, verdict in self.verdicts.items()
            ],
            "cases": {name: asdict(shown) for name, shown in self.cases.items()},
            "missed": self.missed(),
            "cpu_s": round(self.cpu, 1),
        }  # fmt: skip


# --- what is run -------------------------------------------------------------------------------


def plan(only: Sequence[str], *, quick: bool) -> Plan:
    """Say what is to be run."""
    ways = [way for way in WAYS if not only or way in only]
    wanted = [
        Group(way, size, percent, arrivals)
        for way in ways
        for size, shares in SHARES.items()
        for percent in shares
        for arrivals in ARRIVALS
        if not quick or (size, percent, arrivals) in QUICK
    ]
    seeds = SEEDS_OF_QUICK if quick else SEEDS
    cases = CASES if not only or WHOLE in only else ()
    return Plan(
        {group: list(cells_of(group, seeds[group.size])) for group in wanted},
        {name: range(_seeds_of(name, quick=quick)) for name in cases},
        SLACK_OF_QUICK if quick else 1.0,
    )


def _seeds_of(case: str, *, quick: bool) -> int:
    if quick:
        return 1
    return SEEDS_OF_CHANCE if case.startswith(FOREIGN) else SEEDS_OF_CASES


def cells_of(group: Group, seeds: int) -> Iterator[Cell]:
    """Say which runs belong together."""
    shift = WAYS.index(group.way) + SHARES[group.size].index(group.percent)
    shift += ARRIVALS.index(group.arrivals)
    for seed in range(seeds):
        # Three seeds in a row have three places and three moments; nine have all pairs.
        when = AFTER[(seed + seed // 3 + shift) % 3]
        yield Cell(*group, seed, WHERE[seed % 3], when)


T = TypeVar("T")


def timed(function: Callable[..., T], *arguments: object) -> tuple[T, float]:
    """Call *function*; tell the seconds of CPU it took."""
    started = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - started


def run(todo: Plan, processes: int) -> Found:
    """Run everything, and print each result as soon as it is whole."""
    found = Found()
    waiting = dict(todo.members)
    cells = dict.fromkeys(
        each for runs in waiting.values() for cell in runs for each in (cell.reference, cell)
    )
    done: dict[Cell, Seen] = {}
    with ProcessPoolExecutor(processes) as pool:
        cases = {
            pool.submit(timed, run_case, name, seeds): name for name, seeds in todo.cases.items()
        }
        futures: dict[Future[tuple[Seen, float]], Cell] = {
            pool.submit(timed, run_cell, cell): cell for cell in cells
        }
        for case in as_completed(cases):
            name = cases[case]
            found.cases[name], cpu = case.result()
            found.cpu += cpu
            _say(case_line(name, found.cases[name]))
        for future in as_completed(futures):
            done[futures[future]], cpu = future.result()
            found.cpu += cpu
            for group in _whole(waiting, done):
                found.verdicts[group] = _judge(group, waiting.pop(group), done, todo.slack)
                _say(group_line(group, found.verdicts[group]))
    found.verdicts = {group: found.verdicts[group] for group in todo.members}
    found.cases = {name: found.cases[name] for name in todo.cases}
    return found


def _whole(waiting: Mapping[Group, list[Cell]], done: Mapping[Cell, Seen]) -> list[Group]:
    return [
        group
        for group, cells in waiting.items()
        if all(cell in done and cell.reference in done for cell in cells)
    ]


def _judge(
    group: Group, cells: Sequence[Cell], done: Mapping[Cell, Seen], slack: float
) -> TaskResult:
    limits = limits_of(group.way, group.size, group.percent)
    return judge(
        [done[cell] for cell in cells],
        [done[cell.reference] for cell in cells],
        limits and limits.times(slack),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmark as the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, at most a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--only", action="append", default=[], choices=[*WAYS, WHOLE], help="only this way"
    )
    parser.add_argument("-j", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--write-table", action="store_true", help="write the tables into docs/")
    options = parser.parse_args()
    started = time.monotonic()
    found = run(plan(options.only, quick=options.quick), options.j)
    text = tables(found.verdicts, found.cases)
    if options.write_table:
        write_into(PAGE, "isolation.py", text)
    print(json.dumps(found.report()) if options.json else text)
    missed = found.missed()
    for miss in missed if options.check else ():
        _say(f"missed: {miss}")
    what = f"{len(found.verdicts)} cells and {len(found.cases)} cases"
    took = f"{time.monotonic() - started:.0f} s, {found.cpu:.0f} s of CPU"
    _say(f"{len(missed)} figures missed in {what}; {took}")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
