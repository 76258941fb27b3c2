"""
What a history costs: processor time for each poll, and memory.

    python benchmarks/history_cost.py             a table, in a minute or two of one core
    python benchmarks/history_cost.py --check     exit with 1, name each bound that is missed
    python benchmarks/history_cost.py --json      one JSON object

forecast_us     microseconds of CPU for a poll that the schedule takes longer with a history than
                without: to choose a request, and to learn from the reply.  500 named jobs of one
                night (`delay/nights.py`) go through the schedule alone, 10 polls a second on a
                clock of their own.  Both take turns some times, and of each few polls the best
                time counts, because what else runs on the machine only ever makes them slower
without_us      what choosing and learning takes without a history
memory_mb       by how many megabytes the resident memory of a process of its own grows when it
                reads 100,000 fingerprints of statements from a file, and opens a tracker's
                forecasts on them
all_used_mb     the same when each of the 100,000 has been forecast once
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import heapq
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.delay import nights  # noqa: E402
from onehouse_tracker import PollPolicy  # noqa: E402
from onehouse_tracker._engine.learning import Learning  # noqa: E402
from onehouse_tracker._engine.schedule.laws import Laws  # noqa: E402
from onehouse_tracker._engine.schedule.schedule import Schedule  # noqa: E402
from onehouse_tracker._engine.tracked import Tracked  # noqa: E402
from onehouse_tracker._engine.waits import Wait  # noqa: E402
from onehouse_tracker.history import History  # noqa: E402
from onehouse_tracker.history._file import HistoryFile, statement_name  # noqa: E402
from onehouse_tracker.history._records import Lesson, Record, common_variance, taught  # noqa: E402
from onehouse_tracker.testing.virtual_clock import InlineExecutor  # noqa: E402

NAMES = 100_000
CASES = ("sigma 0.1, batch", "sigma 0.3, batch", "sigma 0.3, staggered", "30 % new names")
WORLD = 1
ROUNDS = 10
TOGETHER = 200
LIMIT = 10.0

MOST = {"forecast_us": 40.0, "memory_mb": 50.0, "all_used_mb": 50.0}
"""What `--check` holds the figures to."""


# --- Processor time --------------------------------------------------------------------------


def learned(case: nights.Case) -> dict[str, Record]:
    """What five nights teach, as a tracker would have seen them."""
    records: dict[str, Record] = {}
    for number in range(1, nights.LEARNED + 1):
        common = common_variance(records.values())
        for job in nights.night(case, WORLD, number):
            if job.ok:
                name = f"l:{job.name}"
                records[name] = taught(records.get(name), job.duration, common)
    return records


def go_through(jobs: list[nights.Job], laws: Laws | None) -> tuple[list[float], int]:
    """
    Poll the jobs of one night until all have ended: the same polls each time.

    Returns:
        Seconds of CPU, for each `TOGETHER` polls, and the number of polls.
    """
    schedule, wait = Schedule(PollPolicy(), LIMIT, laws=laws), Wait()
    ends = {f"r{number}": job.start + job.duration for number, job in enumerate(jobs)}
    coming = [(job.start, f"r{number}", job.name) for number, job in enumerate(jobs)]
    heapq.heapify(coming)
    now, left, polls = 0.0, len(jobs), 0
    gc.collect()
    marks = [time.process_time()]
    while left:
        while coming and coming[0][0] <= now:
            start, request_id, name = heapq.heappop(coming)
            tracked = Tracked(request_id, label=name, born=start, now=now, wait=wait)
            tracked.names, tracked.start_known = (f"l:{name}",), True
            schedule.add(tracked, now)
        now += 1.0 / LIMIT
        chosen = schedule.pop(now)
        if chosen is None:
            continue
        polls += 1
        if polls % TOGETHER == 0:
            marks.append(time.process_time())
        if now >= ends[chosen.request_id]:
            schedule.finished(chosen, now, teaches=True)
            left -= 1
        else:
            schedule.pending(chosen, now, now)
            chosen.pending_sent_at = now
    marks.append(time.process_time())
    return [after - before for before, after in itertools.pairwise(marks)], polls


def forecast(name: str, rounds: int = ROUNDS) -> dict[str, float]:
    """Measure one case, with a history and without."""
    case = nights.CASES[name]
    jobs, records = nights.night(case, WORLD, nights.LEARNED + 1), learned(case)
    done = [(go_through(jobs, Laws(records)), go_through(jobs, None)) for _ in range(rounds)]
    with_history, without = (_best(found) for found in zip(*done, strict=True))
    return {"forecast_us": round(with_history - without, 1), "without_us": round(without, 1)}


def _best(found: Sequence[tuple[list[float], int]]) -> float:
    """Microseconds for each poll, of some rounds that did the same."""
    rounds = [seconds for seconds, _ in found]
    best: list[float] = [min(same) for same in zip(*rounds, strict=True)]
    return 1e6 * sum(best) / found[0][1]


# --- Memory ----------------------------------------------------------------------------------


def fill(path: Path, names: int) -> None:
    """Write a file that knows so many statements."""
    file, random = HistoryFile(path), Random(1)
    key = file.read("").key
    lessons = [
        Lesson((statement_name(key, f"INSERT INTO t{number} SELECT ?"),), duration, duration)
        for number, duration in enumerate(random.uniform(1, 1000) for _ in range(names))
    ]
    file.add("", lessons, 0.1)


async def grown(path: Path) -> dict[str, float]:
    """Read that file, as a tracker does; by how many megabytes this process grew."""
    learning = Learning(History(path, executor=InlineExecutor()), "")
    HistoryFile(path.with_name("empty.db")).read("")  # what is loaded for any file
    gc.collect()
    before = _resident()
    await learning.open()
    gc.collect()
    memory = _resident() - before
    laws = learning.laws
    for name in list(laws._records):  # noqa: SLF001 - all that were read
        laws.law(name)
    gc.collect()
    return {
        "memory_mb": round(memory / 1e6, 1),
        "all_used_mb": round((_resident() - before) / 1e6, 1),
    }


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory(names: int = NAMES) -> dict[str, float]:
    """Measure it in a process that did nothing else."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "history.db"
        fill(path, names)
        done = subprocess.run(
            [sys.executable, __file__, "--grown", str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


# --- The whole -------------------------------------------------------------------------------


def missed(cases: Mapping[str, Mapping[str, float]], grew: Mapping[str, float]) -> list[str]:
    """Name every figure that is not good enough."""
    found = [
        f"{name}: forecast_us is {figures['forecast_us']:g}, not {MOST['forecast_us']:g} at most"
        for name, figures in cases.items()
        if figures["forecast_us"] > MOST["forecast_us"]
    ]
    found += [
        f"{name} is {value:g}, not {MOST[name]:g} at most"
        for name, value in grew.items()
        if value > MOST[name]
    ]
    return found


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--grown", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grown:
        print(json.dumps(asyncio.run(grown(options.grown))))
        return 0
    cases: dict[str, dict[str, float]] = {name: forecast(name) for name in CASES}
    grew = memory()
    found = missed(cases, grew)
    if options.json:
        report: dict[str, Any] = {"cases": cases, "memory": grew, "missed": found}
        print(json.dumps(report | {"python": sys.version.split()[0]}))
    else:
        for name, figures in (*cases.items(), (f"{NAMES:,} fingerprints", grew)):
            print(f"{name:22}" + "  ".join(f"{key} {value:g}" for key, value in figures.items()))
    for line in found:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
