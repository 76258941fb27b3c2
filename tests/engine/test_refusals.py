"""
Whose fault a 429 is.
"""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from onehouse_tracker import Outcome, PollPolicy, Results, Tracker
from onehouse_tracker._engine.refusals import COINCIDENCE, RefusalRow, Refusals
from onehouse_tracker.errors import (
    OutageError,
    StaleConnectionError,
    SubmissionUnsentError,
    ThrottledError,
)
from onehouse_tracker.testing import ScriptedSource
from tests.support import PENDING, SUCCESS, now, run


def _answer(refusals: Refusals, count: int) -> None:
    for _ in range(count):
        refusals.answered(None)


def test_the_first_refusal_is_the_projects() -> None:
    """
    Nothing tells it from one for the rate.
    """
    refusals = Refusals()
    _answer(refusals, 100)

    row = refusals.refused(None, 10, 10.1)

    assert (row.own, row.count, row.steps) == (False, 1, 1)


@pytest.mark.parametrize(("answers", "own"), [(0, False), (9, False), (10, True), (500, True)])
def test_refused_again_while_ten_others_are_answered_it_is_its_own(
    answers: int, *, own: bool
) -> None:
    """
    And none of them was refused.
    """
    refusals = Refusals()
    row = refusals.refused(None, 10, 10.1)
    _answer(refusals, answers)

    assert refusals.refused(row, 20, 20.1).own is own


def test_own_stays_own() -> None:
    """
    Until it is answered, whatever happens to others.
    """
    refusals = Refusals()
    row = refusals.refused(None, 10, 10.1)
    _answer(refusals, 10)
    row = refusals.refused(row, 20, 20.1)
    for _ in range(20):
        refusals.refused(None, 21, 21.1)

    assert refusals.refused(row, 30, 30.1).own
    assert (row.count, row.steps) == (3, 1)


def test_refusals_of_one_episode_are_one_step() -> None:
    """
    What was on the wire when the project slowed down says the same thing once.
    """
    refusals = Refusals()

    rows = [refusals.refused(None, 10 + n / 10, 10.5) for n in range(4)]

    assert [row.steps for row in rows] == [1, 0, 0, 0]


def test_while_most_of_what_is_sent_is_refused_nobody_is_to_blame() -> None:
    """
    Another client has spent the rate of the project.
    """
    refusals = Refusals()
    dice = random.Random(1)
    rows: list[RefusalRow | None] = [None] * 50
    blamed = 0
    for turn in range(2_000):
        which = turn % 50
        if dice.random() < 0.8:
            row = refusals.refused(rows[which], turn, turn + 0.1)
            blamed += row.own
            rows[which] = row
        else:
            refusals.answered(rows[which])
            rows[which] = None

    assert blamed < 2_000 * 0.01


@pytest.mark.parametrize("share", [0.05, 0.16, 0.37])
def test_chance_alone_blames_few(share: float) -> None:
    """
    A foreign client on the same limit: few requests are refused for the second time, or third.
    """
    refusals = Refusals()
    dice = random.Random(1)
    rows: list[RefusalRow | None] = [None] * 100
    refused = blamed = 0
    for turn in range(20_000):
        which = turn % 100
        if dice.random() < share:
            row = refusals.refused(rows[which], turn, turn + 0.1)
            refused += 1
            blamed += row.own
            rows[which] = row
        else:
            refusals.answered(rows[which])
            rows[which] = None

    assert blamed / refused < 1.3 * COINCIDENCE / share


def test_one_request_that_is_always_refused_starves_nobody() -> None:
    """
    It ends as unreachable, and the margin that it cost is given back.
    """
    good = [f"r{n}" for n in range(20)]
    script = {name: [*20 * [PENDING], SUCCESS] for name in good}
    source = ScriptedSource(script | {"bad": [ThrottledError()]}, latency=0.08)

    async def scenario() -> Results:
        async with Tracker(source) as tracker:
            results = await tracker.wait_all(["bad", *good], timeout=60)
            assert tracker.stats().limiter.margin == pytest.approx(0.02)
            assert {r.request_id for r in results.succeeded} == set(good)
            return await tracker.wait_all(["bad", tracker.track("other").request_id])

    source._script["other"] = (*900 * [PENDING], SUCCESS)
    source._asked["other"] = 0
    results = run(scenario())
    assert results["bad"].outcome is Outcome.UNREACHABLE
    assert len(source.times("bad")) < 50


@pytest.mark.parametrize("retry_after", [None, 5.0])
def test_a_statement_that_is_always_refused_holds_up_no_poll(retry_after: float | None) -> None:
    """
    It did not run, so after twenty refusals it is given back as unsent.
    """
    ids = [f"r{n}" for n in range(40)]
    source = ScriptedSource(
        {name: [PENDING, SUCCESS] for name in ids} | {"long": [PENDING]},
        latency=0.08,
        submissions=[ThrottledError(retry_after=retry_after) for _ in range(100)],
    )

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            tracker.track("long")
            with pytest.raises(SubmissionUnsentError, match="refused 20 times"):
                await _both(tracker)
        assert now() < 720

    async def _both(tracker: Tracker) -> None:
        async with asyncio.timeout(700):
            submitting = asyncio.create_task(tracker.submit("RUN JOB a"))
            assert (await tracker.wait_all(ids)).ok
            assert now() < 9 + 1 + (retry_after or 0)
            await submitting

    run(scenario())
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(source.submitted)]
    assert len(source.submitted) == 20
    assert max(gaps) < 40


@pytest.mark.parametrize("retry_after", [None, 1.0, 30.0])
def test_a_statement_refused_for_ever_with_nothing_else_answered_is_an_outage(
    retry_after: float | None,
) -> None:
    """
    It must end, with and without requests that are refused as well.
    """
    refused = ThrottledError(retry_after=retry_after)
    source = ScriptedSource(
        {"a": [refused]}, latency=0.08, submissions=[refused for _ in range(2000)]
    )

    async def scenario(*, with_polls: bool) -> None:
        async with Tracker(source, policy=PollPolicy(patience=60)) as tracker:
            if with_polls:
                tracker.track("a")
            with pytest.raises(OutageError):
                await tracker.submit("RUN JOB a")
            assert now() < 200

    run(scenario(with_polls=False))
    run(scenario(with_polls=True))


def test_one_request_whose_connections_are_always_stale_starves_nobody() -> None:
    """
    Nothing was sent, but its turns were.
    """
    good = [f"r{n}" for n in range(20)]
    script = {name: [*20 * [PENDING], SUCCESS] for name in good}
    source = ScriptedSource(
        script | {"bad": [StaleConnectionError("stale")], "long": [PENDING]}, latency=0.08
    )

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            tracker.track("long")
            results = await tracker.wait_all(["bad", *good], timeout=60)
            assert {r.request_id for r in results.succeeded} == set(good)
            assert len(source.times("bad")) < 20
            bad = (await tracker.wait_all(["bad"], timeout=720))["bad"]
            assert bad.outcome is Outcome.UNREACHABLE

    run(scenario())
