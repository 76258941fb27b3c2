"""
What runs at the same time: the cases of one wave, the processes they need, the accidents.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio

from benchmarks.rate import enforcers
from benchmarks.rate.judge import judge, longest_gap, rate_between

__all__ = ["LATE", "Case", "run_wave"]

ROOT = Path(__file__).resolve().parents[2]
LATE = 0.005
"""Seconds.  A wave whose server or clients are later than this at the 99th percentile is void."""

_SERVERS = 2

UPSTREAM = {"nginx_burst": "burst=9 nodelay", "nginx_strict": ""}
"""Options of nginx."""


@dataclass(kw_only=True)
class Case:
    """One limiter and those who share its budget."""

    name: str
    enforcer: str
    jitter: float = 0.0
    kind: str
    processes: int = 1
    own_processes: bool = False
    """Whether its members run in processes of their own, and not in those of all cases."""

    skews: Sequence[float] = ()
    """Seconds by which the clocks of its processes are wrong."""

    accident: str = ""
    """``redis`` kills Redis and starts it again, ``sigkill`` kills the first member."""

    requests: int = 40
    redis_port: int = 0
    killed_at: float = 0.0
    delay: float = 0.0
    """Seconds after the wave at which it begins, so that not all begin on the same cores."""

    @property
    def needs_redis(self) -> bool:
        """Whether its members share through Redis."""
        return self.kind.endswith("redis")

    def members(self) -> list[str]:
        """Their names."""
        return [f"{self.name}.{number}" for number in range(self.processes)]


async def run_wave(
    cases: Sequence[Case],
    seconds: float,
    *,
    programs: Mapping[str, str],
    packages: Sequence[str],
    directory: Path,
) -> tuple[dict[str, Any], dict[str, float]]:
    """
    Run all cases at the same time.

    Returns:
        The figures of each case by its name, and how late each process was, in seconds.
    """
    wave = _Wave(cases, seconds, programs, directory)
    async with AsyncExitStack() as stack:
        await wave.start(packages, stack)
        await wave.run(stack)

    return {case.name: wave.figures(case) for case in cases}, wave.late


class _Wave:
    """One wave, from its servers to its figures."""

    def __init__(
        self,
        cases: Sequence[Case],
        seconds: float,
        programs: Mapping[str, str],
        directory: Path,
    ) -> None:
        self._cases = cases
        self._seconds = seconds
        self._programs = programs
        self._directory = directory
        self._assignments = _workers(cases)
        for number, case in enumerate(cases):
            case.delay = 0.25 * number
        self._servers: list[asyncio.subprocess.Process] = []
        self._workers: list[asyncio.subprocess.Process] = []
        self._redises: dict[str, subprocess.Popen[bytes]] = {}
        self._begin = 0.0
        self._outage = (0.25 * seconds, 0.25 * seconds + min(10.0, 0.25 * seconds))
        self._reports: dict[str, Any] = {}
        self._records: dict[str, Any] = {}
        self._calls: dict[str, int] = {}
        self._stalls: dict[str, list[tuple[float, float]]] = {case.name: [] for case in cases}
        self.late: dict[str, float] = {}

    async def start(self, packages: Sequence[str], stack: AsyncExitStack) -> None:
        """Start every process, until all of them wait for the word to begin."""
        cases = self._cases
        self._directory.mkdir(parents=True)
        settings, self._redises = _start_servers(cases, self._programs, self._directory, stack)
        self._servers = [await _python("benchmarks.rate.server", stack) for _ in range(_SERVERS)]
        self._workers = [await _python("benchmarks.rate.worker", stack) for _ in self._assignments]
        ports: dict[str, int] = {}
        for number, server in enumerate(self._servers):
            served = {case.name: settings[case.name] for case in cases[number::_SERVERS]}
            ports |= dict.fromkeys(served, (await _ask(server, served))["port"])
        for worker, (skew, members) in zip(self._workers, self._assignments, strict=True):
            task = {
                "skew": skew,
                "seconds": self._seconds,
                "packages": list(packages),
                "members": [
                    _member(case, number, ports[case.name], self._directory)
                    for case, number in members
                ],
            }
            _tell(worker, task)
        for worker in self._workers:
            assert await _line(worker) == "ready", "a worker did not start"

    async def run(self, stack: AsyncExitStack) -> None:
        """Give the word, let the accidents happen, and collect what everybody knows."""
        # By then every member has its connections: making them keeps a process from sending.
        self._begin = begin = time.monotonic() + 4.0
        # The requests of some end before the wave does, so that each can have its outcome.
        ends = {
            case.name: begin + 0.7 * self._seconds
            for case in self._cases
            if case.accident == "redis"
        }
        for process in self._servers:
            _tell(process, ends)
        for process in self._workers:
            _tell(process, begin)
        async with asyncio.TaskGroup() as accidents:
            for case in self._cases:
                if case.accident == "redis":
                    accidents.create_task(self._kill_redis(case, stack))
                elif case.accident == "sigkill":
                    accidents.create_task(self._kill_first(case))
        for number, process in enumerate(self._workers):
            line = await _line(process)
            if not line:
                case = self._assignments[number][1][0][0]
                assert case.accident == "sigkill", "a worker failed"
                continue
            report = json.loads(line)
            self.late[f"worker {number}"] = report["late_p99"]
            for case, _ in self._assignments[number][1]:
                self._stalls[case.name] += report["stalls"]
            self._reports |= {member["name"]: member for member in report["members"]}
        for case in self._cases:
            if case.needs_redis:
                self._calls[case.name] = await _redis_calls(case)
        for number, process in enumerate(self._servers):
            record = await _ask(process, None)
            self.late[f"server {number}"] = record["late_p99"]
            for case in self._cases[number::_SERVERS]:
                self._stalls[case.name] += record["stalls"]
            self._records |= record["records"]

    def figures(self, case: Case) -> dict[str, Any]:
        """What the server's record says about *case*."""
        record = [tuple(entry) for entry in self._records[case.name]]
        members = {name: dict(self._reports.get(name, {})) for name in case.members()}
        for report in members.values():
            report["must_succeed"] = case.accident == "redis"
        found = judge(
            record,
            self._begin + case.delay,
            self._seconds - case.delay,
            members,
            stalls=self._stalls[case.name],
        )
        if case.kind == "ours_redis" and not case.accident:
            granted = sum(report.get("granted", 0) for report in members.values())
            calls = self._calls[case.name] / max(1, granted)
            found["redis_calls_per_grant"] = round(calls, 3)
        if case.accident == "redis":
            gone, back = (self._begin + at for at in self._outage)
            found["per_s_while_away"] = round(rate_between(record, gone + 1.5, back), 2)
            found["per_s_2_s_after_return"] = round(rate_between(record, back + 2, back + 6), 2)
        if case.accident == "sigkill":
            at = case.killed_at
            found["longest_gap_after_kill_s"] = round(longest_gap(record, at - 0.3, at + 3), 3)
            found["per_s_after_kill"] = round(rate_between(record, at, at + 5), 2)
        return {"kind": case.kind, "enforcer": case.enforcer} | found

    async def _kill_redis(self, case: Case, stack: AsyncExitStack) -> None:
        gone, back = (self._begin + at for at in self._outage)
        await asyncio.sleep(gone - time.monotonic())
        self._redises[case.name].kill()
        await asyncio.sleep(back - time.monotonic())
        stack.enter_context(
            enforcers.redis_server(
                self._programs["redis-server"], self._directory / case.name, case.redis_port
            )
        )

    async def _kill_first(self, case: Case) -> None:
        number = next(i for i, (_, them) in enumerate(self._assignments) if them[0][0] is case)
        await asyncio.sleep(self._begin + 0.5 * self._seconds - time.monotonic())
        case.killed_at = time.monotonic()
        self._workers[number].kill()


def _start_servers(
    cases: Sequence[Case], programs: Mapping[str, str], directory: Path, stack: AsyncExitStack
) -> tuple[dict[str, Any], dict[str, subprocess.Popen[bytes]]]:
    settings: dict[str, Any] = {}
    nginx: dict[int, str] = {}
    haproxy: list[int] = []
    redises: dict[str, subprocess.Popen[bytes]] = {}
    for case in cases:
        settings[case.name] = {"jitter": case.jitter, "enforcer": case.enforcer}
        if case.enforcer in UPSTREAM or case.enforcer == "haproxy":
            port = enforcers.free_port()
            settings[case.name]["upstream"] = port
            if case.enforcer == "haproxy":
                haproxy.append(port)
            else:
                nginx[port] = UPSTREAM[case.enforcer]
        if case.needs_redis:
            case.redis_port = enforcers.free_port()
            redises[case.name] = stack.enter_context(
                enforcers.redis_server(
                    programs["redis-server"], directory / case.name, case.redis_port
                )
            )
    if nginx:
        stack.enter_context(enforcers.nginx(programs["nginx"], directory / "nginx", nginx))
    if haproxy:
        stack.enter_context(enforcers.haproxy(programs["haproxy"], directory / "haproxy", haproxy))
    return settings, redises


def _workers(cases: Sequence[Case]) -> list[tuple[float, list[tuple[Case, int]]]]:
    """Who runs where: the n-th member of a case in the n-th process, or in one of its own."""
    shared: list[list[tuple[Case, int]]] = []
    own: list[tuple[float, list[tuple[Case, int]]]] = []
    for case in cases:
        for number in range(case.processes):
            if case.own_processes:
                skew = case.skews[number] if case.skews else 0.0
                own.append((skew, [(case, number)]))
                continue
            while len(shared) <= number:
                shared.append([])
            shared[number].append((case, number))
    return [(0.0, members) for members in shared] + own


def _member(case: Case, number: int, port: int, directory: Path) -> dict[str, Any]:
    return {
        "name": case.members()[number],
        "kind": "ours_local" if case.kind in {"ours_static", "ours_uncoordinated"} else case.kind,
        "url": f"http://127.0.0.1:{port}/{case.name}",
        "share": 1 / case.processes if case.kind == "ours_static" else 1.0,
        "path": str(directory / f"{case.name}.budget"),
        "redis": f"redis://127.0.0.1:{case.redis_port}",
        "key": case.name,
        "processes": case.processes,
        "requests": case.requests,
        "delay": case.delay,
    }


async def _redis_calls(case: Case) -> int:
    async with redis.asyncio.Redis(port=case.redis_port, decode_responses=True) as client:
        stats = await client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


async def _python(module: str, stack: AsyncExitStack) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    stack.push_async_callback(_end, process)
    return process


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        # Who has reported ends by itself.
        async with asyncio.timeout(2):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _tell(process: asyncio.subprocess.Process, message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{json.dumps(message)}\n".encode())


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def _ask(process: asyncio.subprocess.Process, message: Any) -> Any:
    _tell(process, message)
    return json.loads(await _line(process))
