"""
Whether requests that are sick harm the healthy ones of their project.

The product itself, tracker, engine, schedule and pace, follows simulated requests on a virtual
clock.  Some of them are sick: the server never answers about them as it should, in one of the
ways of `sick/ways.py`, from the start or after the first or third proper reply.  Each run is
paired with a reference: the same requests, places, durations and round trips, but the sick ones
are simply pending for ever.  What counts is how late the healthy ones are known, over all seeds of
a cell together, as a share of the reference; `sick/judge.py` holds the limits.

    python benchmarks/isolation.py                  one line per cell, and the table
    python benchmarks/isolation.py --check          exit with 1, name each missed figure
    python benchmarks/isolation.py --quick          a tenth of it, in less than a minute
    python benchmarks/isolation.py --only 5xx       only this way; may be given several times
    python benchmarks/isolation.py -j 2             so many processes
    python benchmarks/isolation.py --json           one JSON object

All ways, shares and arrival patterns are combined, with ten seeds at 50 requests and three at
500.  Where the sick ones stand in the list (anywhere, first, last) and when they fall sick turn
with the seeds, so that each cell has each of both, and the cells of a way all nine pairs.
Requests take 120 s in the mean, exponential, 300 s at most; a run ends with its last healthy
request, 300 s after its end at the latest: who was not seen by then counts as seen at that
moment, and is named.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.sick.judge import Verdict, judge, limits_of  # noqa: E402
from benchmarks.sick.runs import Arrivals, Cell, Seen, Where, run_cell  # noqa: E402
from benchmarks.sick.ways import WAYS  # noqa: E402

SHARES = {50: (2, 10, 20, 50), 500: (1, 5, 10, 20, 50)}  # per cent
SEEDS = {50: 10, 500: 3}
ARRIVALS: tuple[Arrivals, ...] = ("staggered", "batch")
WHERE: tuple[Where, ...] = ("random", "first", "last")
AFTER = (0, 1, 3)


class Group(NamedTuple):
    """The runs that are judged together."""

    way: str
    size: int
    percent: int
    arrivals: Arrivals


def groups(ways: Sequence[str]) -> list[Group]:
    """Name all cells of the grid, way by way."""
    return [
        Group(way, size, percent, arrivals)
        for way in ways
        for size, shares in SHARES.items()
        for percent in shares
        for arrivals in ARRIVALS
    ]


def cells_of(group: Group) -> Iterator[Cell]:
    """Say which runs belong together."""
    shift = WAYS.index(group.way) + SHARES[group.size].index(group.percent)
    shift += ARRIVALS.index(group.arrivals)
    for seed in range(SEEDS[group.size]):
        # Three seeds in a row have three places and three moments; nine have all pairs.
        when = AFTER[(seed + seed // 3 + shift) % 3]
        yield Cell(*group, seed, WHERE[seed % 3], when)


def run(cell: Cell) -> tuple[Cell, Seen, float]:
    """Do one run; tell the seconds of CPU it took."""
    started = time.process_time()
    seen = run_cell(cell)
    return cell, seen, time.process_time() - started


def run_grid(wanted: Sequence[Group], processes: int) -> tuple[dict[Group, Verdict], float]:
    """Run and judge the groups, and print each as soon as it is whole; tell the CPU seconds."""
    members = {group: list(cells_of(group)) for group in wanted}
    cells = dict.fromkeys(
        each for runs in members.values() for cell in runs for each in (cell.reference, cell)
    )
    done: dict[Cell, Seen] = {}
    verdicts: dict[Group, Verdict] = {}
    spent = 0.0
    with ProcessPoolExecutor(processes) as pool:
        for future in as_completed([pool.submit(run, cell) for cell in cells]):
            cell, seen, cpu = future.result()
            done[cell] = seen
            spent += cpu
            for group in [*members]:
                runs = members[group]
                if not all(cell in done and cell.reference in done for cell in runs):
                    continue
                del members[group]
                verdict = verdicts[group] = judge(
                    [done[cell] for cell in runs],
                    [done[cell.reference] for cell in runs],
                    limits_of(group.way, group.size, group.percent),
                )
                print(line(group, verdict), file=sys.stderr, flush=True)
    return {group: verdicts[group] for group in wanted}, spent


def line(group: Group, verdict: Verdict) -> str:
    """Say on one line what a group showed."""
    way, size, percent, arrivals = group
    limits = verdict.limits
    parts = [
        f"{way:17} {size:3} {percent:2} % {arrivals:9}",
        f"mean {verdict.mean:6.2f} x{verdict.mean_ratio:5.2f}",
        f"p99 {verdict.p99:6.2f} x{verdict.p99_ratio:5.2f}",
        f"of {limits.mean:.2f}, {limits.p99:.2f}" if limits else "(shown)   ",
        f"{verdict.outages:2} outages",
        "NOT: " + "; ".join(missed) if (missed := verdict.missed()) else "ok",
    ]
    return "  ".join(parts)


def report(verdicts: dict[Group, Verdict]) -> dict[str, Any]:
    """Everything as one JSON object."""
    return {
        "cells": [
            {
                **group._asdict(), **asdict(verdict), "mean_ratio": verdict.mean_ratio,
                "p99_ratio": verdict.p99_ratio, "missed": verdict.missed(),
            }
            for group, verdict in verdicts.items()
        ],
    }  # fmt: skip


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", action="append", choices=WAYS, help="only this way")
    parser.add_argument("-j", type=int, default=1, metavar="N", help="processes (default: 1)")
    options = parser.parse_args()
    started = time.monotonic()
    verdicts, cpu = run_grid(groups(options.only or WAYS), options.j)
    took = f"{time.monotonic() - started:.0f} s, {cpu:.0f} s of CPU"
    if options.json:
        print(json.dumps(report(verdicts)))
    missed = sum(bool(verdict.missed()) for verdict in verdicts.values())
    print(f"{missed} of {len(verdicts)} cells missed; {took}", file=sys.stderr)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
