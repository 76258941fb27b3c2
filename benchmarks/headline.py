"""
How soon 100 requests of 30 seconds are known to have ended, ours beside the vendor's SDK.

Four contestants, each with a simulated project of its own that enforces a sliding log of 10
requests a second and is served on loopback by a process of its own:

tracker         `wait_all` over 100 IDs that were all submitted at the start, so that all of
                them end at the same moment: the worst case, since 100 questions take 10 s
tracker_spread  100 statements submitted through the tracker, spread over 60 s
sdk             the first case with the vendor's SDK, one thread per ID that asks every 5 s,
                as its documentation shows
sdk_spread      the second case with the vendor's SDK, one thread per statement that calls
                `execute` with its defaults

They run at the same time, which takes about 100 s.  The server judges: it counts the requests
and the refusals and knows when each request ended.  A delay is the time from that moment to the
moment at which the client knew, both on the same machine's clock.  A request is lost when the
client has no outcome for it; the delays are those of the others.  `returned_s` is the time from
the end of the last request to the moment at which the client had nothing left to wait for; it is
missing where something was lost.

    python benchmarks/headline.py            a table
    python benchmarks/headline.py --json     one JSON object
    python benchmarks/headline.py --check    exit with 1, and say why, if ours is not good enough

The SDK is installed into .venv-vendor, an environment of its own.  Where that is not possible
its contestants are skipped, and the output says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from onehouse_tracker import Result, Tracker
from onehouse_tracker.testing import Kind, SimulatedProject, SimulatorServer, make_enforcer

ROOT = Path(__file__).resolve().parents[1]
VENDOR = ROOT / ".venv-vendor"
VENDOR_PYTHON = VENDOR / "bin" / "python"
SDK_CLIENT = Path(__file__).resolve().parent / "clients" / "sdk_threads.py"

LIMIT = 10.0  # requests per second
REQUESTS = 100
DURATION = 30.0  # seconds that each request takes
SPREAD = 60.0  # seconds over which statements are submitted
PATIENCE = 240.0  # seconds after which whatever is left is lost

MAXIMA = {
    "tracker": {"delay_max_s": 12.0, "returned_s": 12.0},
    # Fifty requests are open at a time and share 10 questions a second with the submissions:
    # one round takes 6 s.  Who waits for all of them is told within 3 s of the last end.
    "tracker_spread": {"delay_max_s": 12.0, "returned_s": 3.0},
}
"""Seconds that our contestants may take: what `--check` holds them to."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one contestant achieved."""

    lost: int
    """Requests of which it knows no outcome."""

    refused: int
    """Its requests that the server answered with 429."""

    requests: int
    """Its requests on the wire."""

    delay_p50_s: float | None
    """Seconds from the end of a request until it knew: half of them took less."""

    delay_max_s: float | None
    """The same for the slowest."""

    returned_s: float | None
    """Seconds from the end of the last request until the client had nothing to wait for."""


# --- the server, in a process of its own per contestant ----------------------------------


async def serve() -> None:
    """Serve a project until stdin ends; then print what it saw."""
    project = SimulatedProject(
        enforcer=make_enforcer("sliding", LIMIT), kinds=[Kind(label="", duration=DURATION)]
    )
    async with SimulatorServer(project) as server:
        _say(server.environment())
        while line := await asyncio.to_thread(sys.stdin.readline):
            # The only order there is: submit these, now.
            for request_id in json.loads(line):
                project.add(request_id, DURATION)
            _say({})
    to_epoch = time.time() - asyncio.get_running_loop().time()
    ended_at = {name: request.finished_at + to_epoch for name, request in project.requests.items()}
    _say({"requests": project.arrived, "refused": project.refused, "ended_at": ended_at})


def _say(message: Mapping[str, Any]) -> None:
    print(json.dumps(message), flush=True)


class Server:
    """Our end of the server's process."""

    def __init__(
        self, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, environment: Any
    ) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self.environment: dict[str, str] = environment

    async def add(self, request_ids: list[str]) -> None:
        """Submit *request_ids*, all at this moment."""
        self._stdin.write(f"{json.dumps(request_ids)}\n".encode())
        await self._stdout.readline()

    async def report(self) -> dict[str, Any]:
        """End the server and return what it saw."""
        self._stdin.close()
        report: dict[str, Any] = json.loads(await self._stdout.readline())
        return report


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """Run a server in a process of its own, so that no contestant disturbs another's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        environment = json.loads(await process.stdout.readline())
        yield Server(process.stdin, process.stdout, environment)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Known(NamedTuple):
    """What one contestant found out."""

    at: Mapping[str, float]
    """When it knew that a request had succeeded, in seconds since the epoch, by ID."""

    returned_at: float
    """When it had nothing left to wait for, in seconds since the epoch."""


# --- the contestants ---------------------------------------------------------------------


async def run_tracker(server: Server) -> Known:
    """Wait for IDs that all end at the same moment."""
    ids = [f"r{number}" for number in range(REQUESTS)]
    async with Tracker.from_env(environ=server.environment) as tracker:
        await server.add(ids)
        return await _wait_all(tracker, ids)


async def run_tracker_spread(server: Server) -> Known:
    """Submit statements through the tracker, one after the other, and wait for all of them."""
    async with Tracker.from_env(environ=server.environment) as tracker:

        async def submissions() -> AsyncIterator[str]:
            start = time.monotonic()
            for number in range(REQUESTS):
                await asyncio.sleep(start + number * SPREAD / REQUESTS - time.monotonic())
                handle = await tracker.submit(f"RUN JOB j{number}")
                yield handle.request_id

        return await _wait_all(tracker, submissions())


async def _wait_all(tracker: Tracker, ids: Iterable[str] | AsyncIterable[str]) -> Known:
    known_at: dict[str, float] = {}

    async def note(result: Result) -> None:
        if result.ok:
            known_at[result.request_id] = time.time()

    await tracker.wait_all(ids, timeout=PATIENCE, on_result=note)

    return Known(known_at, time.time())


async def run_sdk(server: Server) -> Known:
    """Follow IDs that all end at the same moment, one thread each."""
    ids = [f"r{number}" for number in range(REQUESTS)]
    await server.add(ids)

    return await _run_sdk({"request_ids": ids}, server.environment)


async def run_sdk_spread(server: Server) -> Known:
    """Execute statements, one after the other, one thread each."""
    statements = [(number * SPREAD / REQUESTS, f"RUN JOB j{number}") for number in range(REQUESTS)]

    return await _run_sdk({"statements": statements}, server.environment)


async def _run_sdk(task: Mapping[str, Any], environment: Mapping[str, str]) -> Known:
    process = await asyncio.create_subprocess_exec(
        VENDOR_PYTHON,
        SDK_CLIENT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", **environment},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate(json.dumps(task).encode())
    except TimeoutError:
        return Known({}, time.time())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    return Known(json.loads(out)["known_at"], time.time())


Contestant: TypeAlias = Callable[[Server], Awaitable[Known]]

OURS: dict[str, Contestant] = {"tracker": run_tracker, "tracker_spread": run_tracker_spread}
THEIRS: dict[str, Contestant] = {"sdk": run_sdk, "sdk_spread": run_sdk_spread}


# --- the judge ---------------------------------------------------------------------------


def score(report: Mapping[str, Any], known: Known) -> Score:
    """Judge one contestant by what the server saw and when the client knew."""
    ended_at = report["ended_at"]
    delays = sorted(known.at[name] - ended_at[name] for name in ended_at.keys() & known.at.keys())

    return Score(
        # A statement that the server never accepted is as lost as one without an outcome.
        lost=REQUESTS - len(delays),
        refused=report["refused"],
        requests=report["requests"],
        delay_p50_s=round(statistics.median(delays), 3) if delays else None,
        delay_max_s=round(delays[-1], 3) if delays else None,
        returned_s=(
            round(known.returned_at - max(ended_at.values()), 3)
            if len(delays) == REQUESTS
            else None
        ),
    )


def missed(scores: Mapping[str, Score | None]) -> list[str]:
    """What our contestants promise and did not keep."""
    found = []
    for name, maxima in MAXIMA.items():
        ours = scores.get(name)
        if ours is None:
            found.append(f"{name}: did not run")
            continue
        if ours.lost:
            found.append(f"{name}: {ours.lost} lost, not 0")
        if ours.refused:
            found.append(f"{name}: {ours.refused} refused, not 0")
        for what, limit in maxima.items():
            value = getattr(ours, what)
            if value is None or value > limit:
                found.append(f"{name}: {what} {value}, not at most {limit:g}")
    return found


async def compete(*, with_sdk: bool) -> dict[str, Score | None]:
    """Run everybody at the same time; `None` stands for who could not run."""

    async def judge(run: Contestant) -> Score:
        async with serving() as server:
            known = await run(server)
            return score(await server.report(), known)

    contestants = OURS | (THEIRS if with_sdk else {})
    async with asyncio.TaskGroup() as tasks:
        running = {
            name: tasks.create_task(judge(run), name=name) for name, run in contestants.items()
        }

    return dict.fromkeys([*OURS, *THEIRS]) | {name: it.result() for name, it in running.items()}


def install_sdk() -> str:
    """Install the SDK beside us if it is not there; return why that failed, or nothing."""
    if _has_sdk():
        return ""
    requirements = ROOT / "tests" / "vendor" / "requirements.txt"
    pip = [str(VENDOR_PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", VENDOR], check=True, stdout=sys.stderr)
        subprocess.run([*pip, "-r", str(requirements)], check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"the vendor's SDK cannot be installed into {VENDOR.name}: {error}"
    return "" if _has_sdk() else f"the vendor's SDK in {VENDOR.name} cannot be imported"


def _has_sdk() -> bool:
    try:
        subprocess.run(
            [VENDOR_PYTHON, "-c", "import onehouse_python_sdk, requests"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def table(scores: Mapping[str, Score | None]) -> str:
    """Lay the scores out for people."""
    columns = ("lost", 6), ("refused", 9), ("requests", 10)
    times = ("delay p50", 12), ("max", 9), ("returned", 10)
    lines = [" " * 16 + "".join(f"{title:>{width}}" for title, width in columns + times)]
    for name, it in scores.items():
        if it is None:
            lines.append(f"{name:16}  skipped")
            continue
        p50, longest, returned = (
            "-" if seconds is None else f"{seconds:.2f} s"
            for seconds in (it.delay_p50_s, it.delay_max_s, it.returned_s)
        )
        lines.append(
            f"{name:16}{it.lost:6}{it.refused:9}{it.requests:10}"
            f"{p50:>12}{longest:>9}{returned:>10}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark as the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with 1 if ours missed")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return 0

    problem = install_sdk()
    if problem:
        print(problem, file=sys.stderr)
    scores = asyncio.run(compete(with_sdk=not problem))
    if arguments.json:
        print(json.dumps({name: it and asdict(it) for name, it in scores.items()}, indent=2))
    else:
        print(table(scores))
    failures = missed(scores) if arguments.check else []
    for failure in failures:
        print(f"missed: {failure}", file=sys.stderr)

    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
