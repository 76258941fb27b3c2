"""
How much of 10 requests a second gets through, and how much is refused.

Real sockets; the server's record decides.  Waves of cases run at the same time, each case with a
limiter of its own and, in front of it, a network that delays each request by a random time:

one process      ours before seven limiters (fixed window, sliding log, token bucket, no burst;
                 nginx with burst=9 nodelay and without, HAProxy's http_req_rate(1s)) and four
                 jitters, 28 cases in two waves of 130 s
others           what else one could use, before three limiters, 70 s
shared           2, 3 and 8 processes that share one budget in five ways; Redis that dies and
                 comes back; a process that is killed; clocks that are wrong: 130 s
overhead         what a slot costs where nobody has to wait

nginx, HAProxy and Redis are those of the distribution (apt installs them if they are missing),
run with private configurations on free ports.  The other limiters are installed beside this
project, into build/bench-packages.  What cannot be had is named and skipped.

Clients and servers watch how late they are.  A wave in which one of them is more than 5 ms late at
the 99th percentile says more about the machine than about the limiters: it is repeated, twice at
most, and marked if it stays so.  A refusal within a second of a moment in which a process of its
case, or its server, stood still for 8 ms is shown and not judged.  Where others keep the
processors busy, ask for a better place among them: ``chrt -r 5 python benchmarks/budget.py``, as
root.

    python benchmarks/budget.py            tables, in about eight minutes
    python benchmarks/budget.py --quick    fewer cases, in less than a minute
    python benchmarks/budget.py --json     one JSON object
    python benchmarks/budget.py --check    exit with 1, and name each figure that was missed
    python benchmarks/budget.py --docs     write the tables into docs/explanations/the-budget.md
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.rate import enforcers, overhead, report  # noqa: E402
from benchmarks.rate.limiters import PEERS  # noqa: E402
from benchmarks.rate.waves import LATE, Case, run_wave  # noqa: E402

PACKAGES = ROOT / "build" / "bench-packages"

LIMITERS = ["fixed", "sliding", "bucket", "strict", "nginx_burst", "nginx_strict", "haproxy"]
JITTERS = [0, 20, 50, 200]  # milliseconds, at most


def waves(*, quick: bool) -> list[tuple[str, float, list[Case]]]:
    """The waves: a name, seconds, and the cases."""
    alone = [
        Case(
            name=f"{limiter}-{jitter}",
            enforcer=limiter,
            jitter=jitter / 1000,
            kind="ours_local",
            own_processes=True,
        )
        for limiter in LIMITERS
        for jitter in (JITTERS[:2] if quick else JITTERS)
    ]
    peers = [
        Case(name=f"{kind}-{limiter}", enforcer=limiter, jitter=0.02, kind=kind)
        for kind in PEERS
        for limiter in ("sliding", "fixed", "nginx_burst")
    ]
    if quick:
        return [("alone", 14.0, alone), ("shared", 20.0, _sharing([3]))]
    return [
        ("alone 1", 130.0, alone[:14]),
        ("alone 2", 130.0, alone[14:]),
        ("others", 70.0, peers),
        ("shared", 130.0, _sharing([2, 3, 8])),
    ]


def _sharing(counts: Sequence[int]) -> list[Case]:
    kinds = ["ours_host", "ours_redis", "ours_uncoordinated", "ours_static", "throttled_redis"]
    cases = [
        Case(
            name=f"{kind}-{count}",
            enforcer="sliding",
            kind=kind,
            processes=count,
            # As in life: who shares a process with members of other cases stops with them.
            own_processes=kind in kinds[:2] and count < 8,
        )
        for kind in kinds
        for count in counts
    ]
    if 8 not in counts:
        cases += [
            Case(name=f"{kind}-8", enforcer="sliding", kind=kind, processes=8)
            for kind in kinds[:2]
        ]
    common: dict[str, Any] = {"enforcer": "sliding", "processes": 3}
    for kind in kinds[:2]:
        name = kind.removeprefix("ours_")
        common["kind"] = kind
        cases += [
            Case(name=f"killed-{name}", own_processes=True, accident="sigkill", **common),
            Case(name=f"skewed-{name}", own_processes=True, skews=(-0.3, 0.0, 0.3), **common),
        ]
    cases.append(Case(name="redis_away", accident="redis", requests=10, **common))
    return cases


async def run(
    chosen: list[tuple[str, float, list[Case]]],
    *,
    programs: dict[str, str],
    packages: list[str],
    repeats: int,
) -> dict[str, Any]:
    """Run the waves; repeat those in which the machine was late."""
    figures: dict[str, Any] = {}
    conditions: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="onehouse-tracker-budget-") as temporary:
        for name, seconds, cases in chosen:
            able = [case for case in cases if _can_run(case, programs, packages)]
            found: dict[str, Any] = {}
            for attempt in range(1 + repeats):
                directory = Path(temporary) / f"{name.replace(' ', '-')}-{attempt}"
                async with asyncio.timeout(seconds + 90):
                    found, late = await run_wave(
                        able, seconds, programs=programs, packages=packages, directory=directory
                    )
                worst = max(late.values())
                conditions[name] = {
                    "seconds": seconds,
                    "attempts": attempt + 1,
                    "late_p99_ms": round(1000 * worst, 2),
                    "valid": worst <= LATE,
                }
                if conditions[name]["valid"]:
                    break
                print(
                    f"wave {name!r}: {1000 * worst:.1f} ms late at p99, attempt {attempt + 1}",
                    file=sys.stderr,
                )
            figures |= found
            figures |= {case.name: None for case in cases if case not in able}
        cost = await overhead.measure(Path(temporary), programs)
    return {"cases": figures, "waves": conditions, "overhead_ms": cost}


def _can_run(case: Case, programs: dict[str, str], packages: list[str]) -> bool:
    needed = {"nginx_burst": "nginx", "nginx_strict": "nginx", "haproxy": "haproxy"}
    program = needed.get(case.enforcer)
    if program and program not in programs:
        return False
    if case.needs_redis and "redis-server" not in programs:
        return False
    foreign = case.kind in {"pyrate", "throttled", "throttled_redis"}
    return bool(packages) or not foreign


def install_peers() -> tuple[list[str], str]:
    """Install the other limiters; return where they are, and why that failed, if it did."""
    names = ["pyrate-limiter", "throttled-py", "redis"]
    if not (PACKAGES / "throttled").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        command = [*pip, "--target", str(PACKAGES), *names]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            return [], f"{', '.join(names)}: pip cannot install them, skipped"
    return [str(PACKAGES)], ""


def main() -> int:
    """Run the benchmark as the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer cases, at most a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with 1 if ours missed")
    parser.add_argument("--docs", action="store_true", help="write the tables into the docs")
    parser.add_argument("--repeats", type=int, default=2, help="of a wave that was late")
    parser.add_argument("--wave", action="append", help="only waves whose name begins so")
    arguments = parser.parse_args()

    programs, problems = enforcers.programs()
    packages, problem = install_peers()
    for text in [*problems, *([problem] if problem else [])]:
        print(text, file=sys.stderr)
    chosen = [
        wave
        for wave in waves(quick=arguments.quick)
        if not arguments.wave or wave[0].startswith(tuple(arguments.wave))
    ]
    result = asyncio.run(
        run(chosen, programs=programs, packages=packages, repeats=arguments.repeats)
    )
    result["quick"] = arguments.quick
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(report.tables(result))
    if arguments.docs:
        report.write_docs(ROOT / "docs" / "explanations" / "the-budget.md", result)
    failures = report.missed(result) if arguments.check else []
    for failure in failures:
        print(f"missed: {failure}", file=sys.stderr)

    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
