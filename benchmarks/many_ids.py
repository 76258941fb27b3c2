"""
How soon the command asks about the first of very many requests, what they take in memory, and
how soon it obeys.

The real command reads a file of request IDs and polls a simulator in this process.  It is
stopped twice: while the requests still join, and when all have joined.

    python benchmarks/many_ids.py             a table for 100 k and 1 M requests
    python benchmarks/many_ids.py --json      one JSON object
    python benchmarks/many_ids.py --check     exit with 1, and say why, if it is not good enough

first_poll_s    seconds from the start of the process to the first poll at the server
peak_mb         its resident memory at most, until it was stopped and all through its end
early_stop_s    seconds from SIGTERM, a second after the first poll, to the end of the process
late_stop_s     the same when all requests have joined
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import uuid
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from onehouse_tracker.testing.records import Answer

SIZES = (100_000, 1_000_000)
FIRST_POLL_AT_MOST = 2.0  # seconds
STOPPED_WITHIN = 1.0
MEGABYTES_AT_MOST = {100_000: 150.0, 1_000_000: 1100.0}
INTERRUPTED = 130

_FOREVER = 1e9


class Busy(SimulatedProject):
    """Knows each request as soon as somebody asks about it, and ends none."""

    def poll(self, request_id: str, now: float) -> Answer:
        """Answer a poll that arrives at *now*."""
        if request_id not in self.requests:
            self.add(request_id, _FOREVER)
        return super().poll(request_id, now)


def write_ids(path: Path, size: int) -> None:
    """Write *size* request IDs, as the service makes them."""
    random = Random(size)
    with path.open("w", encoding="ascii") as file:
        for _ in range(size):
            file.write(f"{uuid.UUID(int=random.getrandbits(128), version=4)}\n")


@asynccontextmanager
async def started(ids: Path, server: SimulatorServer) -> AsyncIterator[Process]:
    """The command, waiting for *ids*."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "onehouse_tracker", "wait", "--from", str(ids)),
        env={**os.environ, **server.environment()},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure(ids: Path, *, early: bool) -> dict[str, float]:
    """Run the command once, and stop it."""
    loop = asyncio.get_running_loop()
    async with SimulatorServer(Busy()) as server:
        began = loop.time()
        async with started(ids, server) as process:
            while not server.seen:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.005)
            first = loop.time() - began
            await (asyncio.sleep(1.0) if early else until_idle(process.pid))
            peak = peak_of(process.pid)
            asked = loop.time()
            process.send_signal(signal.SIGTERM)
            stopping = asyncio.create_task(process.wait())
            while not stopping.done():
                peak = max(peak, peak_of(process.pid))
                await asyncio.wait([stopping], timeout=0.02)
            stopped = loop.time() - asked
            if stopping.result() != INTERRUPTED:
                raise RuntimeError(f"exit code {stopping.result()}, not {INTERRUPTED}")
    which = "early" if early else "late"
    return {"first_poll_s": first, f"{which}_stop_s": stopped, "peak_mb": peak}


async def until_idle(pid: int) -> None:
    """Wait until *pid* takes little of a processor: then all requests have joined."""
    used = cpu_of(pid)
    while True:
        await asyncio.sleep(1.0)
        before, used = used, cpu_of(pid)
        if used - before < 0.3:
            return


def cpu_of(pid: int) -> float:
    """Seconds of a processor that *pid* took so far."""
    values = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(pid: int) -> float:
    """Megabytes of memory that *pid* had resident at most; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)


def missed(size: int, figures: dict[str, float]) -> list[str]:
    """Name every figure that is not good enough."""
    bounds = {
        "first_poll_s": FIRST_POLL_AT_MOST,
        "early_stop_s": STOPPED_WITHIN,
        "late_stop_s": STOPPED_WITHIN,
        "peak_mb": MEGABYTES_AT_MOST.get(size, float("inf")),
    }
    return [
        f"{size}: {name} is {figures[name]:g}, not {bound:g} at most"
        for name, bound in bounds.items()
        if figures[name] > bound
    ]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        for size in options.sizes:
            ids = Path(directory) / f"{size}.txt"
            write_ids(ids, size)
            early = asyncio.run(measure(ids, early=True))
            late = asyncio.run(measure(ids, early=False))
            worst = {name: max(early.get(name, 0.0), late.get(name, 0.0)) for name in early | late}
            figures = {name: round(value, 2) for name, value in worst.items()}
            found[str(size)] = figures
            failures += missed(size, figures)
            if not options.json:
                numbers = "  ".join(f"{key} {value:g}" for key, value in figures.items())
                print(f"{size:>9,}  {numbers}", flush=True)
    if options.json:
        print(json.dumps({"sizes": found, "missed": failures, "python": sys.version.split()[0]}))
    for line in failures:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if options.check and failures else 0


if __name__ == "__main__":
    sys.exit(main())
