"""
Whether a poll that is due goes before the statements that wait: plain numbers, no loop.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from onehouse_tracker._engine.health import Health
from onehouse_tracker._engine.roster import Roster
from onehouse_tracker._engine.schedules import Schedules
from onehouse_tracker._engine.state import ProjectState
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.turns import (
    LIKELY,
    MANY_WAIT,
    MOST_GRANTED,
    MOST_GRANTED_TO_MANY,
    Turns,
)
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import UnauthorizedError
from onehouse_tracker.events import Emitter
from onehouse_tracker.policy import PollPolicy

LIMIT = 10.0


class World:
    """One schedule of one request, and a project in which nothing is wrong."""

    def __init__(self, policy: PollPolicy | None = None) -> None:
        self.schedule = Schedules(policy or PollPolicy(), LIMIT)
        self.state = ProjectState(Health(600.0))
        roster = Roster(
            self.schedule, self.state.health, emit=Emitter(), wall_clock=lambda: datetime.now(UTC)
        )
        self.turns = Turns(self.state, self.schedule, roster, random=lambda: 0.5)
        self.tracked = Tracked("r", label=None, born=0.0, now=0.0, wait=Wait())
        self.schedule.add(self.tracked, 0.0)
        self.state.health.good(0.0, 0.0)


def test_a_poll_waits_for_statements_unless_it_likely_finds_an_end() -> None:
    """
    At first a request ends in half a minute on average: after ten seconds it is unlikely to
    have ended, after a minute it is likely.
    """
    for now in (1.0, 10.0, 20.0, 25.0, 60.0, 600.0):
        turns, schedule = (world := World()).turns, world.schedule
        chance = schedule.chance_of_due(now)
        assert chance is not None
        likely = chance >= LIKELY
        assert likely == (now > 21)
        assert not turns.poll_goes_first(now, 0, 1)  # not two in a row
        for granted in range(1, MOST_GRANTED):
            assert turns.poll_goes_first(now, granted, 1) is likely
        assert schedule.pop(now) is world.tracked  # it was only looked at


@pytest.mark.parametrize(
    ("waiting", "most"),
    [(1, MOST_GRANTED), (MANY_WAIT, MOST_GRANTED), (MANY_WAIT + 1, MOST_GRANTED_TO_MANY)],
)
def test_some_slots_go_to_polls_whatever_they_find(waiting: int, most: int) -> None:
    """
    Every tenth while few statements wait, every third while many do.
    """
    turns = World().turns

    assert [turns.poll_goes_first(1.0, granted, waiting) for granted in range(most + 1)] == [
        *most * [False],
        True,
    ]


def test_an_early_poll_never_goes_before_a_statement() -> None:
    """
    Its gap is not over; the budget is not idle while statements wait.
    """
    world = World()
    world.schedule.pop(0.0)
    world.schedule.pending(world.tracked, 100.0, 100.0)
    now = 100.0 + 0.9 * PollPolicy().gap(100.0)

    assert world.schedule.next_due() <= now  # type: ignore[operator] # it may be polled early
    assert not world.turns.poll_goes_first(now, 1000, 1)
    assert world.turns.poll_goes_first(now, 1000, 0)


def test_without_learning_every_second_slot_goes_to_a_poll() -> None:
    """
    The order "due" knows no chances.
    """
    turns = World(PollPolicy(order="due")).turns

    assert [turns.poll_goes_first(1.0, granted, 5) for granted in (0, 1)] == [False, True]


def test_a_project_in_trouble_is_polled_at_every_second_slot() -> None:
    """
    Such a poll finds out whether anything works: it does not wait for nine statements.
    """
    doubtful = World()
    doubtful.state.credentials.refused(
        doubtful.tracked,
        UnauthorizedError("who", http_status=401),
        sent_at=1.0,
        now=1.0,
        proven=True,
        answered_sent_at=0.0,
        is_only_one=True,
    )
    unproven = World()
    unproven.state.health.reset()
    for world in (doubtful, unproven):
        assert [world.turns.poll_goes_first(1.0, granted, 5) for granted in (0, 1)] == [
            False,
            True,
        ]
