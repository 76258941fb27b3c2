"""
Do the ranges hold in which requests are said to end?

500 named jobs on some nights after five that the history knows, as `delay/nights.py` describes
them.  Once a minute the tracker is asked of each request that is pending, and of all together, how
long it will still take; of the ranges, eight in ten should hold.

    python benchmarks/time_left.py             the table, in a minute of one core
    python benchmarks/time_left.py --check     exit with 1, name each share out of bounds
    python benchmarks/time_left.py --json      one JSON object
    python benchmarks/time_left.py --page P    the table into this page
    python benchmarks/time_left.py -j 2        so many processes

Everything is on a virtual clock: the figures are the same on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.delay import nights  # noqa: E402
from benchmarks.pages import tell  # noqa: E402
from onehouse_tracker import TimeLeft, Tracker  # noqa: E402
from onehouse_tracker.history import History  # noqa: E402
from onehouse_tracker.history._records import Lesson, common_variance  # noqa: E402
from onehouse_tracker.testing import VirtualClockLoop  # noqa: E402
from onehouse_tracker.testing.virtual_clock import InlineExecutor  # noqa: E402

WORLDS = (1, 2)
MEASURED = 1
EVERY = 60.0
LEAST, MOST = 0.70, 0.90
"""Of the ranges of requests, so many hold."""
BATCH_LEAST = 0.60
"""Of those of all together at least so many: each night gives a few that resemble each other."""
RARELY = 0.25
"""Where earlier nights are wrong, something is said of so few requests at most."""
WRONG = ("names exchanged",)
CASES = tuple(name for name in nights.CASES if name not in {*WRONG, "cold start"})


class Task(NamedTuple):
    """One case in one world."""

    case: str
    world: int


def _teach(path: Path, task: Task) -> None:
    """Five nights, as a tracker would have seen them."""
    history = History(path)
    for number in range(1, nights.LEARNED + 1):
        contents = history.read("")
        lessons = [
            Lesson(history.names(contents, None, job.name), job.duration, job.duration)
            for job in nights.night(nights.CASES[task.case], task.world, number)
            if job.ok
        ]
        history.add("", lessons, common_variance(contents.records.values()))


def run(task: Task) -> Counter[str]:
    """Count what was said of requests and of all together, and what of it came true."""
    found: Counter[str] = Counter()
    with TemporaryDirectory() as directory:
        for number in range(nights.LEARNED + 1, nights.LEARNED + MEASURED + 1):
            path = Path(directory) / f"{number}.db"
            _teach(path, task)
            jobs = nights.night(nights.CASES[task.case], task.world, number)
            history = History(path, executor=InlineExecutor())
            with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
                runner.run(nights.follow(jobs, history, number, _asking(jobs, found)))
    return found


def _asking(jobs: list[nights.Job], found: Counter[str]) -> nights.Watch:
    ends = {f"r{number}": job.start + job.duration for number, job in enumerate(jobs)}
    last_start, last_end = max(job.start for job in jobs), max(ends.values())

    async def ask(tracker: Tracker, pending: Mapping[str, object]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(EVERY)
            now = loop.time()
            for request_id in pending:
                _count(found, "request", tracker.time_left(request_id), ends[request_id] - now)
            if pending and now > last_start:
                _count(found, "batch", tracker.stats().left, last_end - now)

    return ask


def _count(found: Counter[str], what: str, left: TimeLeft | None, truly: float) -> None:
    found[f"{what} asked"] += 1
    if left is not None:
        found[f"{what} said"] += 1
        found[f"{what} sooner"] += max(0.0, truly) < left.low
        found[f"{what} later"] += truly > left.high


def report(done: Iterable[tuple[Task, Counter[str]]]) -> dict[str, Any]:
    """Everything as one JSON object."""
    of_case: dict[str, Counter[str]] = {name: Counter() for name in (*CASES, *WRONG)}
    for task, found in done:
        of_case[task.case] += found
    rows: dict[str, Any] = {}
    missed: list[str] = []
    together = Counter[str]()
    for name, found in of_case.items():
        said = found["request said"]
        rows[name] = {
            "said": round(said / max(found["request asked"], 1), 3),
            **{what: round(found[f"request {what}"] / max(said, 1), 3) for what in _OFF},
            "held": round(_held(found, "request"), 3),
        }
        if name in WRONG:
            if rows[name]["said"] > RARELY:
                missed.append(f"{name}: something was said of {rows[name]['said']:.2f}")
        else:
            together += found
            if not LEAST <= _held(found, "request") <= MOST:
                missed.append(f"{name}: {_held(found, 'request'):.3f} of the ranges held")
    batch = _held(together, "batch")
    if batch < BATCH_LEAST:
        missed.append(f"all together: {batch:.3f} of the ranges held, not {BATCH_LEAST:.2f}")
    return {
        "requests": rows,
        "batch": {
            "said": round(together["batch said"] / max(together["batch asked"], 1), 3),
            **{w: round(together[f"batch {w}"] / max(together["batch said"], 1), 3) for w in _OFF},
            "held": round(batch, 3),
        },
        "missed": missed,
    }


_OFF = ("sooner", "later")


def _held(found: Counter[str], what: str) -> float:
    off = sum(found[f"{what} {way}"] for way in _OFF)
    return 1.0 - off / max(found[f"{what} said"], 1)


def table(summary: Mapping[str, Any]) -> str:
    """Write it as Markdown."""
    lines = [
        "| asked once a minute of each | answered | the range holds | it ends sooner | later |",
        "|---|---|---|---|---|",
    ]
    rows = {**summary["requests"], "the last of all, in all but this one": summary["batch"]}
    for name, row in rows.items():
        # Of a range that nobody gives, nothing holds.
        shares = (f"{row[what]:.2f}" for what in ("held", *_OFF))
        texts = ("", "", "") if name in WRONG else shares
        lines.append(f"| {name} | {row['said']:.2f} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a share is off")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--page", type=Path, help="a page to write the table into")
    parser.add_argument("-j", "--workers", type=int, default=1, help="processes (default: 1)")
    options = parser.parse_args()
    started = time.monotonic()
    wanted = [Task(name, world) for name in (*CASES, *WRONG) for world in WORLDS]
    with ProcessPoolExecutor(options.workers) as pool:
        done = list(zip(wanted, pool.map(run, wanted), strict=True))
    summary = report(done) | {"took_s": round(time.monotonic() - started, 1)}
    return tell(summary, table(summary), "time_left.py", options)


if __name__ == "__main__":
    sys.exit(main())
