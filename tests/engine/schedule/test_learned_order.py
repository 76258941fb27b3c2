"""
The learned order and the looks on an idle budget: against a full scan, and as promises.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from onehouse_tracker._engine.schedule.cells import STALE, STALE_BEHIND, Cells
from onehouse_tracker._engine.schedule.durations import Durations
from onehouse_tracker._engine.schedule.schedule import EARLIEST, LATEST, ROUNDS, TICK, Schedule
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.policy import PollPolicy

WAIT = Wait()
LIMIT = 10.0
TIMES = st.floats(0, 300).map(lambda time: round(time, 2))
LABELS = [None, "ddl", "query"]


def _tracked(name: str, *, born: float = 0.0, label: str | None = None) -> Tracked:
    return Tracked(name, label=label, born=born, now=max(born, 0.0), wait=WAIT)


def _members(cells: Cells) -> list[Tracked]:
    members = (
        entry[2]
        for cell in cells._cells.values()
        for entry in cell.heap
        if entry[2].cell is cell and entry[2].ticket == entry[1]
    )
    return [*dict.fromkeys(members)]


def _worth(cells: Cells, tracked: Tracked, now: float) -> float:
    """What a poll is worth, computed for this one request alone."""
    cell, durations = tracked.cell, cells._durations
    assert cell is not None
    label, place = durations.label(tracked.label), durations.place(tracked.place)
    wait = max(0.0, now - tracked.asked)
    if wait > cells.longest:
        return 1e12 + wait
    chance = durations.chance(label, place, tracked.asked - cell.born, now - cell.born)
    return chance * wait


class Learned(RuleBasedStateMachine):
    """
    A schedule under any calls at any times: what it takes is what a full scan would take.
    """

    STALE = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(PollPolicy(), LIMIT, stale=self.STALE)
        self.out: list[Tracked] = []
        self.due: dict[Tracked, float] = {}
        self.failed: set[Tracked] = set()
        self.entered: dict[Tracked, tuple[object, float]] = {}
        self.names = 0
        self.latest = 0.0
        self.learned = -math.inf
        # Some experience, so that the scores differ by more than the waits.
        durations = self.schedule._ranking._durations  # type: ignore[union-attr]
        for _ in range(30):
            quick, slow = durations.label("ddl"), durations.label("query")
            durations.learn(quick, durations.place(1), 0.0, 1.0, ended=True)
            durations.learn(slow, durations.place(-2), 0.0, 60.0, ended=False)

    def _returned(self, tracked: Tracked, due: float, *, failed: bool = False) -> None:
        self.due[tracked] = due
        (self.failed.add if failed else self.failed.discard)(tracked)

    @rule(age=st.floats(0, 1000) | st.just(1e10), label=st.sampled_from(LABELS))
    def add(self, age: float, label: str | None) -> None:
        """A request joins, old or new."""
        now = self.latest
        self.names += 1
        tracked = _tracked(f"r{self.names}", born=now - age, label=label)
        self.schedule.add(tracked, now)
        self._returned(tracked, now)

    @rule(size=st.integers(1, 40), label=st.sampled_from(LABELS))
    def add_batch(self, size: int, label: str | None) -> None:
        """Many join at once."""
        for _ in range(size):
            self.add(0.0, label)

    @rule(which=st.integers(0))
    def pending(self, which: int) -> None:
        """A poll said PENDING."""
        if self.out:
            tracked = self.out.pop(which % len(self.out))
            sent_at = self.learned = self.latest
            self.schedule.pending(tracked, sent_at, sent_at + 0.1)
            gap = PollPolicy().gap(sent_at - tracked.born)
            self._returned(tracked, max(sent_at + 0.1, sent_at + gap))

    @rule(due=TIMES, which=st.integers(0))
    def again(self, due: float, which: int) -> None:
        """A poll failed."""
        if self.out:
            tracked = self.out.pop(which % len(self.out))
            self.schedule.again(tracked, due)
            self._returned(tracked, due, failed=True)

    @rule(sent_at=TIMES, which=st.integers(0))
    def finished(self, sent_at: float, which: int) -> None:
        """A poll said how it ended."""
        if self.out:
            tracked = self.out.pop(which % len(self.out))
            self.schedule.finished(tracked, sent_at)
            self.schedule.remove(tracked)
            self.learned = self.latest

    @rule(which=st.integers(0))
    def remove(self, which: int) -> None:
        """Nobody waits any more, for one in here or out for a poll."""
        known = [*self.due, *self.out]
        if known:
            tracked = known[which % len(known)]
            self.schedule.remove(tracked)
            self.due.pop(tracked, None)
            self.failed.discard(tracked)
            if tracked in self.out:
                self.out.remove(tracked)

    @rule(now=TIMES)
    def forgive(self, now: float) -> None:
        """An outage is over."""
        for tracked in tuple(self.failed):
            self.schedule.forgive(tracked, now)
            self._returned(tracked, min(now, self.due[tracked]))

    @rule(step=st.floats(0, 20), times=st.integers(1, 8), answered=st.integers(0, 8))
    def pop(self, step: float, times: int, answered: int) -> None:
        """Slots, one after the other, and some answers in between."""
        for _ in range(times):
            self._pop(self.latest + step)
        for _ in range(answered):
            self.pending(0)

    @rule(now=TIMES)
    def pop_at_any_time(self, now: float) -> None:
        """The clock goes back, or far ahead."""
        self._pop(now)

    def _pop(self, now: float) -> None:
        schedule, due = self.schedule, self.schedule._ranking.due  # type: ignore[union-attr]
        already = set(_members(due))
        # Choosing twice changes nothing but that ten more may have become due.
        if schedule._choose_due(now) is not None:
            best = schedule._choose_due(now)
            members = _members(due)
            for tracked in members:
                assert tracked.cell is not None
                if tracked not in already:
                    age = min(max(now - tracked.born, 1.0), 1e9)
                    assert abs(tracked.cell.born - tracked.born) <= age / 8 + 1e-6
                    assert self.due[tracked] <= now + TICK
            assert best in members
            # Scores from the future stay: clocks that go back are survived, not rewarded.
            # And a score holds for its moment: what is learned in it counts from the next on.
            if not self.STALE and now >= self.latest and now > self.learned:
                assert best is not None
                most = max(_worth(due, tracked, now) for tracked in members)
                assert _worth(due, best, now) == pytest.approx(most, rel=1e-9, abs=1e-12)
        self.latest = max(self.latest, now)
        is_early = not due
        early = self.schedule._ranking.early  # type: ignore[union-attr]
        taken = schedule.pop(now)
        if taken is None:
            assert all(when > now + TICK for when in self.due.values())
        elif is_early:
            assert taken not in self.failed
            assert now >= taken.asked + EARLIEST - TICK - 1e-9
            assert self.due[taken] > now + TICK
            assert all(other not in self.failed for other in _members(early))
        self._taken(taken)

    def _taken(self, tracked: Tracked | None) -> None:
        if tracked is not None:
            assert tracked not in self.out  # never twice at once
            assert tracked.ticket == 0
            assert tracked.cell is None
            del self.due[tracked]
            self.failed.discard(tracked)
            self.out.append(tracked)

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        """Size, demand and cells are what counting them anew says."""
        schedule = self.schedule
        assert len(schedule) == len(self.due)
        demand = sum(
            1 / PollPolicy().gap(tracked.asked - tracked.born)
            for tracked in self.due
            if tracked not in schedule._backing_off
        )
        assert schedule.demand == pytest.approx(demand, abs=1e-6)
        assert schedule._ranking is not None
        for cells in (schedule._ranking.due, schedule._ranking.early):
            assert len(cells) == len(_members(cells))
            assert all(cell.live for cell in cells._cells.values())
            for tracked in _members(cells):
                assert tracked.cell is not None
                assert tracked.cell.place is cells._durations.place(tracked.place)
        assert all(tracked.cell is None and not tracked.ticket for tracked in self.out)
        if self.due:
            next_due = schedule.next_due()
            assert next_due is not None
            assert next_due <= min(self.due.values())
        else:
            assert schedule.next_due() is None


Learned.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAgainstAScan = Learned.TestCase


class OldScores(Learned):
    """
    The same with scores that may be a little old: what is promised about their age holds.
    """

    STALE = STALE

    @rule(now=TIMES)
    def no_score_is_older_than_promised(self, now: float) -> None:
        """After a choice, each cell is to be scored again before its score is too old."""
        due = self.schedule._ranking.due  # type: ignore[union-attr]
        self.latest = max(self.latest, now)
        if due.best(now) is None:
            return
        again = {id(cell): when for when, version, cell in due._stale if cell.version == version}
        for cell in due._cells.values():
            # One that has left counts until the cell is scored again: its score is too high.
            looked = min(entry[0] for entry in cell.heap)
            longest = max(STALE, STALE_BEHIND * max(0.0, self.latest - looked))
            assert again[id(cell)] <= self.latest + longest + 1e-6


TestWithOldScores = OldScores.TestCase
TestWithOldScores.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


# --- played through, with plain numbers ------------------------------------------------------


def _play(
    schedule: Schedule, jobs: list[tuple[float, float, str | None]], *, step: float = 0.1
) -> dict[str, list[float]]:
    """Follow jobs of (start, duration, label) at one slot each *step*; return all looks."""
    looks: dict[str, list[float]] = {}
    coming = deque(sorted(jobs, key=lambda job: job[0]))
    names = 0
    ends: dict[Tracked, float] = {}
    now = 0.0
    while coming or len(schedule):
        while coming and coming[0][0] <= now:
            start, duration, label = coming.popleft()
            tracked = _tracked(f"r{names}", born=start, label=label)
            names += 1
            ends[tracked] = start + duration
            looks[tracked.request_id] = [start]
            schedule.add(tracked, start)
        taken = schedule.pop(now)
        if taken is not None:
            looks[taken.request_id].append(now)
            if ends[taken] <= now:
                schedule.finished(taken, now)
                schedule.remove(taken)
            else:
                schedule.pending(taken, now, now)
        now = round(now + step, 6)
    return looks


def _longest_wait(looks: dict[str, list[float]]) -> float:
    return max(later - earlier for times in looks.values() for earlier, later in pairwise(times))


def _jobs(seed: int, size: int, *, batch: bool) -> list[tuple[float, float, str | None]]:
    random = Random(seed)
    jobs: list[tuple[float, float, str | None]] = []
    for _ in range(size):
        start = 0.0 if batch else random.uniform(0, 60)
        quick = random.random() < 0.5
        duration = random.uniform(1, 3) if quick else random.lognormvariate(4, 0.7)
        jobs.append((start, duration, "ddl" if quick else "job"))
    return jobs


@pytest.mark.parametrize("batch", [True, False], ids=["batch", "staggered"])
@pytest.mark.parametrize("seed", range(5))
def test_nobody_starves(seed: int, *, batch: bool) -> None:
    """
    Whoever is thought unlikely to have ended waits less than twice as long as in turn.
    """
    jobs = _jobs(seed, 300, batch=batch)

    in_turn = _longest_wait(_play(Schedule(PollPolicy(order="due")), jobs))
    learned = _longest_wait(_play(Schedule(PollPolicy(idle_share=0), LIMIT), jobs))

    assert in_turn > 10  # or nobody waits for a slot here
    assert learned < 2 * in_turn


def test_nobody_starves_when_better_ones_come_in_masses() -> None:
    """
    What was the average for long is nothing beside a flood of requests that end soon.
    """
    jobs: list[tuple[float, float, str | None]] = [(0.0, 1400.0, "slow")] * 30
    jobs += [(800 + 0.105 * number, 15.0, "quick") for number in range(4500)]

    def longest_wait_of_slow(policy: PollPolicy) -> float:
        looks = _play(Schedule(policy, LIMIT), jobs)
        return _longest_wait({f"r{number}": looks[f"r{number}"] for number in range(30)})

    in_turn = longest_wait_of_slow(PollPolicy(order="due", idle_share=0))
    assert longest_wait_of_slow(PollPolicy(idle_share=0)) < 2 * in_turn


def test_whoever_has_waited_for_rounds_goes_first() -> None:
    """
    What was learned decides among those who have not waited too long, and only among them.
    """
    schedule = Schedule(PollPolicy(idle_share=0), LIMIT)
    durations = schedule._ranking._durations  # type: ignore[union-attr]
    for _ in range(100):
        durations.learn(durations.label("quick"), durations.place(1), 0.0, 1.0, ended=True)
        durations.learn(durations.label("slow"), durations.place(1), 0.0, 99.0, ended=False)
    schedule.add(slow := _tracked("slow", label="slow"), 0.0)
    for number in range(3):
        schedule.add(_tracked(f"q{number}", born=5.0, label="quick"), 5.0)
    longest = ROUNDS * PollPolicy().gap_max

    before, after = schedule.pop(longest - 0.1), schedule.pop(longest + 0.1)

    assert before is not slow
    assert after is slow


def test_the_learned_order_is_worth_it() -> None:
    """
    Where labels tell the quick from the slow, the quick are known much sooner on average.
    """
    jobs = _jobs(1, 400, batch=False)

    def mean_delay(policy: PollPolicy) -> float:
        schedule = Schedule(policy)
        looks = _play(schedule, jobs)
        ends = [start + duration for start, duration, _ in sorted(jobs, key=lambda job: job[0])]
        known = [looks[f"r{number}"][-1] for number in range(len(jobs))]
        return sum(at - end for at, end in zip(known, ends, strict=True)) / len(jobs)

    assert mean_delay(PollPolicy()) < 0.8 * mean_delay(PollPolicy(order="due"))


@pytest.mark.parametrize("order", ["due", "learned"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("earliest", [0.0, 0.25])
def test_idle_looks_keep_to_their_share(order: str, share: float, earliest: float) -> None:
    """
    Looks of both kinds together: at most the demand and the share, at most the limit; no
    early look within 0.2 s of the last one at the same request, or within the share of its gap.
    """
    policy = PollPolicy(order=order, idle_share=share, earliest_share=earliest)  # type: ignore[arg-type]
    jobs: list[tuple[float, float, str | None]] = [
        (3.0 * number, 30.0 + number, None) for number in range(6)
    ]

    looks = _play(Schedule(policy, LIMIT), jobs, step=0.01)

    times = sorted(time for mine in looks.values() for time in mine[1:])
    demand = 0.0
    for moment in range(6000):
        now = moment / 100
        demand += 0.01 * sum(
            1 / policy.gap(now - mine[0]) for mine in looks.values() if mine[0] <= now < mine[-1]
        )
    assert len(times) <= demand + share * LIMIT * times[-1] + 2 * len(jobs)
    if share == 1.0:
        assert len(times) > (1.1 if earliest else 1.5) * demand
    gaps = [b - a for mine in looks.values() for a, b in pairwise(mine[1:])]
    assert min(gaps) >= EARLIEST - TICK - 1e-9
    for mine in looks.values():
        for a, b in pairwise(mine[1:]):
            assert b - a >= policy.earliest_share * policy.gap(a - mine[0]) - TICK - 1e-9
    if not share:
        assert min(gaps) >= policy.gap_min - TICK - 1e-9


def test_a_single_request_is_looked_at_every_fifth_of_a_second() -> None:
    """
    Alone it may have the whole share of the idle budget, but no more than that.
    """
    looks = _play(Schedule(PollPolicy(), LIMIT), [(0.0, 10.0, None)], step=0.01)["r0"]

    gaps = [b - a for a, b in pairwise(looks[1:])]
    assert min(gaps) >= 0.2 - TICK
    assert max(gaps) < 0.3


@pytest.mark.parametrize("order", ["due", "learned"])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_an_old_request_is_left_alone_for_a_share_of_its_gap(order: str, share: float) -> None:
    """
    Ten minutes old, with the whole budget idle: the share decides how soon it is looked at.
    """
    policy = PollPolicy(order=order, idle_share=1.0, earliest_share=share)  # type: ignore[arg-type]
    looks = _play(Schedule(policy, LIMIT), [(0.0, 620.0, None)], step=0.01)["r0"]

    gap = policy.gap(600)
    gaps = [b - a for a, b in pairwise(looks) if a > 600]
    earliest = max(EARLIEST, share * gap)
    if share == 0.25 and order == "learned":
        assert earliest < min(gaps)  # such a poll would hardly find anything
        assert max(gaps) < gap
    else:
        assert min(gaps) == pytest.approx(max(gaps), abs=0.03)
        assert min(gaps) == pytest.approx(earliest, abs=0.03)


def _first_early_poll(*, beside: int = 0, share: float = 0.25, quick: int = 0) -> float:
    """
    Seconds after its last poll when a request of ten minutes is polled early.

    Others *beside* it are as old; *quick* ones have ended within a second each.
    """
    schedule = Schedule(PollPolicy(earliest_share=share), LIMIT)
    durations = schedule._ranking._durations  # type: ignore[union-attr]
    for _ in range(quick):
        durations.learn(durations.label(None), durations.place(1), 600.0, 601.0, ended=True)
    requests = [_tracked(f"r{number}", born=-600.0) for number in range(1 + beside)]
    for tracked in requests:
        schedule.add(tracked, 0.0)
    for polled in [schedule.pop(0.0) for _ in requests]:
        assert polled is not None
        schedule.pending(polled, 0.0, 0.0)
    return schedule._early_at(requests[0])


def test_an_early_poll_must_be_worth_a_slot() -> None:
    """
    What is likely to have ended is polled after a share of its gap; what is not, later.

    The more of the budget is asked for, the more a poll must be worth; never is a request
    polled later than its gap says.
    """
    gap = PollPolicy().gap(600)

    likely = _first_early_poll(quick=50)
    alone, one_of_two, one_of_many = (
        _first_early_poll(beside=count, quick=1) for count in (0, 1, 12)
    )

    assert likely == 0.25 * gap
    assert likely < alone < one_of_two < one_of_many == LATEST * 0.25 * gap
    assert _first_early_poll(share=0.0) == EARLIEST


def test_an_early_poll_never_waits_longer_than_until_its_request_is_due() -> None:
    """
    However little it is worth.
    """
    assert _first_early_poll(share=0.9, beside=12) == PollPolicy().gap(600)


def test_an_early_poll_may_be_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A forecast may be certain that nothing has ended.
    """
    monkeypatch.setattr(Durations, "chance", lambda *_: 0.0)

    assert _first_early_poll() == LATEST * 0.25 * PollPolicy().gap(600)


def test_what_failed_is_left_in_peace() -> None:
    """
    A backoff is a promise to the server: idle budget is not spent on it.
    """
    for policy in (PollPolicy(order="due"), PollPolicy(order="learned")):
        schedule = Schedule(policy, LIMIT)
        tracked = _tracked("r")
        schedule.add(tracked, 0.0)
        assert schedule.pop(0.0) is tracked

        schedule.again(tracked, 8.0)

        assert schedule.next_due() == 8.0
        assert schedule.pop(7.9) is None
        assert schedule.pop(8.0) is tracked


def test_what_is_out_for_a_poll_is_not_looked_at_early() -> None:
    """
    A witness is taken out of turn: what the schedule noted about it before is void.
    """
    schedule = Schedule(PollPolicy(earliest_share=0.0), LIMIT)
    first, second, witness = (_tracked(name, born=-1000.0) for name in ("a", "b", "w"))
    for tracked, sent_at in ((first, 0.0), (second, 0.0), (witness, 0.1)):
        schedule.add(tracked, 0.0)
        assert schedule.pop(0.0) is tracked
        schedule.pending(tracked, sent_at, sent_at)
    early = schedule.pop(2.0 - EARLIEST)
    assert early in (first, second, witness)
    schedule.pending(early, 2.0, 2.0)

    schedule.take(early)  # it has been noted that it may be looked at from 2.2 s on

    others = {schedule.pop(2.5), schedule.pop(2.9)}
    assert others == {first, second, witness} - {early}
    assert early.cell is None


def test_failed_polls_teach_nothing() -> None:
    """
    An outage says nothing about how long requests take.
    """
    schedule = Schedule(PollPolicy())
    tracked = _tracked("r")
    schedule.add(tracked, 0.0)
    for second in range(50):
        assert schedule.pop(float(second)) is tracked
        schedule.again(tracked, second + 1.0)

    assert schedule._ranking is not None
    assert schedule._ranking._durations.rate == 1 / 30


def test_many_that_become_due_at_once_are_taken_over_step_by_step() -> None:
    """
    A million requests that are added at once must not stop the loop for seconds.
    """
    schedule = Schedule(PollPolicy())
    for number in range(2000):
        schedule.add(_tracked(f"r{number}"), 0.0)

    taken = schedule.pop(1.0)

    assert taken is not None
    assert taken.request_id == "r0"
    assert schedule._ranking is not None
    assert len(schedule._ranking.due) == 9
    others = {schedule.pop(1.0 + number) for number in range(1999)}
    assert len(others - {None, taken}) == 1999
    assert len(schedule) == 0


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30), st.floats(-1e12, 1e12))
def test_births_and_times_of_any_size(births: list[float], now: float) -> None:
    """
    Centuries back or ahead: everybody is taken once, and nothing overflows.
    """
    schedule = Schedule(PollPolicy(), LIMIT)
    for number, born in enumerate(births):
        schedule.add(_tracked(f"r{number}", born=born), -math.inf)

    taken = [schedule.pop(now) for _ in births]

    assert len(set(taken)) == len(births)
    assert None not in taken
    for tracked in taken:
        assert tracked is not None
        schedule.pending(tracked, now, now)
    assert len(schedule) == len(births)
