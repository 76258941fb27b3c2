"""
How long after a request has ended do we know: ours beside what people write today.

Every contestant follows the same requests of the same simulated project, which enforces a
sliding log of 10 requests a second, over the same round trips (median 80 ms).  Ours is the
product itself, tracker, engine, schedule and limiter, on a virtual clock, so hours take seconds
and the figures are the same on every machine.  `delay/workloads.py` says what is followed,
`delay/contestants.py` by whom.

    python benchmarks/detection_delay.py                     tables, in less than nine minutes
    python benchmarks/detection_delay.py --traces DIR        with real durations from CSV files
    python benchmarks/detection_delay.py --json              one JSON object
    python benchmarks/detection_delay.py --check             exit with 1, name each missed figure
    python benchmarks/detection_delay.py --full --out FILE   everything, five seeds; resumable
    python benchmarks/detection_delay.py --ideas             what was tried and rejected: 20 min
    python benchmarks/detection_delay.py --unseen            laws that nothing was tuned on
    python benchmarks/detection_delay.py --history           the same jobs night after night

By default fixed 1 s, ours with ``order="due"`` and ours run on all workloads, with five seeds at
50 requests, two at 500 and one at 5000; the others at 50 and 500 staggered, with one seed.

Delays are seconds.  `idle` is the share of the budget that was spent above what the gaps ask
for; `longest_wait` the longest time between two looks at one request; `makespan` the time from
the last end to the last detection.  Of several seeds, the mean is given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.delay import nights  # noqa: E402
from benchmarks.delay.contestants import (  # noqa: E402
    CONTESTANTS,
    LIMIT,
    Outcome,
    clairvoyant,
    follow,
)
from benchmarks.delay.ideas import IDEAS  # noqa: E402
from benchmarks.delay.workloads import (  # noqa: E402
    SYNTHETIC,
    UNSEEN,
    Arrivals,
    Trace,
    Workload,
    load_traces,
    synthetic,
)
from benchmarks.pages import tell, write_into  # noqa: E402
from onehouse_tracker import PollPolicy  # noqa: E402
from onehouse_tracker.testing import VirtualClockLoop  # noqa: E402

BASE, OURS = "fixed 1 s", "ours"
MAIN = (BASE, "ours, due", OURS)
BOUNDS = ("clairvoyant", "oracle")
SIZES: tuple[tuple[int, Arrivals], ...] = (
    (50, "staggered"),
    (500, "staggered"),
    (5000, "staggered"),
    (500, "batch"),
    (5000, "batch"),
)
SIZES_UNSEEN: tuple[tuple[int, Arrivals], ...] = (*SIZES, (50, "batch"))
SEEDS = {50: 5, 500: 2, 5000: 1}
SEEDS_OF_FULL = 5
SEEDS_OF_IDEAS = {50: 2, 500: 1}
ORACLE_UP_TO = 500
MOMENTS = 200  # at which the ordinary demand is computed

MUST: dict[tuple[int, Arrivals], tuple[float, float]] = {
    (50, "staggered"): (0.68, 0.90),
    (500, "staggered"): (0.68, 0.90),
    (5000, "staggered"): (0.53, 0.69),
    (500, "batch"): (0.82, 0.85),
    (5000, "batch"): (0.73, 0.84),
}
"""Mean and p99 of ours as shares of those of fixed 1 s, geometric means: what `--check` holds
us to."""

TOLERANCE = 1.10
IDLE_AT_MOST = 0.5
WORST_MEAN, WORST_P99 = 1.05, 1.30  # on any single workload, against fixed 1 s
WORST_LAST = 1.50  # the same for 50 at once, whose p99 is the one that was noticed last
SEEDS_THAT_JUDGE = 5
LONGEST_WAIT = 2.0  # times that of a contestant that asks in turn, where requests wait for slots


class Task(NamedTuple):
    """One run: a contestant, a workload, a seed."""

    size: int
    arrivals: Arrivals
    workload: str
    contestant: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one run showed; of several runs, the means.  Seconds where nothing else is said."""

    mean: float
    p50: float
    p99: float
    max: float
    makespan: float
    polls_per_id: float
    idle: float
    longest_wait: float
    refusals: float


# --- one run ---------------------------------------------------------------------------------

_traces: dict[str, Trace] = {}


def _load(folder: Path | None) -> None:
    """Read the traces, once per process."""
    if folder is not None:
        _traces.update((trace.name, trace) for trace in load_traces(folder))


def _workload(task: Task) -> Workload:
    if task.workload in {*SYNTHETIC, *UNSEEN}:
        return synthetic(task.workload, task.size, task.arrivals, task.seed)
    return _traces[task.workload].workload(task.size, task.arrivals, task.seed)


def run(task: Task) -> tuple[Task, Figures | None, float]:
    """
    Do one run; return its figures, and the seconds of CPU it took.

    There are none where the contestant cannot know what it would need to know.
    """
    started = time.process_time()
    figures = _run(task)
    return task, figures, time.process_time() - started


def _run(task: Task) -> Figures | None:
    workload = _workload(task)
    if task.contestant == "clairvoyant":
        outcome = clairvoyant(workload, task.seed)
    elif task.contestant == "oracle" and workload.law is None:
        return None
    else:
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            outcome = runner.run(follow(task.contestant, workload, task.seed))
    return _figures(workload, outcome)


def _figures(workload: Workload, outcome: Outcome) -> Figures:
    jobs = [(f"r{number}", job) for number, job in enumerate(workload.jobs)]
    assert len(outcome.detected) == len(jobs)
    delays = sorted(outcome.detected[name] - job.end for name, job in jobs)
    count = len(jobs)
    last = max(outcome.detected.values())
    lives = [(job.start, outcome.detected[name]) for name, job in jobs]
    ordinary = _ordinary(lives, last)
    return Figures(
        mean=statistics.fmean(delays),
        p50=delays[count // 2],
        p99=delays[min(count - 1, int(0.99 * count))],
        max=delays[-1],
        makespan=last - max(job.end for _, job in jobs),
        polls_per_id=outcome.polls / count,
        idle=max(0.0, (outcome.polls - ordinary) / (LIMIT * last)),
        longest_wait=outcome.longest_wait,
        refusals=outcome.refusals,
    )


def _ordinary(lives: Sequence[tuple[float, float]], last: float) -> float:
    """How many looks the gaps alone ask for, as far as the budget allows them."""
    gap = PollPolicy().gap
    step = last / MOMENTS
    looks = 0.0
    for moment in range(MOMENTS):
        now = (moment + 0.5) * step
        demand = sum(1.0 / gap(now - born) for born, known in lives if born <= now < known)
        looks += step * min(LIMIT, demand)
    return looks


# --- all runs --------------------------------------------------------------------------------


def tasks(workloads: Sequence[str], *, full: bool) -> Iterator[Task]:
    """Say what is to be run, the longest first."""
    for size, arrivals in sorted(SIZES, reverse=True):
        for contestant in (*CONTESTANTS, "clairvoyant"):
            everywhere = full or contestant in MAIN or contestant == "clairvoyant"
            if contestant == "oracle" and size > ORACLE_UP_TO:
                continue
            if not everywhere and (arrivals == "batch" or size > ORACLE_UP_TO):
                continue
            seeds = SEEDS_OF_FULL if full else SEEDS[size] if everywhere else 1
            for workload in workloads:
                for seed in range(1, seeds + 1):
                    yield Task(size, arrivals, workload, contestant, seed)


def idea_tasks(workloads: Sequence[str]) -> Iterator[Task]:
    """Say what is to be run to compare ours with what was rejected."""
    for size, arrivals in sorted(SIZES, reverse=True):
        if size not in SEEDS_OF_IDEAS:
            continue  # they would take hours
        for contestant in (OURS, *IDEAS):
            for workload in workloads:
                for seed in range(1, SEEDS_OF_IDEAS[size] + 1):
                    yield Task(size, arrivals, workload, contestant, seed)


def unseen_tasks() -> Iterator[Task]:
    """Say what is to be run to see whether what was tuned holds elsewhere."""
    for size, arrivals in sorted(SIZES_UNSEEN, reverse=True):
        for contestant in (BASE, "ours, due", OURS, "clairvoyant"):
            for workload in UNSEEN:
                for seed in range(1, SEEDS_OF_FULL + 1):
                    yield Task(size, arrivals, workload, contestant, seed)


Done = dict[Task, Figures | None]


def run_all(
    wanted: Sequence[Task], *, folder: Path | None, workers: int, out: Path | None
) -> tuple[Done, float]:
    """Run everything that *out* does not hold yet, and add it there; tell the CPU seconds."""
    done: Done = {}
    if out is not None and out.exists():
        for line in out.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            figures = record["figures"]
            done[Task(*record["task"])] = None if figures is None else Figures(**figures)
    missing = [task for task in wanted if task not in done]
    started, spent = time.monotonic(), 0.0
    with ProcessPoolExecutor(workers, initializer=_load, initargs=(folder,)) as pool:
        futures = [pool.submit(run, task) for task in missing]
        for number, future in enumerate(as_completed(futures), 1):
            task, figures, cpu = future.result()
            done[task] = figures
            spent += cpu
            if out is not None:
                with out.open("a", encoding="utf-8") as file:
                    record = {"task": task, "figures": figures and asdict(figures)}
                    file.write(json.dumps(record) + "\n")
            if sys.stderr.isatty():
                print(
                    f"\r{number}/{len(missing)} runs, {time.monotonic() - started:.0f} s",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
    return {task: done[task] for task in wanted}, spent


# --- what they show --------------------------------------------------------------------------

Cell = tuple[int, Arrivals, str, str]  # size, arrivals, contestant, workload


def cells_of(done: Done) -> dict[Cell, tuple[int, Figures]]:
    """Join the seeds of each cell: how many there were, and their means."""
    grouped: dict[Cell, list[Figures]] = defaultdict(list)
    for task, figures in done.items():
        if figures is not None:
            grouped[task.size, task.arrivals, task.contestant, task.workload].append(figures)
    return {
        cell: (
            len(runs),
            Figures(
                **{name: statistics.fmean(getattr(run, name) for run in runs) for name in _NAMES}
            ),
        )
        for cell, runs in grouped.items()
    }


_NAMES = tuple(Figures.__dataclass_fields__)


def report(done: Done, *, unseen: bool = False) -> dict[str, Any]:
    """Everything as one JSON object; the limits for geometric means are those of the others."""
    cells = cells_of(done)
    rows = [
        {
            "n": size, "arrivals": arrivals, "workload": workload, "contestant": contestant,
            "seeds": seeds, **{name: _short(value) for name, value in asdict(figures).items()},
            **_ratios(cells, (size, arrivals, contestant, workload)),
        }
        for (size, arrivals, contestant, workload), (seeds, figures) in sorted(cells.items())
    ]  # fmt: skip
    return {
        "cells": rows,
        "geomean": _geomeans(cells),
        "missed": missed(cells, {} if unseen else MUST),
    }


def _ratios(cells: dict[Cell, tuple[int, Figures]], cell: Cell) -> dict[str, float]:
    size, arrivals, _, workload = cell
    base = cells.get((size, arrivals, BASE, workload))
    if base is None:
        return {}
    _, figures = cells[cell]
    return {
        "mean_to_fixed": _short(figures.mean / base[1].mean),
        "p99_to_fixed": _short(figures.p99 / base[1].p99),
    }


def _geomeans(cells: dict[Cell, tuple[int, Figures]]) -> dict[str, dict[str, dict[str, float]]]:
    result: dict[str, dict[str, dict[str, float]]] = {}
    for size, arrivals in SIZES_UNSEEN:
        of_pattern: dict[str, dict[str, float]] = {}
        for contestant in (*CONTESTANTS, "clairvoyant"):
            mine = {w: f for (s, a, c, w), (_, f) in cells.items()
                    if (s, a, c) == (size, arrivals, contestant)}  # fmt: skip
            if not mine:
                continue
            base = [cells[size, arrivals, BASE, workload][1] for workload in mine]
            means = {
                name: _geomean(getattr(figures, name) for figures in mine.values())
                for name in ("mean", "p50", "p99", "max", "makespan", "polls_per_id")
            }
            means["idle"] = max(figures.idle for figures in mine.values())
            means["refusals"] = sum(figures.refusals for figures in mine.values())
            means["mean_to_fixed"] = means["mean"] / _geomean(other.mean for other in base)
            means["p99_to_fixed"] = means["p99"] / _geomean(other.p99 for other in base)
            means["workloads"] = len(mine)
            of_pattern[contestant] = {name: _short(value) for name, value in means.items()}
        if of_pattern:
            result[f"{size} {arrivals}"] = of_pattern
    return result


def _geomean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(math.log(max(value, 1e-3)) for value in values))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def missed(
    cells: dict[Cell, tuple[int, Figures]], must: dict[tuple[int, Arrivals], tuple[float, float]]
) -> list[str]:
    """Name every figure of ours that is not good enough."""
    found = []
    geomeans = _geomeans(cells)
    for (size, arrivals), limits in must.items():
        ours = geomeans.get(f"{size} {arrivals}", {}).get(OURS, {})
        for name, limit in zip(("mean", "p99"), limits, strict=True):
            ratio = ours.get(f"{name}_to_fixed", math.inf)
            if ratio > limit * TOLERANCE:
                found.append(
                    f"{size} {arrivals}: {name} is {ratio:.2f} of fixed 1 s, not {limit:.2f}"
                )
    for (size, arrivals, contestant, workload), (seeds, figures) in cells.items():
        if contestant != OURS:
            continue
        where = f"{size} {arrivals}, {workload}"
        if size == min(SEEDS) and figures.idle > IDLE_AT_MOST:
            found.append(f"{where}: {figures.idle:.2f} of the budget went into idle looks")
        base = cells[size, arrivals, BASE, workload][1]
        # Where requests wait for slots, fixed 1 s asks in turn, as a round robin does; below
        # the longest gap nobody waits for slots.
        turn = base.longest_wait
        if turn > PollPolicy().gap_max and figures.longest_wait > LONGEST_WAIT * turn:
            found.append(
                f"{where}: one request waited {figures.longest_wait:.0f} s, {turn:.0f} s in turn"
            )
        if seeds < SEEDS_THAT_JUDGE:
            continue
        oracle = cells.get((size, arrivals, "oracle", workload))
        worst_p99 = WORST_LAST if (size, arrivals) == (50, "batch") else WORST_P99
        for name, worst in (("mean", WORST_MEAN), ("p99", worst_p99)):
            ratio = getattr(figures, name) / getattr(base, name)
            excused = oracle and getattr(oracle[1], name) > worst * getattr(base, name)
            if ratio > worst and not excused:
                found.append(f"{where}: {name} is {ratio:.2f} of fixed 1 s, not {worst:.2f}")
    return found


# --- for people ------------------------------------------------------------------------------


def table(summary: dict[str, Any]) -> str:
    """Write the geometric means, and ours by workload, as Markdown."""
    lines = []
    patterns = list(summary["geomean"])
    lines += [
        "| mean / p99 delay, s | " + " | ".join(patterns) + " |",
        "|---" * (len(patterns) + 1) + "|",
    ]
    for contestant in (*CONTESTANTS, "clairvoyant"):
        texts = []
        for pattern in patterns:
            row = summary["geomean"][pattern].get(contestant)
            texts.append(f"{row['mean']:.3g} / {row['p99']:.3g}" if row else "")
        if any(texts):
            lines.append(f"| {contestant} | " + " | ".join(texts) + " |")
    texts = [
        f"{row['mean_to_fixed']:.2f} / {row['p99_to_fixed']:.2f}" if (row := of.get(OURS)) else ""
        for of in summary["geomean"].values()
    ]
    lines += ["| **ours, share of fixed 1 s** | " + " | ".join(texts) + " |", ""]
    cells = {(f"{row['n']} {row['arrivals']}", row["contestant"], row["workload"]): row
             for row in summary["cells"]}  # fmt: skip
    lines += [
        "| ours (fixed 1 s), mean / p99 | " + " | ".join(patterns) + " |",
        "|---" * (len(patterns) + 1) + "|",
    ]
    for workload in dict.fromkeys(row["workload"] for row in summary["cells"]):
        texts = []
        for pattern in patterns:
            ours, base = cells.get((pattern, OURS, workload)), cells.get((pattern, BASE, workload))
            texts.append(
                f"{ours['mean']:.3g} / {ours['p99']:.3g} ({base['mean']:.3g} / {base['p99']:.3g})"
                if ours and base
                else ""
            )
        lines.append(f"| {workload} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def ideas_report(done: Done) -> dict[str, Any]:
    """Tell what each rejected idea is worth, as shares of ours in the same runs."""
    cells = cells_of(done)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for size, arrivals in SIZES:
        patterns = {
            (w, c): f for (s, a, c, w), (_, f) in cells.items() if (s, a) == (size, arrivals)
        }
        names = [workload for workload, contestant in patterns if contestant == OURS]
        for idea in IDEAS if names else ():
            shares = {
                name: [
                    getattr(patterns[w, idea], name) / getattr(patterns[w, OURS], name)
                    for w in names
                ]
                for name in ("mean", "p99", "longest_wait")
            }
            result.setdefault(idea, {})[f"{size} {arrivals}"] = {
                "mean": _short(_geomean(shares["mean"])),
                "p99": _short(_geomean(shares["p99"])),
                "worst_p99": _short(max(shares["p99"])),
                "worst_wait": _short(max(shares["longest_wait"])),
            }
    return {"ideas": result}


def ideas_table(summary: dict[str, Any]) -> str:
    """Write the rejected ideas as Markdown."""
    ideas: dict[str, dict[str, dict[str, float]]] = summary["ideas"]
    patterns = list(next(iter(ideas.values())))
    head = ["idea", *patterns, "worst p99", "longest wait", "against it"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for idea, rows in ideas.items():
        texts = [
            f"{rows[pattern]['mean']:.2f} / {rows[pattern]['p99']:.2f}" for pattern in patterns
        ]
        worst = [max(row[name] for row in rows.values()) for name in ("worst_p99", "worst_wait")]
        texts += [f"{value:.2f}" for value in worst]
        lines.append(f"| {idea} | " + " | ".join(texts) + f" | {IDEAS[idea].against} |")
    return "\n".join(lines) + "\n"


def plot(summary: dict[str, Any], path: Path) -> None:
    """Draw the geometric means of all contestants as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - needed for nothing else

    patterns = list(summary["geomean"])
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    names = [name for name in CONTESTANTS if any(name in summary["geomean"][p] for p in patterns)]
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        heights = [summary["geomean"][p].get(name, {}).get("mean", 0.0) for p in patterns]
        left = [column + (place - len(names) / 2) * width for column in range(len(patterns))]
        axes.bar(left, heights, width, align="edge", label=name)
    axes.set_yscale("log")
    axes.set_ylabel("mean detection delay, s (geometric mean over the workloads)")
    axes.set_xticks(range(len(patterns)), [f"N = {pattern}" for pattern in patterns])
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path, dpi=110)


def _nights(options: argparse.Namespace) -> int:
    """Run what `delay/nights.py` describes."""
    started = time.monotonic()
    wanted = nights.tasks(nights.WORLDS[: options.worlds], options.only)
    with ProcessPoolExecutor(options.workers) as pool:
        done = dict(pool.map(nights.run, wanted))
    summary = nights.report(done) | {"took_s": round(time.monotonic() - started, 1)}
    return tell(summary, nights.table(summary), "detection_delay.py --history", options)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--traces", type=Path, metavar="DIR", help="CSV files of real durations")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    what = parser.add_mutually_exclusive_group()
    for name, explanation in {
        "full": "everything, five seeds: hours",
        "ideas": "ours beside what was rejected",
        "unseen": "laws that nothing was tuned on",
        "history": "the same jobs night after night, see `delay/nights.py`",
    }.items():
        what.add_argument(
            f"--{name}", action="store_const", dest="what", const=name, help=explanation
        )
    parser.add_argument("--out", type=Path, help="one line per finished run; resumes from it")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--worlds", type=int, default=4, help="of --history (default: 4)")
    parser.add_argument("--page", type=Path, help="a page to write the tables into")
    parser.add_argument("--plot", type=Path, help="a PNG to draw")
    parser.add_argument("--only", action="append", default=[], help="only these workloads")
    options = parser.parse_args()
    if options.what == "history":
        return _nights(options)
    has_own_table = options.what in {"ideas", "unseen"}
    _load(options.traces)
    names = [name for name in (*SYNTHETIC, *_traces) if not options.only or name in options.only]
    started = time.monotonic()
    if options.what == "ideas":
        wanted = idea_tasks(names)
    elif options.what == "unseen":
        wanted = unseen_tasks()
    else:
        wanted = tasks(names, full=options.what == "full")
    done, cpu = run_all(
        list(wanted),
        folder=options.traces,
        workers=options.workers,
        out=options.out,
    )
    took = {"took_s": round(time.monotonic() - started, 1), "cpu_s": round(cpu, 1)}
    if options.what == "ideas":
        summary = ideas_report(done) | took
        text = ideas_table(summary)
    else:
        summary = report(done, unseen=options.what == "unseen") | took
        text = table(summary)
    if options.page:
        # The table of all is that of the default run, with more seeds.
        option = f" --{options.what}" if has_own_table else ""
        write_into(options.page, f"detection_delay.py{option}", text)
    if options.plot and not has_own_table:
        plot(summary, options.plot)
    if options.json:
        print(json.dumps(summary))
    else:
        print(text)
        print(f"{len(done)} runs in {took['took_s']:.0f} s, {took['cpu_s']:.0f} s of CPU")
    for line in summary.get("missed", ()):
        print(f"missed: {line}", file=sys.stderr)
    return 1 if options.check and summary.get("missed") else 0


if __name__ == "__main__":
    sys.exit(main())
