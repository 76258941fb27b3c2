"""
Random worlds: the whole product among faults, users and crashes, on a virtual clock.

``python -m tests.worlds --seed 7`` replays one; ``--count`` runs many.
A world is decided by its seed alone.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil, inf
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.enforcers import Enforcer, FixedWindow, SlidingLog, TokenBucket
from onehouse_tracker.testing.faults import lognormal
from onehouse_tracker.testing.statements import Kind
from onehouse_tracker.tracker import Tracker
from tests.worlds.promises import (
    ANYTHING,
    LIMIT,
    MAX_PAUSE,
    BrokenPromiseError,
    Promises,
)
from tests.worlds.rude import RudeLimiter, Rudeness
from tests.worlds.users import Users
from tests.worlds.watched import (
    CrashError,
    WatchedJournal,
    WatchedLoop,
    WatchedProject,
    WatchedSource,
)
from tests.worlds.weather import rules_for

__all__ = ["BrokenPromiseError", "Promises", "World", "run_world"]

ENDINGS: tuple[tuple[str, int], ...] = (
    (ApiStatus.SUCCESS, 12),
    (ApiStatus.SUCCESS_PARTIAL, 2),
    (ApiStatus.FAILED, 3),
    (ApiStatus.INVALID, 2),
    ("API_OPERATION_STATUS_NOVEL", 1),
)
KINDS = (Kind(label="", duration=lognormal(5.0, 1.0), failed=0.1, invalid=0.1, partial=0.1),)
JOURNALLED = 0.2
"""Share of the worlds with a journal: it waits for a real disk."""

_DAWN = datetime(2026, 1, 1, tzinfo=UTC)
_CHUNK = 100


class World:
    """
    One project with its requests and faults, and the processes that follow them.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = Random(f"world {seed}")
        self.project = WatchedProject(
            enforcer=self._enforcer(), seed=seed, kinds=KINDS, record=True
        )
        self.ids = [f"r{number}" for number in range(self.dice.randint(1, 20))]
        for request_id in self.ids:
            self._add(request_id)
        self.project.rules = rules_for(self.dice, self.ids)
        self.rudeness = Rudeness(seed)
        self.journalled = self.dice.random() < JOURNALLED
        self.crashes = self.dice.choice([0, 1, 1, 2]) if self.journalled else 0
        self.promises = Promises(self.project, journalled=self.journalled)
        self.source = WatchedSource(
            self.project,
            self.promises,
            self.rudeness,
            seed=seed,
            stubborn=self.dice.random() < 0.05,
        )
        self.policy = PollPolicy(
            patience=self.dice.choice([30.0, 600.0]),
            poll_timeout=self.dice.choice([3.0, 30.0]),
            order=self.dice.choice(["due", "learned"]),
        )
        self.promises.patience = self.policy.patience
        self.tracker: Tracker | None = None
        self.fingerprint = ""
        """What happened, in one word: equal for two runs of one seed."""
        self.arrived = 0
        """Requests that were sent until then."""

    # --- What the world is like ----------------------------------------------------------

    def _enforcer(self) -> Enforcer | None:
        return self.dice.choice(
            [None, SlidingLog(LIMIT), FixedWindow(LIMIT), TokenBucket(LIMIT, LIMIT)]
        )

    def _add(self, request_id: str) -> None:
        status = self.dice.choices(
            [word for word, _ in ENDINGS], [weight for _, weight in ENDINGS]
        )[0]
        duration = self.dice.choice([0.0, self.dice.uniform(0, 5), self.dice.uniform(0, 30)])
        self.project.add(
            request_id,
            duration,
            status,
            visible_after=self.dice.choice([0.0, 0.0, 3.0]),
            response={"id": request_id},
        )
        if self.dice.random() < 0.05:
            self.project.script(request_id, [faults.refuse(self.dice.choice([400, 403, 409]))])

    # --- Living in it --------------------------------------------------------------------

    def run(self) -> None:
        """Let one process after the other live in it, and judge them."""
        with ExitStack() as stack:
            # Undone in reverse order: the files go when nothing has them open any more.
            home = Path(stack.enter_context(TemporaryDirectory())) if self.journalled else None
            dead = stack.enter_context(ExitStack())
            stack.callback(self._judged)
            start = 0.0
            for number in range(self.crashes + 1):
                path = None if home is None else home / f"{number}.db"
                loop = WatchedLoop(self.seed + number, start, self._before_jump)
                if number < self.crashes:
                    loop.crash_at = start + self.dice.choice([0.0, 1.0, 20.0]) * self.dice.random()
                    loop.crash_after = self.dice.randint(0, 20)
                runner = asyncio.Runner(loop_factory=partial(_same, loop))
                dead.callback(runner.close)
                with suppress(CrashError):
                    runner.run(self._live(path))
                loop.crash_at = inf  # it is over, one way or the other
                # What was sent and has not arrived yet arrives in this time, or never.
                start = ceil(loop.time() * 1e6) / 1e6 + self.dice.choice([0.0, 0.3, 30.0])
                if path is not None:
                    _as_killed(path, path.with_name(f"{number + 1}.db"))
                self.promises.restarted(start)
                self.rudeness.forget()
            if home is not None:
                self._morning_after(home / f"{self.crashes + 1}.db", start)

    async def _live(self, path: Path | None) -> None:
        """One process: let the users come and go, then close the tracker."""
        dice = self.dice
        tasks: list[asyncio.Task[None]] = []
        async with self._new_tracker(path) as tracker:
            self.tracker = tracker
            engine = tracker._session.engine
            users = Users(tracker, self.ids, self.promises, dice, self.rudeness)
            if path is not None:
                tasks.append(asyncio.create_task(users.resume(), name="user 0"))
                await asyncio.sleep(0)
            for number in range(dice.randint(1, 6)):
                habit = users.any_habit()()
                tasks.append(asyncio.create_task(habit, name=f"user {number + 1}"))
                # At least one turn of the loop, so that nobody begins after the end.
                await asyncio.sleep(dice.choice([0.0001, 0.0001, 0.05, 1.0, 5.0]))
                if dice.random() < 0.15:
                    dice.choice(tasks).cancel()
                self.rudeness.meddle()
            if dice.random() < 0.85:
                await asyncio.wait(tasks)
            # Otherwise the tracker is closed under the users who are still there.
        self.tracker = None
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if end is not None and not isinstance(end, asyncio.CancelledError):
                raise end
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            self.promises.complain(f"tasks are left: {left}")
        if engine is None or engine.in_flight or engine.submitting:
            self.promises.complain("requests are counted as on the wire, and none is")

    def _new_tracker(self, path: Path | None) -> Tracker:
        loop = asyncio.get_running_loop()
        return Tracker(
            self.source,
            limiter=RudeLimiter(LIMIT, max_pause=MAX_PAUSE, broken=self.rudeness.breaks),
            policy=self.policy,
            journal=None if path is None else WatchedJournal(path, self.promises),
            observers=[self.rudeness.observe, self.promises.observe],
            wall_clock=lambda: _DAWN + timedelta(seconds=loop.time()),
            seed=self.seed,
        )

    def _morning_after(self, path: Path, start: float) -> None:
        """All faults are over: what is still owed is delivered, once and to the end."""
        self.project.calm_down()
        self.rudeness.calm_down()
        owed = self.promises.disk.owed
        seen: list[str] = []

        async def collect() -> None:
            async with self._new_tracker(path) as tracker:
                self.tracker = tracker
                self.promises.want([ANYTHING])
                async for result in tracker.resume():
                    self.promises.tell(result)
                    seen.append(result.request_id)
            self.tracker = None

        loop = WatchedLoop(self.seed, start, self._before_jump)
        with asyncio.Runner(loop_factory=partial(_same, loop)) as runner:
            runner.run(collect())
        if sorted(seen) != sorted(owed):
            self.promises.complain(f"in the end {seen} were resumed, and {owed} were owed")
        if self.promises.disk.owed:
            self.promises.complain(f"never acknowledged: {self.promises.disk.owed}")

    def _before_jump(self) -> None:
        """Nothing is ready to run: the dispatcher must not sleep while something is due."""
        engine = None if self.tracker is None else self.tracker._session.engine
        if engine is not None and engine.overslept():
            self.promises.complain("the clock jumps past a poll that is due: lost wake-up")

    def _judged(self) -> None:
        self.rudeness.calm_down()
        self.promises.judge_statements(self.project.executed)
        # Processes that were killed are stopped now, and whatever they do then counts no more: it
        # depends on what of them was collected as garbage by now.
        self.promises.over = True
        story = (self.promises.sent_at, self.promises.told, self.project.arrivals)
        self.fingerprint = hashlib.sha256(repr(story).encode()).hexdigest()[:12]
        self.arrived = self.project.arrived


def _same(loop: WatchedLoop) -> WatchedLoop:
    return loop


def _as_killed(path: Path, copy: Path) -> None:
    """Copy a journal as a kill leaves it: what was mapped into memory is gone."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copyfile(source, copy.with_name(copy.name + suffix))


def _held() -> tuple[int, int]:
    """How many files are open, and how many threads run."""
    descriptors = Path("/proc/self/fd")
    files = sum(1 for _ in descriptors.iterdir()) if descriptors.exists() else 0
    return files, threading.active_count()


def run_world(seed: int) -> World:
    """
    Live through one world.

    Raises:
        BrokenPromiseError: Its text has the command that replays it.
    """
    held = _held()
    world = World(seed)
    try:
        world.run()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise BrokenPromiseError(f"{error!r}\n{replay_command(seed)}") from error
    left = _held()
    if left != held:
        world.promises.broken.append(f"{held} files and threads before, {left} after")
    if world.promises.broken:
        broken = "\n".join(world.promises.broken[:10])
        raise BrokenPromiseError(f"{broken}\n{replay_command(seed)}")
    return world


def replay_command(seed: int) -> str:
    """What to type to see the world of *seed* again."""
    return f"replay with: python -m tests.worlds --seed {seed}"


@dataclass
class Tally:
    """What many worlds came to."""

    worlds: int = 0
    polls: int = 0
    results: int = 0
    crashes: int = 0
    failures: tuple[str, ...] = ()
    story: str = ""


def run_worlds(seeds: range) -> Tally:
    """Live through many worlds, and go on after a broken promise."""
    tally = Tally()
    story = hashlib.sha256()
    spoken = logging.root.manager.disable
    logging.disable()  # clumsy callbacks are logged, and are no news here
    for seed in seeds:
        tally.worlds += 1
        try:
            world = run_world(seed)
        except BrokenPromiseError as error:
            tally.failures += (f"seed {seed}: {error}",)
        else:
            tally.polls += world.arrived
            tally.results += len(world.promises.told)
            tally.crashes += world.crashes
            story.update(world.fingerprint.encode())
    logging.disable(spoken)
    tally.story = story.hexdigest()[:12]
    return tally


def main(argv: Sequence[str] | None = None) -> int:
    """Run one world or many; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.worlds")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there on")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes share the work")
    arguments = parser.parse_args(argv)
    began = time.perf_counter()
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    if arguments.jobs == 1:
        tallies = list(map(run_worlds, chunks))
    else:
        with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
            tallies = list(pool.map(run_worlds, chunks))
    failures = [failure for tally in tallies for failure in tally.failures]
    for failure in failures:
        sys.stderr.write(f"{failure}\n")
    story = hashlib.sha256("".join(tally.story for tally in tallies).encode()).hexdigest()[:12]
    sys.stdout.write(
        f"{len(seeds)} worlds, {sum(tally.polls for tally in tallies)} requests sent,"
        f" {sum(tally.results for tally in tallies)} results,"
        f" {sum(tally.crashes for tally in tallies)} crashes,"
        f" {time.perf_counter() - began:.1f} s, {len(failures)} failed, fingerprint {story}\n"
    )
    return 1 if failures else 0
