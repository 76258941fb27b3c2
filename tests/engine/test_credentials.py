"""
Whether a refusal of credentials concerns the project or one request.
"""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from onehouse_tracker import Outcome, Results, StatusReply, Tracker
from onehouse_tracker._engine.credentials import Condemned, Credentials
from onehouse_tracker._engine.retry import Again, Ended
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import AuthenticationError, UnauthorizedError
from onehouse_tracker.testing import ScriptedSource, hang
from tests.support import PENDING, SUCCESS, now, run

WRONG_KEY = UnauthorizedError("bad key", http_status=401)
FORBIDDEN = UnauthorizedError("not yours", http_status=403)


def _tracked(name: str) -> Tracked:
    return Tracked(name, label=None, born=0.0, now=0.0, wait=Wait())


def _refuse(
    credentials: Credentials,
    tracked: Tracked,
    sent_at: float,
    *,
    error: UnauthorizedError = FORBIDDEN,
    proven: bool = True,
    answered_sent_at: float = 50.0,
    is_only_one: bool = False,
) -> Again | Ended | Condemned:
    return credentials.refused(
        tracked,
        error,
        sent_at=sent_at,
        now=sent_at + 0.1,
        proven=proven,
        answered_sent_at=answered_sent_at,
        is_only_one=is_only_one,
    )


class TestBeforeAnyAnswer:
    """Nothing is known about the key yet."""

    def test_a_401_is_the_project(self) -> None:
        """
        A wrong key costs one request.
        """
        verdict = _refuse(Credentials(), _tracked("a"), 1, error=WRONG_KEY, proven=False)

        assert verdict == Condemned()

    def test_a_403_waits_for_one_other_request(self) -> None:
        """
        It may be that the first ID of a list is not ours.
        """
        credentials = Credentials()

        never = -math.inf

        first = _refuse(credentials, _tracked("a"), 1, proven=False, answered_sent_at=never)
        assert first == Again(2)
        assert credentials.next_poll_at(has_another=True) == -math.inf
        second = _refuse(credentials, _tracked("b"), 1.2, proven=False, answered_sent_at=never)
        assert second == Condemned()

    def test_the_only_request_decides_alone(self) -> None:
        """
        There is nobody else to ask.
        """
        verdict = _refuse(Credentials(), _tracked("a"), 1, proven=False, is_only_one=True)

        assert verdict == Condemned()


class TestAfterAnswers:
    """The key was good."""

    def test_stray_refusals_before_make_the_project_careful(self) -> None:
        """
        Where one call of twenty is refused by chance, three in a row are no proof.
        """
        credentials = Credentials()
        _refuse(credentials, _tracked("z"), 90)
        credentials.answered(91)

        for number in range(4):
            verdict = _refuse(credentials, _tracked(f"r{number}"), 100.0 + number)
            assert isinstance(verdict, Again)
        assert _refuse(credentials, _tracked("r4"), 104) == Condemned()

    def test_three_refusals_over_two_requests_are_the_project(self) -> None:
        """
        Nothing that was sent after the first of them was answered.
        """
        credentials = Credentials()
        first, second = _tracked("a"), _tracked("b")

        assert _refuse(credentials, first, 100) == Again(101)
        assert credentials.next_poll_at(has_another=True) == -math.inf
        assert _refuse(credentials, second, 100.2) == Again(101.2)
        assert credentials.next_poll_at(has_another=True) == 101.2
        assert _refuse(credentials, first, 101.2) == Condemned()

    def test_refusals_of_what_was_on_the_wire_together_count_once(self) -> None:
        """
        A refusal of a moment hits several polls at once; it is asked again a second later.
        """
        credentials = Credentials()

        for name in "abcdef":
            assert isinstance(_refuse(credentials, _tracked(name), 100), Again)
        assert _refuse(credentials, _tracked("g"), 101) == Again(102)
        assert _refuse(credentials, _tracked("h"), 102) == Condemned()

    def test_the_only_request_is_refused_three_times(self) -> None:
        """
        There is no second opinion; a key that is just being rotated may work by then.
        """
        credentials, alone = Credentials(), _tracked("a")

        assert _refuse(credentials, alone, 100, is_only_one=True) == Again(101)
        assert _refuse(credentials, alone, 101, is_only_one=True) == Again(103)
        assert _refuse(credentials, alone, 103, is_only_one=True) == Condemned()

    def test_an_answer_to_what_was_sent_later_ends_the_doubt(self) -> None:
        """
        One to what was sent before says nothing: the key may have expired in between.
        """
        credentials = Credentials()
        _refuse(credentials, _tracked("a"), 100)

        credentials.answered(99.9)
        assert credentials.in_doubt
        credentials.answered(100.2)
        assert not credentials.in_doubt

    def test_no_doubt_begins_where_something_sent_later_was_answered(self) -> None:
        """
        The refusal came late.
        """
        credentials = Credentials()

        assert _refuse(credentials, _tracked("a"), 100, answered_sent_at=100.5) == Again(101)
        assert not credentials.in_doubt

    def test_three_refusals_of_one_request_over_three_seconds_reject_it(self) -> None:
        """
        Another was answered by a poll that was sent after the first of them.
        """
        credentials, mine = Credentials(), _tracked("a")

        assert _refuse(credentials, mine, 100) == Again(101)
        credentials.answered(100.5)
        assert _refuse(credentials, mine, 101, answered_sent_at=100.5) == Again(103)
        credentials.answered(101.5)
        assert _refuse(credentials, mine, 102.9, answered_sent_at=101.5) == Again(103.9)
        credentials.answered(103)
        assert _refuse(credentials, mine, 103.9, answered_sent_at=103) == Ended(Outcome.REJECTED)

    def test_an_answer_breaks_the_row_of_a_request(self) -> None:
        """
        Three stray refusals in a week are not three in a row.
        """
        credentials, mine = Credentials(), _tracked("a")
        for sent_at in (100, 110):
            _refuse(credentials, mine, sent_at, answered_sent_at=sent_at + 1)
        mine.well()

        assert _refuse(credentials, mine, 120, answered_sent_at=121) == Again(121)


def test_stray_refusals_reject_nobody() -> None:
    """
    Five per cent of all calls are refused at random: every request still has its true end.
    """

    class Flaky:
        def __init__(self, seed: int) -> None:
            self.dice = random.Random(seed)
            self.ends = {f"r{n}": self.dice.expovariate(1 / 60) for n in range(100)}

        async def fetch(self, request_id: str) -> StatusReply:
            at = now()
            await asyncio.sleep(0.08)
            if self.dice.random() < 0.05:
                raise self.dice.choice([WRONG_KEY, FORBIDDEN])
            return StatusReply(SUCCESS if at >= self.ends[request_id] else PENDING)

    async def scenario(source: Flaky) -> Results:
        # One good reply first: a 401 before any is the key's.
        source.dice.random()
        async with Tracker(source) as tracker:
            return await tracker.wait_all(list(source.ends))

    rejected = 0
    for seed in range(3, 8):
        results = run(scenario(Flaky(seed)))
        rejected += len(results) - len(results.succeeded)
    assert rejected <= 5


def test_a_refused_request_that_hangs_behind_others_is_told_in_time() -> None:
    """
    One poll at a time is no reason to wait for one that hangs.
    """
    source = ScriptedSource(
        {
            "hangs": [PENDING, hang],
            "foreign": [PENDING, FORBIDDEN],
            "good": [PENDING, hang, *9 * [PENDING], SUCCESS],
        },
        latency=0.1,
    )

    async def scenario() -> Results:
        async with Tracker(source) as tracker:
            return await tracker.wait_all(["hangs", "foreign", "good"], timeout=60)

    results = run(scenario())
    assert results["foreign"].outcome is Outcome.REJECTED
    assert results["good"].ok


@pytest.mark.parametrize("order", [("foreign", "a", "b"), ("a", "foreign", "b")])
def test_the_place_in_the_list_decides_nothing(order: tuple[str, ...]) -> None:
    """
    A request that is not ours is rejected alone, also if it comes first.
    """
    source = ScriptedSource(
        {
            "foreign": [FORBIDDEN],
            "a": [*40 * [PENDING], SUCCESS],
            "b": [*40 * [PENDING], SUCCESS],
        }
    )

    async def scenario() -> Results:
        async with Tracker(source) as tracker:
            return await tracker.wait_all(order)

    results = run(scenario())
    assert results["foreign"].outcome is Outcome.REJECTED
    assert results["a"].ok
    assert results["b"].ok


def test_two_403_before_any_answer_cost_two_requests() -> None:
    """
    A role that was revoked refuses everything.
    """
    source = ScriptedSource({f"r{n}": [FORBIDDEN] for n in range(100)}, latency=0.1)

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(AuthenticationError):
                await tracker.wait_all([f"r{n}" for n in range(100)])

    run(scenario())
    assert len(source.calls) == 2
