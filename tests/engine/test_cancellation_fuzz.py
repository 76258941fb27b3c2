"""
One day of a tracker, disturbed at any turn of the event loop: everybody has a true answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onehouse_tracker import Outcome, Results
from onehouse_tracker.events import Event
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import ScriptedSource
from tests.engine.disturbed import (
    ACTORS,
    OWNED,
    SCRIPT,
    Day,
    copied,
    journal_of_yesterday,
)

EVERY_TURN = bool(os.environ.get("EVERY_TURN"))
"""Whether to disturb at each turn, and not at some that differ from case to case."""


class PanicError(BaseException):
    """What an extension raises that is no `Exception`."""


RAISED = [
    ValueError,
    asyncio.CancelledError,
    PanicError,
    GeneratorExit,
    StopIteration,
    TimeoutError,
]


@pytest.fixture(params=[False, True], ids=["no journal", "journal"])
def template(request: pytest.FixtureRequest, quick_path: Path) -> Path | None:
    """A journal of yesterday, or none."""
    return journal_of_yesterday(quick_path / "yesterday.db") if request.param else None


def turns_of(template: Path | None, case: int) -> range:
    """When to disturb a day."""
    with copied(template) as journal:
        day = Day(journal).live()
        day.judge()
        assert all(not task.cancelled() and not task.exception() for task in day.tasks.values())
    if EVERY_TURN:
        return range(1, day.turns + 1)
    step = 6 if template is None else 12
    return range(1 + case % step, day.turns + 1, step)


def test_a_quiet_day_brings_everybody_everything(template: Path | None) -> None:
    """
    Or the days that are disturbed would show nothing.
    """
    names: set[str] = set()

    def observe(_event: Event) -> None:
        names.update(task.get_name() for task in asyncio.all_tasks())

    with copied(template) as journal:
        day = Day(journal, observers=[observe]).live()
        day.judge()
        told = {name: task.result() for name, task in day.tasks.items()}
    assert set(told) == {*ACTORS, "owner"} - (set() if template else {"resume"})
    assert [result.request_id for result in told["submit"]] == ["s1", "s2"]
    assert isinstance(told["list"], Results)
    assert told["list"].callback_errors == {}
    assert told["deadline"]["d"].outcome is Outcome.TIMED_OUT
    if template is not None:
        assert {result.request_id for result in told["resume"]} >= {"told", "yesterday's"}
    for name in OWNED:
        assert any(one.endswith(name) for one in names), name


@pytest.mark.parametrize("victim", [*ACTORS, "owner"])
def test_who_uses_a_tracker_may_be_cancelled_at_any_turn(
    victim: str, template: Path | None
) -> None:
    """
    It is the only one who is: everybody else has results, or an error of ours if the owner left.
    """
    if victim == "resume" and template is None:
        return
    for turn in turns_of(template, [*ACTORS, "owner"].index(victim)):
        with copied(template) as journal:
            day = Day(journal)
            day.live(turn, day.cancel(victim)).judge(victim)
            for name, task in day.tasks.items():
                if victim not in {"owner", name}:
                    assert task.exception() is None, (turn, name)


@pytest.mark.parametrize("victim", OWNED)
def test_the_trackers_own_tasks_may_be_cancelled_at_any_turn(
    victim: str, template: Path | None
) -> None:
    """
    By somebody who does not own them: nobody else is cancelled.
    """
    for turn in turns_of(template, OWNED.index(victim)):
        with copied(template) as journal:
            day = Day(journal)
            day.live(turn, day.cancel(victim)).judge()
            failed = {name for name, task in day.tasks.items() if task.exception() is not None}
            allowed = {"feeder": {"stream"}, "callbacks": {"list"}, "engine": set(ACTORS)}
            assert failed <= allowed.get(victim, set()), (turn, failed)


Way = Callable[[Day], Callable[[], None]]
"""What is done to a day."""


def cancel_all(day: Day) -> Callable[[], None]:
    """Cancel everything, as a service does that shuts down."""
    return day.cancel_all


def leave(day: Day) -> Callable[[], None]:
    """Leave the block under everybody."""
    return day.leave


def leave_and_hurry(day: Day) -> Callable[[], None]:
    """The same, and lose patience."""

    def now() -> None:
        day.leave()
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, loop.call_soon, day.cancel("owner"))

    return now


def cancel_handles(day: Day) -> Callable[[], None]:
    """Cancel the handles, and no task."""
    return day.cancel_handles


WAYS: list[Way] = [cancel_all, leave, leave_and_hurry, cancel_handles]


@pytest.mark.parametrize("way", WAYS)
def test_all_may_end_at_any_turn(
    way: Callable[[Day], Callable[[], None]], template: Path | None
) -> None:
    """
    Whoever was not cancelled is told by an error of ours.
    """
    for turn in turns_of(template, WAYS.index(way)):
        with copied(template) as journal:
            day = Day(journal)
            hurried = "owner" if way is leave_and_hurry else None
            day.live(turn, way(day)).judge(hurried, owners_fault=way is cancel_all)


@pytest.mark.parametrize("raised", RAISED)
def test_observers_may_raise_at_any_event(
    raised: type[BaseException], template: Path | None
) -> None:
    """
    The day goes on as if nothing had been.
    """
    number, count = 0, 1
    while number < count:
        number += 1
        seen = 0

        def observe(_event: Event) -> None:
            nonlocal seen
            seen += 1
            if seen == number:  # noqa: B023 - it is called while the loop stands here
                raise raised

        with copied(template) as journal:
            day = Day(journal, observers=[observe]).live()
            day.judge()
            for name, task in day.tasks.items():
                assert task.exception() is None, (number, name)
        count = seen
        number += 0 if EVERY_TURN else 3
    assert count > 20


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("method", ["fetch", "submit"])
def test_sources_may_raise_at_any_call(
    raised: type[BaseException], method: str, template: Path | None
) -> None:
    """
    It costs that poll, or makes the fate of that statement unknown, and nothing else.
    """
    number, count = 0, 1
    while number < count:
        number += 1
        with copied(template) as journal:
            day = Day(journal)
            day.source = source = Raising(method, number, raised)
            day.live().judge(raised=raised)
            for name, task in day.tasks.items():
                if method == "fetch" or name != "submit":
                    assert task.exception() is None, (number, name)
            count = source.calls_of_kind
        number += 0 if EVERY_TURN else 1
    assert count >= 2


class Raising(ScriptedSource):
    """Raises once, at one call of one kind."""

    def __init__(self, method: str, number: int, raised: type[BaseException]) -> None:
        super().__init__(SCRIPT, latency=0.03, submissions=["s1", "s2"])
        self.method, self.number, self.raised = method, number, raised
        self.calls_of_kind = 0

    def _call(self, method: str) -> None:
        if method == self.method:
            self.calls_of_kind += 1
            if self.calls_of_kind == self.number:
                raise self.raised

    async def fetch(self, request_id: str) -> StatusReply:
        """As the script says."""
        self._call("fetch")
        return await super().fetch(request_id)

    async def submit(self, statement: str) -> str:
        """As the script says."""
        answer = await super().submit(statement)
        self._call("submit")
        return answer
