"""
The users of a world: each waits in a way of its own, and checks what it gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TypeAlias

from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.errors import (
    ProjectError,
    SubmissionError,
    TrackerClosedError,
    TrackerError,
)
from onehouse_tracker.models import Result
from onehouse_tracker.results import Results
from onehouse_tracker.tracker import Completions, Tracker
from tests.worlds.promises import ANYTHING, Promises
from tests.worlds.rude import Rudeness

__all__ = ["Habit", "Users"]

Habit: TypeAlias = "Callable[[], Coroutine[object, object, None]]"


class Users:
    """
    Who uses one tracker, and how.

    Args:
        tracker: The tracker, open.

        ids: The requests there are.

        promises: Is told what users want and get.

        dice: Decides everything.

        rudeness: How rude they are, and what they have to put up with.
    """

    def __init__(
        self,
        tracker: Tracker,
        ids: Sequence[str],
        promises: Promises,
        dice: Random,
        rudeness: Rudeness,
    ) -> None:
        self.tracker = tracker
        self.ids = ids
        self.promises = promises
        self.dice = dice
        self.rudeness = rudeness

    def any_habit(self) -> Habit:
        """One way to use the tracker, by chance."""
        return self.dice.choice(
            [
                self.wait_for_all,
                self.wait_with_deadline,
                self.iterate,
                self.hold_a_handle,
                self.call_back,
                self.stream,
                self.submit,
                self.take_slots,
            ]
        )

    # --- Habits --------------------------------------------------------------------------

    async def wait_for_all(self) -> None:
        """Wait without limit; a failure of the project accounts for every request."""
        wanted = self._some_ids()
        async with self._interest(wanted):
            try:
                results = await self.tracker.wait_all(wanted)
            except ProjectError as error:
                known = set(error.results or ()) | set(error.pending)
                if known != set(wanted) and not self._is_refused(error):
                    self._complain(f"{error!r} accounts for {known}, not for {wanted}")
                raise
            self._complete(results, wanted)
            if self.dice.random() < 0.3:
                await results.ack_and_wait()

    async def wait_with_deadline(self) -> None:
        """Wait for some seconds; what is pending then is told as such, in time."""
        wanted = self._some_ids()
        timeout = self.dice.uniform(0, 20)
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with self._interest(wanted):
            results = await self.tracker.wait_all(wanted, timeout=timeout)
            if loop.time() > started + timeout + 0.001:
                self._complain("a deadline was missed")
            self._complete(results, wanted)

    async def call_back(self) -> None:
        """
        Have a callback called: quick or slow, and some raise.

        No plain function: whether its thread begins before it is cancelled is real chance.
        """
        wanted = self._some_ids()
        slow = self.dice.choice([0.0, 2.0])
        clumsy = self.dice.random() < 0.5
        is_rude = self.rudeness.is_clumsy()
        seen: list[str] = []

        async def callback(result: Result) -> None:
            # Before anything is awaited: who is cancelled in its callback had the result.
            self.promises.tell(result)
            seen.append(result.request_id)
            await asyncio.sleep(slow)
            if is_rude:
                raise self.rudeness.mistake()
            if clumsy:
                raise ValueError(result.request_id)

        async with self._interest(wanted):
            results = await self.tracker.wait_all(wanted, on_result=callback)
            self._complete(results, wanted)
            if sorted(seen) != sorted(results):
                self._complain(f"callbacks for {seen}, results for {list(results)}")
            if (clumsy or is_rude) and set(results.callback_errors) != set(results):
                self._complain("an exception of a callback was lost")

    async def iterate(self) -> None:
        """Take results as they come; some leave early."""
        wanted = self._some_ids()
        leaves_after = self.dice.choice([1, 3, 1000])
        async with self._interest(wanted), self.tracker.as_completed(wanted) as completions:
            seen = await self._take(completions, leaves_after)
            if len(seen) != len(set(seen)) or len(seen) != min(leaves_after, len(set(wanted))):
                self._complain(f"{seen} came for {wanted}")

    async def stream(self) -> None:
        """Give the IDs one after the other."""
        wanted = self._some_ids()
        pause = self.dice.choice([0.0, 0.5, 3.0])
        mistake = self.rudeness.mistake() if self.rudeness.is_clumsy() else None

        async def produce() -> AsyncIterator[str]:
            for request_id in wanted:
                await asyncio.sleep(pause)
                yield request_id
            if mistake is not None:
                raise mistake

        async with self._interest(wanted):
            try:
                results = await self.tracker.wait_all(produce())
            except BaseException as error:
                if mistake is None or mistake not in {error, error.__cause__}:
                    raise
                return
            if mistake is not None:
                self._complain(f"{mistake!r} of an iterable was lost")
            self._complete(results, wanted)

    async def hold_a_handle(self) -> None:
        """Hold on to one request, look at it twice, or drop it."""
        request_id = self.dice.choice(self.ids)
        async with self._interest([request_id]):
            handle = self.tracker.track(request_id)
            self.rudeness.handles.append(handle)
            try:
                if self.dice.random() < 0.3:
                    await asyncio.sleep(self.dice.uniform(0, 3))
                    if handle.cancel():
                        return
                self.promises.tell(await handle)
                self.promises.tell(await handle)
            except asyncio.CancelledError:
                if is_cancelled() or not (handle.cancelled() and self.rudeness.cancelled):
                    raise
            finally:
                self.rudeness.handles.remove(handle)
                handle.cancel()

    async def submit(self) -> None:
        """Submit statements, each with a text of its own, and follow what is accepted."""
        for _ in range(self.dice.randint(1, 4)):
            kind = self.dice.choice(["SHOW TABLES", "SHOW TABLES", "SYNTAX ERROR"])
            async with self._interest([]):
                try:
                    handle = await self.tracker.submit(f"{kind} {self.dice.getrandbits(64):x}")
                except SubmissionError:
                    continue
                async with self._interest([handle.request_id]):
                    try:
                        self.promises.tell(await handle)
                    finally:
                        handle.cancel()

    async def take_slots(self) -> None:
        """Send requests of one's own within the budget."""
        async with self._interest([]):
            for _ in range(self.dice.randint(1, 5)):
                async with self.tracker.slot():
                    self.promises.send(asyncio.get_running_loop().time())

    async def resume(self) -> None:
        """Take what an earlier process left; some leave early."""
        disk = self.promises.disk
        owed = set(disk.owed)
        leaves_after = self.dice.choice([1, 1000, 1000])
        known = self.promises.perhaps_added(self.ids)
        async with self._interest(None), self.tracker.resume() as completions:
            seen = await self._take(completions, leaves_after)
            if len(seen) < leaves_after:
                # What others were told meanwhile may be acknowledged, and need not come.
                missing = owed - set(seen) - disk.acknowledged
                if missing:
                    self._complain(f"{sorted(missing)} were not resumed")
            if len(seen) != len(set(seen)):
                self._complain(f"resumed twice: {seen}")
            if not set(seen) <= known:
                self._complain(f"{seen} were resumed; {known} at most had been added before")

    # --- What they have in common ----------------------------------------------------------
    def _some_ids(self) -> list[str]:
        return self.dice.choices(self.ids, k=self.dice.randint(1, len(self.ids) + 2))

    def _complain(self, text: str) -> None:
        self.promises.complain(text)

    @asynccontextmanager
    async def _interest(self, wanted: Sequence[str] | None) -> AsyncIterator[None]:
        """
        Be interested in *wanted*; a failure of the project must account for all of them.

        `None` is whatever there is.
        """
        distinct = [ANYTHING] if wanted is None else list(dict.fromkeys(wanted))
        self.promises.want(distinct)
        try:
            yield
        except TrackerError as error:
            if not isinstance(error, ProjectError):
                if type(error) is TrackerError and self.rudeness.meddled:
                    return  # who cancelled a task of the tracker's own cost this user its results
                raise
            known, pending = set(error.results or ()), set(error.pending)
            # A statement that was accepted while the tracker closed is named.
            if known & pending or (wanted and not known | pending <= set(distinct)):
                self._complain(f"{error!r} does not account for {distinct}")
            for result in (error.results or {}).values():
                self.promises.tell(result)
        finally:
            self.promises.lose_interest(distinct)

    async def _take(self, completions: Completions, leaves_after: int) -> list[str]:
        seen: list[str] = []
        async for result in completions:
            self.promises.tell(result)
            seen.append(result.request_id)
            if len(seen) == leaves_after:
                break
        return seen

    def _is_refused(self, error: ProjectError) -> bool:
        """Whether the tracker had ended before, as it may in rude worlds."""
        has_ended = self.rudeness.meddled or self.rudeness.broken
        return has_ended and error.results is None and isinstance(error, TrackerClosedError)

    def _complete(self, results: Results, wanted: Sequence[str]) -> None:
        if list(results) != list(dict.fromkeys(wanted)):
            self._complain(f"results for {list(results)}, asked for {wanted}")
        for result in results.values():
            self.promises.tell(result)
