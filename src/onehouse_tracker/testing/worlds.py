"""
Random worlds: the whole product among faults, users and crashes, on a virtual clock.

``python -m onehouse_tracker.testing.worlds --seed 7`` replays one; ``--count`` runs many.
A world is decided by its seed alone.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from onehouse_tracker._retry import UNREACHABLE_AFTER, UNRECOGNISED_AFTER
from onehouse_tracker.errors import ProjectError
from onehouse_tracker.events import Event, RequestEnded, RequestJoined
from onehouse_tracker.gates import LocalGate
from onehouse_tracker.models import ApiStatus, Outcome, Result, StatusReply
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.results import Results
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.enforcers import Enforcer, FixedWindow, SlidingLog, TokenBucket
from onehouse_tracker.testing.faults import FaultRule, lognormal, outage
from onehouse_tracker.testing.project import SimulatedProject
from onehouse_tracker.testing.source import SimulatedSource
from onehouse_tracker.testing.virtual_clock import VirtualClockLoop
from onehouse_tracker.tracker import Tracker

__all__ = ["BrokenPromiseError", "Promises", "World", "WorldSource", "run_world"]

LIMIT = 10.0
ENDINGS: tuple[tuple[str, int], ...] = (
    (ApiStatus.SUCCESS, 12),
    (ApiStatus.SUCCESS_PARTIAL, 2),
    (ApiStatus.FAILED, 3),
    (ApiStatus.INVALID, 2),
    ("API_OPERATION_STATUS_NOVEL", 1),
)
TRUTH = {
    ApiStatus.SUCCESS: Outcome.SUCCEEDED,
    ApiStatus.SUCCESS_PARTIAL: Outcome.PARTIALLY_SUCCEEDED,
    ApiStatus.FAILED: Outcome.FAILED,
    ApiStatus.INVALID: Outcome.INVALID,
}


class BrokenPromiseError(AssertionError):
    """A world in which the product did not do what it promises."""


@dataclass(slots=True)
class Promises:
    """What the product promises of every moment, checked while a world goes on."""

    broken: list[str] = field(default_factory=list)
    """What was not kept, for people."""

    sent_at: list[float] = field(default_factory=list)
    """When requests of any kind were sent, on the loop's clock."""

    wanted: dict[str, int] = field(default_factory=dict)
    """How many users want to know about a request now."""

    followed: set[str] = field(default_factory=set)
    """Requests that have no outcome yet, as the events tell."""

    on_the_wire: set[str] = field(default_factory=set)
    """Requests with a poll in flight."""

    def want(self, request_ids: Sequence[str]) -> None:
        """A user begins to wait."""
        for request_id in request_ids:
            self.wanted[request_id] = self.wanted.get(request_id, 0) + 1

    def lose_interest(self, request_ids: Sequence[str]) -> None:
        """A user waits no more."""
        for request_id in request_ids:
            self.wanted[request_id] -= 1

    def observe(self, event: Event) -> None:
        """Follow the engine's own account."""
        match event:
            case RequestJoined(request_id=request_id):
                self.followed.add(request_id)
            case RequestEnded(request_id=request_id):
                self.followed.discard(request_id)

    def sending(self, at: float, request_id: str | None) -> None:
        """A request leaves: a poll, or (`None`) a submission."""
        self.sent_at.append(at)
        if len(self.sent_at) > LIMIT and at - self.sent_at[-1 - int(LIMIT)] < 1.0:
            self.broken.append(f"at {at:g} s: the eleventh request within one second was sent")
        if request_id is None:
            return
        if not self.wanted.get(request_id):
            self.broken.append(f"at {at:g} s: {request_id} was asked about, but nobody waits")
        if request_id not in self.followed:
            self.broken.append(f"at {at:g} s: {request_id} was asked about after its outcome")
        if request_id in self.on_the_wire:
            self.broken.append(f"at {at:g} s: {request_id} was asked about twice at once")
        self.on_the_wire.add(request_id)


class WorldSource(SimulatedSource):
    """A simulated source that reports each request to `Promises` at the moment of sending."""

    def __init__(self, project: SimulatedProject, promises: Promises, *, seed: int) -> None:
        super().__init__(project, round_trip=lognormal(0.08, 0.4), seed=seed)
        self._promises = promises

    async def fetch(self, request_id: str) -> StatusReply:
        """Ask once, as `SimulatedSource.fetch` does."""
        self._promises.sending(asyncio.get_running_loop().time(), request_id)
        try:
            return await super().fetch(request_id)
        finally:
            self._promises.on_the_wire.discard(request_id)

    async def submit(self, statement: str) -> str:
        """Submit once, as `SimulatedSource.submit` does."""
        self._promises.sending(asyncio.get_running_loop().time(), None)
        return await super().submit(statement)


class WatchedLoop(VirtualClockLoop):
    """A virtual clock that asks, before each jump, whether anything was due that was not done."""

    def __init__(self, seed: int, start: float, before_jump: Callable[[], None]) -> None:
        super().__init__(seed, start)
        self._before_jump = before_jump

    def _let_something_happen(self) -> None:
        self._before_jump()
        super()._let_something_happen()


class World:
    """
    One project with its requests and faults, one tracker, and some users of it.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = Random(f"world {seed}")
        self.promises = Promises()
        self.project = SimulatedProject(
            enforcer=self._enforcer(), seed=seed, rules=self._rules(), record=True
        )
        self.source = WorldSource(self.project, self.promises, seed=seed)
        self.ids = [f"r{number}" for number in range(self.dice.randint(1, 25))]
        for request_id in self.ids:
            self._add(request_id)
        self.policy = PollPolicy(
            patience=self.dice.choice([30.0, 600.0]),
            poll_timeout=self.dice.choice([3.0, 30.0]),
            order="due",
        )
        self.tracker: Tracker | None = None
        self.results = 0
        self.project_errors = 0

    # --- What the world is like ----------------------------------------------------------

    def _enforcer(self) -> Enforcer | None:
        return self.dice.choice([None, SlidingLog(10), FixedWindow(10), TokenBucket(10, 10)])

    def _rules(self) -> list[FaultRule]:
        """Some kinds of faults by chance, sometimes an outage, seldom a revoked key."""
        dice = self.dice
        kinds = [
            faults.unavailable(503),
            faults.unavailable(500, "internal"),
            faults.reset(),
            faults.cut(),
            faults.truncated(),
            faults.hang(),
            faults.huge(),
            faults.body("{}"),
            faults.body('{"apiStatus": 7}'),
            faults.body('{"apiStatus": "API_OPERATION_STATUS_NOVEL"}'),
            faults.body("<html>busy</html>"),
            faults.throttled(),
            faults.throttled(0),
            faults.throttled(dice.choice([1, 3, 1000])),
            faults.throttled(2, as_date=True),
            faults.delay(lognormal(1.0, 1.0)),
            faults.refuse(408, "too slow", form="empty"),
        ]
        rules = [
            FaultRule(fault=fault, rate=dice.choice([0.01, 0.05, 0.2]), on="status")
            for fault in dice.sample(kinds, k=dice.randint(0, 5))
        ]
        if dice.random() < 0.3:
            start = dice.uniform(0, 20)
            fault = dice.choice([None, faults.hang(), faults.reset()])
            rules.insert(0, outage(start, start + dice.choice([5, 40, 120]), fault))
        if dice.random() < 0.1:
            start = dice.uniform(0, 20)
            rules.insert(
                0,
                FaultRule(
                    fault=faults.unauthorized(dice.choice([401, 403])),
                    start=start,
                    end=start + dice.choice([1, 30]),
                    on="any",
                ),
            )
        return rules

    def _add(self, request_id: str) -> None:
        status = self.dice.choices(
            [word for word, _ in ENDINGS], [weight for _, weight in ENDINGS]
        )[0]
        duration = self.dice.choice([0.0, self.dice.uniform(0, 5), self.dice.uniform(0, 60)])
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

    async def live(self) -> None:
        """Let the users come and go, then close the tracker, and judge."""
        dice = self.dice
        users: list[asyncio.Task[None]] = []
        gate = LocalGate(max_pause=10.0)
        async with Tracker(
            self.source,
            gate=gate,
            policy=self.policy,
            observers=[self.promises.observe],
            seed=self.seed,
        ) as tracker:
            self.tracker = tracker
            habits = [
                self._wait_for_all,
                self._wait_with_deadline,
                self._iterate,
                self._hold_a_handle,
                self._call_back,
                self._stream,
            ]
            for _ in range(dice.randint(1, 6)):
                users.append(asyncio.create_task(dice.choice(habits)(tracker)))
                # At least one turn of the loop, so that nobody begins after the end.
                await asyncio.sleep(dice.choice([0.0001, 0.0001, 0.05, 1.0, 5.0]))
                if dice.random() < 0.15:
                    dice.choice(users).cancel()
            if dice.random() < 0.85:
                await asyncio.wait(users)
            # Otherwise the tracker is closed under the users who are still there.
        self.tracker = None
        for end in await asyncio.gather(*users, return_exceptions=True):
            if end is not None and not isinstance(end, asyncio.CancelledError):
                raise end
        self._judge()

    def before_jump(self) -> None:
        """Nothing is ready to run: the dispatcher must not sleep while something is due."""
        engine = None if self.tracker is None else self.tracker._engine  # noqa: SLF001
        if engine is not None and engine.overslept():
            self.promises.broken.append("the clock jumps past a poll that is due: lost wake-up")

    def _judge(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            self.promises.broken.append(f"tasks are left: {left}")

    def _some_ids(self) -> list[str]:
        return self.dice.choices(self.ids, k=self.dice.randint(1, len(self.ids) + 2))

    def _check(self, result: Result) -> None:
        """The outcome must be the server's truth, or what its faults explain."""
        self.results += 1
        request = self.project.requests[result.request_id]
        truth = TRUTH.get(ApiStatus(request.status)) if request.status in TRUTH else None
        outcome = result.outcome
        if outcome is truth:
            if result.response != {"id": result.request_id}:
                self.promises.broken.append(f"{result!r} has another one's response")
            return
        verdicts = [
            arrival.verdict
            for arrival in self.project.arrivals
            if arrival.request_id == result.request_id
        ]
        explained = {
            Outcome.TIMED_OUT: True,
            Outcome.UNRECOGNISED: truth is None
            or verdicts.count("fault:body") >= UNRECOGNISED_AFTER,
            Outcome.NOT_FOUND: "unknown" in verdicts,
            Outcome.REJECTED: "fault:refuse" in verdicts,
            Outcome.UNREACHABLE: sum("fault" in verdict for verdict in verdicts)
            >= UNREACHABLE_AFTER,
        }
        if not explained.get(outcome, False):
            self.promises.broken.append(f"{result!r}, but the server says {request.status}")

    # --- The users -----------------------------------------------------------------------

    @asynccontextmanager
    async def _interest(self, wanted: Sequence[str]) -> AsyncIterator[None]:
        """Be interested in *wanted*; a failure of the project must account for all of them."""
        distinct = list(dict.fromkeys(wanted))
        self.promises.want(distinct)
        try:
            yield
        except ProjectError as error:
            self.project_errors += 1
            known = set(error.results or ())
            if known | set(error.pending) > set(distinct) or known & set(error.pending):
                self.promises.broken.append(f"{error!r} does not account for {distinct}")
            for result in (error.results or {}).values():
                self._check(result)
        finally:
            self.promises.lose_interest(distinct)

    async def _wait_for_all(self, tracker: Tracker) -> None:
        wanted = self._some_ids()
        async with self._interest(wanted):
            try:
                results = await tracker.wait_all(wanted)
            except ProjectError as error:
                self._accounts_for(error, wanted)
                raise
            self._complete(results, wanted)

    async def _wait_with_deadline(self, tracker: Tracker) -> None:
        wanted = self._some_ids()
        timeout = self.dice.uniform(0, 20)
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with self._interest(wanted):
            results = await tracker.wait_all(wanted, timeout=timeout)
            if loop.time() > started + timeout + 0.001:
                self.promises.broken.append("a deadline was missed")
            self._complete(results, wanted)

    async def _call_back(self, tracker: Tracker) -> None:
        wanted = self._some_ids()
        slow = self.dice.choice([0.0, 2.0])
        clumsy = self.dice.random() < 0.5
        seen: list[str] = []

        async def callback(result: Result) -> None:
            seen.append(result.request_id)
            await asyncio.sleep(slow)
            if clumsy:
                raise ValueError(result.request_id)

        async with self._interest(wanted):
            results = await tracker.wait_all(wanted, on_result=callback)
            self._complete(results, wanted)
            if sorted(seen) != sorted(results):
                self.promises.broken.append(f"callbacks for {seen}, results for {list(results)}")
            if clumsy and set(results.callback_errors) != set(results):
                self.promises.broken.append("an exception of a callback was lost")

    async def _iterate(self, tracker: Tracker) -> None:
        wanted = self._some_ids()
        leaves_after = self.dice.choice([1, 3, 1000])
        seen: list[str] = []
        async with self._interest(wanted), tracker.as_completed(wanted) as completions:
            async for result in completions:
                self._check(result)
                seen.append(result.request_id)
                if len(seen) == leaves_after:
                    break
            expected = min(leaves_after, len(set(wanted)))
            if len(seen) != len(set(seen)) or len(seen) != expected:
                self.promises.broken.append(f"{seen} came for {wanted}")

    async def _stream(self, tracker: Tracker) -> None:
        wanted = self._some_ids()
        pause = self.dice.choice([0.0, 0.5, 3.0])

        async def produce() -> AsyncIterator[str]:
            for request_id in wanted:
                await asyncio.sleep(pause)
                yield request_id

        async with self._interest(wanted):
            results = await tracker.wait_all(produce())
            self._complete(results, wanted)

    async def _hold_a_handle(self, tracker: Tracker) -> None:
        request_id = self.dice.choice(self.ids)
        async with self._interest([request_id]):
            handle = tracker.track(request_id)
            try:
                if self.dice.random() < 0.3:
                    await asyncio.sleep(self.dice.uniform(0, 3))
                    if handle.cancel():
                        return
                self._check(await handle)
                self._check(await handle)
            finally:
                handle.cancel()

    def _complete(self, results: Results, wanted: Sequence[str]) -> None:
        if list(results) != list(dict.fromkeys(wanted)):
            self.promises.broken.append(f"results for {list(results)}, asked for {wanted}")
        for result in results.values():
            self._check(result)

    def _accounts_for(self, error: ProjectError, wanted: Sequence[str]) -> None:
        known = set(error.results or ()) | set(error.pending)
        if known != set(wanted):
            self.promises.broken.append(f"{error!r} accounts for {known}, not for {wanted}")


def run_world(seed: int) -> World:
    """
    Live through one world.

    Raises:
        BrokenPromiseError: Its text has the command that replays it.
    """
    world = World(seed)
    try:
        with asyncio.Runner(
            loop_factory=lambda: WatchedLoop(seed, 0.0, world.before_jump)
        ) as runner:
            runner.run(world.live())
    except Exception as error:
        raise BrokenPromiseError(f"{error!r}\n{replay_command(seed)}") from error
    if world.promises.broken:
        broken = "\n".join(world.promises.broken[:10])
        raise BrokenPromiseError(f"{broken}\n{replay_command(seed)}")
    return world


def replay_command(seed: int) -> str:
    """What to type to see the world of *seed* again."""
    return f"replay with: python -m onehouse_tracker.testing.worlds --seed {seed}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one world or many; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m onehouse_tracker.testing.worlds")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there on")
    arguments = parser.parse_args(argv)
    logging.disable()  # clumsy callbacks are logged, and are no news here
    began = time.perf_counter()
    polls = results = failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        try:
            world = run_world(seed)
        except BrokenPromiseError as error:
            failed += 1
            sys.stderr.write(f"seed {seed}: {error}\n")
        else:
            polls += world.project.arrived
            results += world.results
    took = time.perf_counter() - began
    sys.stdout.write(
        f"{arguments.count} worlds, {polls} polls, {results} results,"
        f" {took:.1f} s, {failed} failed\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
