"""
Who gets a slot besides the polls: two queues, and turning people away.
"""

from __future__ import annotations

import asyncio

import pytest

from onehouse_tracker._engine.slots import SlotQueue
from onehouse_tracker.errors import TrackerClosedError
from tests.support import run


def _done(*futures: asyncio.Future[None]) -> list[bool]:
    return [future.done() for future in futures]


def test_nobody_waits_at_first() -> None:
    """
    The dispatcher asks at every turn, and mostly there is nobody.
    """
    slots = SlotQueue()

    assert (slots.has_call, slots.has_submission) == (False, False)
    assert slots.grant(submissions=True) is None
    assert slots.grant(submissions=False) is None


def test_slots_go_out_in_order_of_arrival() -> None:
    """
    Submissions and calls of the user's own stand in one line.
    """

    async def scenario() -> None:
        slots = SlotQueue()
        submission, call = slots.join(submission=True), slots.join(submission=False)
        late_call, late_submission = slots.join(submission=False), slots.join(submission=True)
        waiting = (submission, call, late_call, late_submission)

        assert slots.grant(submissions=True) is True
        assert _done(*waiting) == [True, False, False, False]
        assert slots.grant(submissions=True) is False
        assert _done(*waiting) == [True, True, False, False]
        assert slots.grant(submissions=True) is False
        assert slots.grant(submissions=True) is True
        assert _done(*waiting) == [True, True, True, True]
        assert slots.grant(submissions=True) is None
        for future in waiting:
            await future

    run(scenario())


def test_submissions_can_be_held_back_alone() -> None:
    """
    While credentials are in doubt no statement is sent; the user's own calls go on.
    """

    async def scenario() -> None:
        slots = SlotQueue()
        submission, call = slots.join(submission=True), slots.join(submission=False)

        assert slots.grant(submissions=False) is False
        assert slots.grant(submissions=False) is None
        assert _done(submission, call) == [False, True]
        assert (slots.has_submission, slots.has_call) == (True, False)
        assert slots.grant(submissions=True) is True
        assert submission.done()

    run(scenario())


@pytest.mark.parametrize("submission", [True, False])
def test_who_gave_up_is_passed_over(*, submission: bool) -> None:
    """
    A slot for somebody who left would be lost, and the one behind would wait for nothing.
    """

    async def scenario() -> None:
        slots = SlotQueue()
        gone = [slots.join(submission=submission) for _ in range(3)]
        stays = slots.join(submission=submission)
        for future in gone:
            future.cancel()

        assert slots.has_submission is submission
        assert slots.has_call is not submission
        assert slots.grant(submissions=True) is submission
        assert stays.done()
        assert slots.grant(submissions=True) is None
        last = slots.join(submission=submission)
        last.cancel()
        assert (slots.has_submission, slots.has_call) == (False, False)

    run(scenario())


def test_only_submissions_are_turned_away_when_the_project_fails() -> None:
    """
    A slot for the user's own call is still theirs.
    """

    async def scenario() -> None:
        slots = SlotQueue()
        submission, call = slots.join(submission=True), slots.join(submission=False)
        gone = slots.join(submission=True)
        gone.cancel()
        error = TrackerClosedError("over")

        slots.fail_submissions(error)

        assert submission.exception() is error
        assert gone.cancelled()
        assert (slots.has_submission, slots.has_call) == (False, True)
        assert slots.grant(submissions=True) is False
        assert call.done()

    run(scenario())


def test_everyone_is_turned_away_at_the_end() -> None:
    """
    Nobody may wait for a dispatcher that is gone.
    """

    async def scenario() -> None:
        slots = SlotQueue()
        waiting = [slots.join(submission=number % 2 == 0) for number in range(6)]
        waiting[0].cancel()
        error = TrackerClosedError("over")

        slots.fail_all(error)

        assert [future.exception() for future in waiting[1:]] == [error] * 5
        assert (slots.has_submission, slots.has_call) == (False, False)
        assert slots.grant(submissions=True) is None

    run(scenario())
